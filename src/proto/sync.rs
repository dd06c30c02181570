//! The lock between driver and applications: the standard library's.
//!
//! Tests built with `--cfg ebbtide_shuttle` get one that lets a scheduler decide which thread goes next, so that the
//! protocol of `endpoint/cell.rs` is tried in thousands of orders. Knows nothing of what is locked.

#[cfg(all(test, ebbtide_shuttle))]
pub(super) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, ebbtide_shuttle)))]
pub(super) use std::sync::{Mutex, MutexGuard};
