//! What meeting peers through NATs costs those who did not ask for it, and what forgers get: each row of the threat
//! model as a test that counts and prints.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod punch;
