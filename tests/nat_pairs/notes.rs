//! What is known about one of two who want to meet, whatever it is made of: what it has found out about itself, what it
//! was told, and how it went.

use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::proto::punch::{NatReport, PunchError, PunchPlan, PunchReport};
use ebbtide::sim::{FlowId, HostId, RawNet, RawProgram, World};
use ebbtide::wire::{Candidate, CandidateKind, Mapping, Session, Ticket, Token};

use crate::bare::BarePeer;
use crate::peer::Peer;

/// Tells whoever asks from where the question came.
#[derive(Debug)]
pub(crate) struct Mirror;

impl RawProgram for Mirror {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, _: &[u8]) {
        net.send_with_hops(net.addressed().port(), from, 64, from.to_string().as_bytes());
    }

    fn on_alarm(&mut self, _: &mut RawNet<'_>) {}
}

/// How long a mirror is waited for before it is asked again, and how often it is asked.
const PATIENCE: Duration = Duration::from_millis(250);
const QUESTIONS: u32 = 6;

/// What is known about a peer.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Who can be asked for addresses, and what they said.
    mirrors: Vec<(SocketAddr, Option<SocketAddr>)>,
    asked: u32,
    began: Option<Duration>,
    /// What is in front of it, once that is known.
    pub(crate) report: Option<NatReport>,
    /// It is to meet somebody, and that connection is to come of it.
    pub(crate) plan: Option<(PunchPlan, FlowId)>,
    /// Both are ready.
    pub(crate) told_to_go: bool,
    /// When its openers were out.
    pub(crate) ready: Option<Duration>,
    pub(crate) outcome: Option<(Duration, Result<PunchReport, PunchError>)>,
}

impl Notes {
    pub(crate) fn new(mirrors: &[SocketAddr]) -> Self {
        Self { mirrors: mirrors.iter().map(|&mirror| (mirror, None)).collect(), ..Self::default() }
    }

    /// A mirror has answered. Whether it was one.
    pub(crate) fn answered(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let mirror = self.mirrors.iter_mut().find(|(mirror, _)| *mirror == from);
        let Some((_, seen)) = mirror else { return false };
        *seen = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        true
    }

    /// Asks mirrors as long as something is not known. Returns when to come again.
    pub(crate) fn survey(
        &mut self,
        now: Duration,
        local: SocketAddr,
        mut ask: impl FnMut(SocketAddr),
    ) -> Option<Duration> {
        let began = *self.began.get_or_insert(now);
        let known = self.mirrors.iter().all(|(_, seen)| seen.is_some());
        if known || now >= began + PATIENCE * QUESTIONS {
            self.report = Some(self.compare(local));
            return None;
        }
        if now >= began + PATIENCE * self.asked {
            self.asked += 1;
            self.mirrors.iter().filter(|(_, seen)| seen.is_none()).for_each(|(mirror, _)| ask(*mirror));
        }
        Some(began + PATIENCE * self.asked)
    }

    fn seen(&self) -> impl Iterator<Item = SocketAddr> {
        self.mirrors.iter().filter_map(|(_, seen)| *seen)
    }

    /// What is in front of it, as far as mirrors tell.
    fn compare(&self, local: SocketAddr) -> NatReport {
        let seen: Vec<SocketAddr> = self.seen().collect();
        let mut report = NatReport::default();
        let Some(&first) = seen.first() else {
            report.blocked = !self.mirrors.is_empty();
            return report;
        };
        match first {
            SocketAddr::V4(addr) => report.public_v4 = Some(addr),
            SocketAddr::V6(addr) => report.public_v6 = Some(addr),
        }
        seen.iter().for_each(|addr| report.saw_port(addr.port()));
        report.mapping = if seen.iter().all(|&addr| addr == local) {
            Mapping::None
        } else if seen.len() < 2 {
            Mapping::Unknown
        } else if seen.iter().all(|&addr| addr == first) {
            Mapping::EndpointIndependent
        } else {
            let ports: Vec<i32> = seen.iter().map(|addr| addr.port().into()).collect();
            let steps: Vec<i32> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let same = steps.len() > 1 && steps.iter().all(|&step| step == steps[0]) && steps[0].abs() <= 16;
            let spread = ports.iter().max().unwrap() - ports.iter().min().unwrap();
            let block = if spread <= 4096 { spread as u16 } else { 0 };
            Mapping::EndpointDependent { step: if same { steps[0] as i16 } else { 0 }, block }
        };
        report
    }

    /// What it tells the other about itself: everything, as somebody would whose words go through a chat.
    pub(crate) fn ticket(&self, locals: &[SocketAddr], secret: u64) -> Ticket {
        let report = self.report.clone().unwrap_or_default();
        let hosts: Vec<_> = locals.iter().map(|&addr| Candidate::new(CandidateKind::Host, addr)).collect();
        let candidates = report.candidates(&hosts);
        let [high, low] = [secret ^ 0x55, secret].map(u64::to_le_bytes);
        let session = std::array::from_fn(|at| if at < 8 { high[at] } else { low[at - 8] });
        Ticket::new(Session::new(session), Token::new(!secret), report.class(), &candidates).unwrap()
    }
}

/// What is known about that host.
pub(crate) fn notes(world: &World, host: HostId) -> &Notes {
    match world.raw::<BarePeer>(host) {
        Some(peer) => &peer.notes,
        None => &world.resident::<Peer>(host).unwrap().notes,
    }
}

/// Tells that host something.
pub(crate) fn tell(world: &mut World, host: HostId, news: impl FnOnce(&mut Notes)) {
    if let Some(peer) = world.raw_mut::<BarePeer>(host) {
        news(&mut peer.notes);
        return world.ring(host);
    }
    world.tell(host, |peer: &mut Peer| news(&mut peer.notes));
}
