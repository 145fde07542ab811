//! Words: the nouns every other crate speaks, parsed once at the edge.
