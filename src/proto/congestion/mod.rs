//! How much may be in flight: round trips, delays, windows and pacing.

use std::fmt;

/// A congestion controller for one connection.
pub trait Controller: fmt::Debug + Send {}
