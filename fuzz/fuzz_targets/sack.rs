//! libFuzzer on `ebbtide_fuzz::sack`: `cargo +nightly fuzz run sack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::sack(input));
