//! libFuzzer on `ebbtide_fuzz::punch`: `cargo +nightly fuzz run punch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::punch(input));
