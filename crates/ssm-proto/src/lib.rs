//! Session Manager data channel: frames, handshake, acknowledgements, multiplexing; never does IO.
