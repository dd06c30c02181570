//! What the machine does, rule by rule and against small NATs.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod meet;
mod rules;
mod world;

use super::*;
