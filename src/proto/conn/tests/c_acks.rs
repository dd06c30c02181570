//! Row C: acknowledgements that we send, keepalives, and small writes.

use super::*;
