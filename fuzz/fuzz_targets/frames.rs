//! libFuzzer on `ebbtide_fuzz::frames`: `cargo +nightly fuzz run frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::frames(input));
