#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| db_proto_fuzz::postgres::replies(bytes));
