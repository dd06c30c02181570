//! libFuzzer on `ebbtide_fuzz::channels`: `cargo +nightly fuzz run channels`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::channels(input));
