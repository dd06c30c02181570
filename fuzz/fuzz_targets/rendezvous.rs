//! libFuzzer on `ebbtide_fuzz::rendezvous`: `cargo +nightly fuzz run rendezvous`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::rendezvous(input));
