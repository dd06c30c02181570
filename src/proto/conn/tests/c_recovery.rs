//! Row C: losses, masks and numbers that do not fit, and the retransmission timer.

use super::*;
