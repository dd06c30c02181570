//! One of two who want to meet, as an application would be one: an endpoint, which asks servers where it is, and
//! punches when it is told.

use std::net::SocketAddr;
use std::task::Poll;

use ebbtide::proto::endpoint::{PunchHandle, Surveying};
use ebbtide::proto::punch::PunchRole;
use ebbtide::sim::{FlowId, Home, Resident, Side, Traffic};

use crate::notes::Notes;

/// Answers those who ask where they are.
#[derive(Debug)]
pub(crate) struct StunServer;

impl Resident for StunServer {
    fn step(&mut self, home: &mut Home<'_>) {
        home.shared().serve_stun(true);
    }
}

/// A peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) notes: Notes,
    servers: Vec<SocketAddr>,
    locals: Vec<SocketAddr>,
    surveying: Option<Surveying>,
    punch: Option<(PunchHandle, FlowId, Side)>,
    /// What goes over the connection that comes of it.
    traffic: Traffic,
}

impl Peer {
    pub(crate) fn new(servers: &[SocketAddr], locals: Vec<SocketAddr>, traffic: Traffic) -> Self {
        let notes = Notes::default();
        Self { notes, servers: servers.to_vec(), locals, surveying: None, punch: None, traffic }
    }

    fn survey(&mut self, home: &mut Home<'_>) {
        let now = home.local_now();
        let surveying = self.surveying.get_or_insert_with(|| home.shared().survey(now, &self.servers));
        match surveying.poll(&mut home.context(), now, &self.locals) {
            Poll::Ready(report) => self.notes.report = Some(report),
            Poll::Pending => {
                if let Some(at) = surveying.deadline() {
                    home.wake_at_local(at);
                }
            }
        }
    }
}

impl Resident for Peer {
    fn step(&mut self, home: &mut Home<'_>) {
        if self.notes.report.is_none() {
            return self.survey(home);
        }
        if let Some((plan, flow)) = self.notes.plan.take() {
            let side = if plan.role == PunchRole::Initiator { Side::Initiator } else { Side::Acceptor };
            self.punch = Some((home.shared().punch(plan), flow, side));
        }
        let Some((punch, flow, side)) = &mut self.punch else { return };
        let mut context = home.context();
        if self.notes.ready.is_none() && punch.poll_ready(&mut context).is_ready() {
            self.notes.ready = Some(home.now());
        }
        if std::mem::take(&mut self.notes.told_to_go) {
            punch.go();
        }
        if let Poll::Ready(outcome) = punch.poll_done(&mut context) {
            let (flow, side) = (*flow, *side);
            let outcome = outcome.map(|(handle, report)| {
                home.adopt(flow, side, handle, &self.traffic);
                report
            });
            self.notes.outcome = Some((home.now(), outcome));
            self.punch = None;
        }
    }
}
