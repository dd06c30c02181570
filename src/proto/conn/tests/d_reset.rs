//! Row D: RESETs, received and sent, and connections cut short.

use super::*;
