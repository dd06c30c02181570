//! Row C: receive windows, ours and the peer's.

use super::*;
