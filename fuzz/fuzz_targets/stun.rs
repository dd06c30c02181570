//! libFuzzer on `ebbtide_fuzz::stun`: `cargo +nightly fuzz run stun`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::stun(input));
