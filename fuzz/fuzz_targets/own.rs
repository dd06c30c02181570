//! libFuzzer on `ebbtide_fuzz::own_block`: `cargo +nightly fuzz run own`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ebbtide_fuzz::own_block(input));
