//! libFuzzer on `ebbtide_fuzz::decode`: `cargo +nightly fuzz run decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::decode(input));
