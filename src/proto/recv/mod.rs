//! The receiving half.
