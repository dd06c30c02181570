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

/// What has been said about the end.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    ours: Option<Box<Reason>>,
    theirs: Option<Box<Reason>>,
}

impl Connection {
    /// Our FIN, or RESET, will say this.
    pub fn set_reason(&mut self, code: u16, text: &str) {
        let reason = OwnReason::new(code, text);
        self.farewell.ours = Some(Box::new(Reason { code, text: reason.text().into() }));
    }

    /// Why the peer's application has ended its direction, or the stream, if it said so.
    #[must_use]
    pub fn peer_reason(&self) -> Option<&Reason> {
        self.farewell.theirs.as_deref()
    }

    pub(super) fn hear_reason(&mut self, own: &Own<'_>) {
        if let Some(reason) = own.close_reason.filter(|_| self.farewell.theirs.is_none()) {
            let reason = Reason { code: reason.code(), text: reason.text().into() };
            self.farewell.theirs = Some(Box::new(reason));
        }
    }

    /// What goes with a FIN: nothing, mostly.
    pub(super) fn with_fin(&self) -> Option<ExtensionsBuf> {
        self.farewell.ours.as_ref()?;
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
        let reason = self.farewell.ours.as_ref();
        let close_reason = reason.map(|reason| OwnReason::new(reason.code, &reason.text));
        let own = Own { close_reason, ..Own::default() };
        self.negotiation.for_control(self.role, MarkFlags::NONE, &own)
    }
}
