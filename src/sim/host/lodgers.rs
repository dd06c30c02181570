//! Residents of a host: who steps them, and what they bring about.

use std::any::Any;
use std::fmt;
use std::task::Waker;

use super::bell::Bell;
use super::{Host, NEVER, Outside};
use crate::sim::resident::{Home, Resident};

/// The residents of one host.
#[derive(Default)]
pub(super) struct Lodgers {
    list: Vec<Lodger>,
}

struct Lodger {
    /// Taken out while it is stepped.
    resident: Option<Box<dyn Resident>>,
    waker: Waker,
    alarm_at: u64,
}

impl Lodgers {
    /// Whether one of them accepts connections.
    pub(super) fn accept_themselves(&self) -> bool {
        self.list.iter().filter_map(|lodger| lodger.resident.as_deref()).any(Resident::accepts)
    }

    /// Rings for one whose alarm was set to `now`.
    pub(super) fn alarm_rang(&mut self, index: u32, now: u64) {
        let Some(lodger) = self.list.get_mut((index - Bell::LODGERS) as usize) else { return };
        if lodger.alarm_at == now {
            lodger.alarm_at = NEVER;
            lodger.waker.wake_by_ref();
        }
    }
}

impl Host {
    /// Somebody else lives here from now on.
    pub(in crate::sim) fn take_in(&mut self, resident: Box<dyn Resident>) {
        let index = Bell::LODGERS + self.lodgers.list.len() as u32;
        let waker = Bell::waker(&self.bells, index);
        self.lodgers.list.push(Lodger { resident: Some(resident), waker, alarm_at: NEVER });
        self.bells.ring(index);
    }

    /// The first resident of that type.
    pub(in crate::sim) fn resident<T: Resident>(&self) -> Option<&T> {
        let residents = self.lodgers.list.iter().filter_map(|lodger| lodger.resident.as_deref());
        residents.map(|resident| resident as &dyn Any).find_map(<dyn Any>::downcast_ref)
    }

    /// The same, and it is stepped soon.
    pub(in crate::sim) fn resident_mut<T: Resident>(&mut self) -> Option<&mut T> {
        self.lodgers.list.iter_mut().find_map(|lodger| {
            let resident = (lodger.resident.as_deref_mut()? as &mut dyn Any).downcast_mut()?;
            lodger.waker.wake_by_ref();
            Some(resident)
        })
    }

    pub(super) fn step_lodger(&mut self, index: u32, now: u64, outside: &mut impl Outside) {
        let place = (index - Bell::LODGERS) as usize;
        let Some(lodger) = self.lodgers.list.get_mut(place) else { return };
        let Some(mut resident) = lodger.resident.take() else { return };
        outside.timed();
        let shared = self.endpoint.shared();
        let mut home = Home {
            shared: &shared,
            waker: &lodger.waker,
            now,
            clock: &self.clock,
            scratch: outside.scratch(),
            alarm: None,
            adopted: Vec::new(),
        };
        resident.step(&mut home);
        let Home { alarm, adopted, .. } = home;
        lodger.resident = Some(resident);
        // Never at this very moment again: then time would stand still.
        if let Some(at) = alarm.map(|at| at.max(now + 1)).filter(|&at| at < lodger.alarm_at) {
            lodger.alarm_at = at;
            outside.alarm(index, at);
        }
        for (flow, side, handle, program) in adopted {
            self.install(flow, side, handle, program, outside);
        }
    }
}

impl fmt::Debug for Lodgers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|lodger| &lodger.resident)).finish()
    }
}
