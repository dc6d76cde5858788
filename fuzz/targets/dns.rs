#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sevenhops::fuzzing::dns(data));
