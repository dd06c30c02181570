//! libFuzzer on `ebbtide_fuzz::codec`: `cargo +nightly fuzz run codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::codec(input));
