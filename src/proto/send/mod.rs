//! The sending half: bytes the application wrote, cut into segments that keep their number for life.
//!
//! Knows nothing of windows, congestion or timers. It is told how large a packet may be, and what was acknowledged;
//! it says what to send next, what was settled and what is lost. When to send is for the connection to decide.
//!
//! ```text
//!   acknowledged │ outstanding: segments                   │ written, not yet cut
//!   ─────────────┼─────────┬───────┬─────┬───────┬─────────┼──────────────────────▶ bytes
//!                │ in      │ re-   │ lost│ re-   │ in      │
//!                │ flight  │ ported│     │ ported│ flight  │
//!                last acked                                next
//! ```
//!
//! [`SendBuffer`] is the whole of it for the outside. Inside, `flight` holds the segments and counts what is in
//! flight, `loss` judges which are lost and `reorder` how long an overtaken packet may take; none of them sees bytes.

mod buffer;
mod flight;
mod loss;
mod outcome;
mod reorder;
mod reported;
mod segment;
#[cfg(test)]
mod tests;

pub use buffer::SendBuffer;
pub use outcome::{AckOutcome, Lost};
pub use segment::{SegmentKind, SegmentRef};
