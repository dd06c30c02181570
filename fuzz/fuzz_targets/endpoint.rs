//! libFuzzer on `ebbtide_fuzz::endpoint`: `cargo +nightly fuzz run endpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::endpoint(input));
