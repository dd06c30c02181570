//! Bytes at rest: rings and slabs.
