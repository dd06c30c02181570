//! libFuzzer on `ebbtide_fuzz::connection`: `cargo +nightly fuzz run connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::connection(input));
