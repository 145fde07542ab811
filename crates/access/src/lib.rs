//! Rules: the one state machine that decides who may reach what, and until when.
