//! What crosses a process: framing, the local socket, errors as a person sees them.
