//! libFuzzer on `ebbtide_fuzz::messages`: `cargo +nightly fuzz run messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::messages(input));
