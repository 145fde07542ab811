#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ssm_proto_fuzz::handshake(bytes));
