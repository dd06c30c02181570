//! libFuzzer on `ebbtide_fuzz::pair`: `cargo +nightly fuzz run pair`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::pair(input));
