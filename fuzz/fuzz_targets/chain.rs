//! libFuzzer on `ebbtide_fuzz::chain`: `cargo +nightly fuzz run chain`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::chain(input));
