//! Why the application ends a stream, told to the other one.
//!
//! Goes with the FIN or the RESET to peers of this crate's making; others skip it.

use super::Connection;
use super::state::State;
use crate::wire::{ExtensionsBuf, HEADER_LEN, MarkFlags, Own, OwnReason};

/// Why the application at the other end has ended its direction, or the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// A code of the applications' choice; from 0xFF00 on, of this crate's.
    pub code: u16,
    /// A text for people, at most 64 bytes.
    pub text: Box<str>,
}

/// What has been said about the end. Most say nothing, and do not pay for it.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    said: Option<Box<Reasons>>,
}

#[derive(Debug, Default)]
struct Reasons {
    ours: Option<Reason>,
    theirs: Option<Reason>,
}

impl Farewell {
    fn ours(&self) -> Option<&Reason> {
        self.said.as_ref()?.ours.as_ref()
    }

    fn theirs(&self) -> Option<&Reason> {
        self.said.as_ref()?.theirs.as_ref()
    }

    fn said(&mut self) -> &mut Reasons {
        self.said.get_or_insert_default()
    }
}

impl Connection {
    /// Our FIN, or RESET, will say this.
    pub fn set_reason(&mut self, code: u16, text: &str) {
        let reason = OwnReason::new(code, text);
        self.farewell.said().ours = Some(Reason { code, text: reason.text().into() });
    }

    /// Why the peer's application has ended its direction, or the stream, if it said so.
    #[must_use]
    pub fn peer_reason(&self) -> Option<&Reason> {
        self.farewell.theirs()
    }

    pub(super) fn hear_reason(&mut self, own: &Own<'_>) {
        if let Some(reason) = own.close_reason.filter(|_| self.farewell.theirs().is_none()) {
            let reason = Reason { code: reason.code(), text: reason.text().into() };
            self.farewell.said().theirs = Some(reason);
        }
    }

    /// What goes with a FIN: nothing, mostly.
    pub(super) fn with_fin(&self) -> Option<ExtensionsBuf> {
        self.farewell.ours()?;
        self.with_reason()
    }

    /// What goes with a RESET. To whoever has not proved an address it is no longer than the SYN.
    pub(super) fn with_reset(&self) -> Option<ExtensionsBuf> {
        let chain = self.with_reason()?;
        let proved = self.was_open || self.is_initiator();
        let fits = HEADER_LEN + chain.encoded_len() <= self.negotiation.syn_len();
        (proved || fits || matches!(self.state, State::TimeWait { .. })).then_some(chain)
    }

    fn with_reason(&self) -> Option<ExtensionsBuf> {
        let reason = self.farewell.ours();
        let close_reason = reason.map(|reason| OwnReason::new(reason.code, &reason.text));
        let own = Own { close_reason, ..Own::default() };
        self.negotiation.for_control(self.role, MarkFlags::NONE, &own)
    }
}
