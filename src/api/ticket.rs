//! What of a punch needs chance: tickets, and plans that know nothing but an address.

use std::net::SocketAddr;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::proto::punch::{NatReport, PunchPlan};
use crate::wire::{Candidate, Session, Ticket, TicketError, Token};

/// A ticket for one attempt.
pub(super) fn draw(report: &NatReport, more: &[Candidate]) -> Result<Ticket, TicketError> {
    let (session, token) = (Session::new(random()), Token::new(u64::from_be_bytes(random())));
    Ticket::new(session, token, report.class(), &report.candidates(more))
}

/// The plan of two who know each other's address.
pub(super) fn plan_to_addr(addr: SocketAddr, attempts: u32) -> PunchPlan {
    PunchPlan::to_addr(addr, attempts, u64::from_be_bytes(random()))
}

/// Bytes from the operating system, which nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("a source of randomness");
    bytes
}
