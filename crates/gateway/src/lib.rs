//! Local listener, tunnel, connections.
