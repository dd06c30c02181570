//! libFuzzer on `ebbtide_fuzz::config`: `cargo +nightly fuzz run config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::config(input));
