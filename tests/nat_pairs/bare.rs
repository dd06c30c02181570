//! The machine of a punch without an endpoint around it: on a raw host, with ports for sockets and one word in place of
//! a handshake. Tells mistakes of the machine from those of its surroundings.

use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::punch::{Action, Probe, Punch, PunchError, PunchPlan, PunchReport};
use ebbtide::sim::{RawNet, RawProgram};
use ebbtide::wire::Packet;

use crate::notes::Notes;

/// The SYN, and its answer.
const CALL: &[u8] = b"call";
const TAKEN: &[u8] = b"taken";

/// A peer.
#[derive(Debug)]
pub(crate) struct BarePeer {
    pub(crate) notes: Notes,
    punch: Option<Punch>,
    batch: Batch,
    /// Sockets beside the first.
    sockets: u16,
    /// Where it calls, and when it calls again.
    call: Option<(Path, Duration)>,
}

/// The port of a socket.
fn port_of(socket: SocketId) -> u16 {
    if socket.get() == 0 { 6881 } else { 50_000 + socket.get() }
}

fn local(net: &RawNet<'_>) -> Instant {
    Instant::from_micros(net.now().as_micros() as u64)
}

impl BarePeer {
    pub(crate) fn new(mirrors: &[SocketAddr]) -> Self {
        let notes = Notes::new(mirrors);
        Self { notes, punch: None, batch: Batch::new(1), sockets: 0, call: None }
    }

    fn survey(&mut self, net: &mut RawNet<'_>) {
        let (now, local) = (net.now(), net.addr());
        let next = self.notes.survey(now, local, |mirror| net.send(mirror, b"who am I?"));
        if let Some(at) = next {
            net.wake_at(at);
        }
    }

    fn begin(&mut self, net: &RawNet<'_>, plan: PunchPlan) {
        let v4 = net.addr().is_ipv4();
        let mut way =
            |peer: SocketAddr| (peer.is_ipv4() == v4).then_some(Path { socket: SocketId::new(0), peer });
        match Punch::new(local(net), plan, [7; 32], &mut way) {
            Ok(punch) => self.punch = Some(punch),
            Err(error) => self.notes.outcome = Some((net.now(), Err(error))),
        }
    }

    fn act(&mut self, net: &mut RawNet<'_>, action: Action) {
        let Some(punch) = &mut self.punch else { return };
        match action {
            Action::Ready => self.notes.ready = Some(net.now()),
            Action::OpenSockets { count, .. } => {
                for _ in 0..count {
                    self.sockets += 1;
                    punch.socket_opened(local(net), Some(SocketId::new(self.sockets)));
                }
            }
            Action::Connect(path) | Action::Repeat(path) => {
                self.call = Some((path, net.now() + Duration::from_secs(1)));
                net.send_with_hops(port_of(path.socket), path.peer, 64, CALL);
            }
            Action::Failed(error) => self.end(net, Err(error)),
            Action::CloseSockets | Action::Over => {}
        }
    }

    fn end(&mut self, net: &RawNet<'_>, result: Result<PunchReport, PunchError>) {
        self.notes.outcome.get_or_insert_with(|| (net.now(), result));
    }

    fn pump(&mut self, net: &mut RawNet<'_>) {
        let now = local(net);
        let Some(punch) = &mut self.punch else { return };
        if std::mem::take(&mut self.notes.told_to_go) {
            punch.go(now);
        }
        punch.handle_timeout(now);
        if punch.wants_birthday(now) {
            punch.begin_birthday(now);
        }
        loop {
            while let Some(action) = self.punch.as_mut().and_then(Punch::poll_action) {
                self.act(net, action);
            }
            let Some(punch) = &mut self.punch else { return };
            self.batch.clear();
            let Some(path) = punch.poll_transmit(now, &mut self.batch, &|_, _| true) else { break };
            let hops = self.batch.ttl().unwrap_or(64);
            net.send_with_hops(port_of(path.socket), path.peer, hops, self.batch.bytes());
        }
        if let Some((path, at)) = self.call.filter(|_| self.notes.outcome.is_none()) {
            if net.now() >= at {
                net.send_with_hops(port_of(path.socket), path.peer, 64, CALL);
                self.call = Some((path, at + Duration::from_secs(1)));
            }
            net.wake_at(at);
        }
        if let Some(at) = self.punch.as_ref().and_then(|punch| punch.poll_timeout()) {
            net.wake_at(Duration::from_micros(at.as_micros()));
        }
    }

    fn connected(&mut self, net: &RawNet<'_>, path: Path) {
        let now = local(net);
        if let Some(punch) = &mut self.punch {
            punch.connected(now, path);
            let report = punch.report(now);
            self.end(net, Ok(report));
        }
    }
}

impl RawProgram for BarePeer {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
        if self.notes.answered(from, bytes) {
            return self.survey(net);
        }
        let port = net.addressed().port();
        let socket = SocketId::new(if port == 6881 { 0 } else { port - 50_000 });
        let path = Path { socket, peer: from };
        let now = local(net);
        let Some(punch) = &mut self.punch else { return };
        if bytes == CALL {
            let (session, token) = (punch.session(), punch.local_token());
            if punch.handle_syn(now, path, session, token) {
                net.send_with_hops(port, from, 64, TAKEN);
                self.connected(net, path);
            }
        } else if bytes == TAKEN {
            self.connected(net, path);
        } else if let Some(probe) = Packet::decode(bytes).ok().and_then(|packet| Probe::read(&packet)) {
            punch.handle_probe(now, path, &probe);
        }
        self.pump(net);
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        if self.notes.report.is_none() {
            return self.survey(net);
        }
        if let Some((plan, _)) = self.notes.plan.take() {
            self.begin(net, plan);
        }
        self.pump(net);
    }
}
