//! Session Manager data channel: frames, handshake, acknowledgements, multiplexing; never does IO.
//!
//! What is absent on purpose: sockets, async, randomness and clocks. Bytes go in, bytes come out, `now` and the seed are
//! arguments, so that every run can be repeated from its seed on virtual time.

pub mod frame;
