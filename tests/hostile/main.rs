//! Attacks, each against what it may cost: every test measures its bound and prints it.
//!
//! The names begin with the row of the table in SECURITY.md. Rows that need the inside of a part are tested there,
//! under names of the same kind.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod beside;
mod bottleneck;
mod clocks;
mod crowd;
mod flood;
mod insiders;
mod outsiders;
