//! Any bytes at all, read by the crate and by the slow reader of the tests, which must agree; and written again.
//!
//! `cargo +nightly fuzz run decode` in the repository's root.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/reference/mod.rs"]
mod reference;

fuzz_target!(|datagram: &[u8]| reference::check(datagram));
