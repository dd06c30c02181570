//! What those behind one address use up together.
//!
//! Remembers somebody who has left until what he used up has come back, so that leaving and coming again brings
//! nothing; and forgets the one who left first when too many have to be remembered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::guest::Household;
use crate::proto::rendezvous::rate::Used;
use crate::time::Instant;

/// Ours: 65,536 households, some 6 MB, are remembered after the last client left.
const REMEMBERED_MAX: usize = 65_536;

/// Ours: by then everything that can be used up has come back, at the default rates.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Account {
    streams: u32,
    left_at: Option<Instant>,
    pub(super) joins: Used,
    pub(super) rendezvous: Used,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Households {
    accounts: BTreeMap<Household, Account>,
    /// Those whose last client left, in the order of time; some have come back.
    left: VecDeque<(Instant, Household)>,
}

impl Households {
    pub(super) fn streams(&self, household: Household) -> u32 {
        self.accounts.get(&household).map_or(0, |account| account.streams)
    }

    pub(super) fn arrive(&mut self, household: Household) {
        let account = self.accounts.entry(household).or_default();
        account.streams += 1;
        account.left_at = None;
    }

    pub(super) fn depart(&mut self, now: Instant, household: Household) {
        let Some(account) = self.accounts.get_mut(&household) else { return };
        account.streams = account.streams.saturating_sub(1);
        if account.streams > 0 {
            return;
        }
        if account.joins.is_full(now) && account.rendezvous.is_full(now) {
            self.accounts.remove(&household);
        } else {
            account.left_at = Some(now);
            self.left.push_back((now, household));
        }
        while self.left.len() > REMEMBERED_MAX {
            self.forget_first();
        }
    }

    pub(super) fn account(&mut self, household: Household) -> Option<&mut Account> {
        self.accounts.get_mut(&household)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            self.forget_first();
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.left.front().map(|(at, _)| *at + REMEMBERED_FOR)
    }

    fn forget_first(&mut self) {
        let Some((at, household)) = self.left.pop_front() else { return };
        if self.accounts.get(&household).is_some_and(|account| account.left_at == Some(at)) {
            self.accounts.remove(&household);
        }
    }
}
