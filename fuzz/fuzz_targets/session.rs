//! libFuzzer on `ebbtide_fuzz::session`: `cargo +nightly fuzz run session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::session(input));
