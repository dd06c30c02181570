//! Connections as the world sees them: which two programs belong together, and how far they are.

use std::collections::HashMap;
use std::fmt;

use super::host::HostId;
use super::program::Program;
use super::traffic::Traffic;
use crate::wire::ConnId;

/// Which connection of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u32);

impl FlowId {
    pub(super) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Its place among the connections, in the order in which they were started.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flow {}", self.0)
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one who sent the SYN.
    Initiator,
    /// The one who accepted it.
    Acceptor,
}

impl Side {
    /// Both, in the order of the protocol.
    pub const BOTH: [Self; 2] = [Self::Initiator, Self::Acceptor];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initiator => "initiator",
            Self::Acceptor => "acceptor",
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Flows {
    list: Vec<Flow>,
    /// Connections whose SYN has not been accepted, by the two hosts and the id that the SYN carries. Never iterated.
    waiting: HashMap<(HostId, HostId, ConnId), FlowId>,
    /// How strangers are served, by the host they come to. Never iterated.
    servants: HashMap<HostId, Traffic>,
    /// Programs that run.
    pub(super) running: usize,
    /// Incoming connections that nobody had started: SYNs that came late.
    pub(super) strays: u64,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) ends: [End; 2],
    /// Until the connection is accepted.
    acceptor: Option<Box<dyn Program>>,
    /// The host that a stranger connected to.
    strange: Option<HostId>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    /// Its place among the programs of the host, once it runs.
    pub(super) app: Option<u32>,
    pub(super) left: bool,
}

impl End {
    const fn new(host: HostId) -> Self {
        Self { host, app: None, left: false }
    }
}

impl Flows {
    pub(super) fn add(&mut self, hosts: [HostId; 2], acceptor: Box<dyn Program>) -> FlowId {
        let id = FlowId(u32::try_from(self.list.len()).expect("fewer than 4 billion connections"));
        self.list.push(Flow { ends: hosts.map(End::new), acceptor: Some(acceptor), strange: None });
        id
    }

    /// A connection that comes about by itself, and whose programs are brought along.
    pub(super) fn add_open(&mut self, hosts: [HostId; 2]) -> FlowId {
        let id = FlowId(self.len());
        self.list.push(Flow { ends: hosts.map(End::new), acceptor: None, strange: None });
        id
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    /// The SYN of this flow carries that id.
    pub(super) fn expect(&mut self, flow: FlowId, id: ConnId) {
        let [from, to] = &self.list[flow.0 as usize].ends;
        self.waiting.insert((from.host, to.host, id), flow);
    }

    /// Whoever connects to this host without having been expected is served like this.
    pub(super) fn serve(&mut self, host: HostId, traffic: Traffic) {
        self.servants.insert(host, traffic);
    }

    pub(super) fn serves(&self, host: HostId) -> bool {
        self.servants.contains_key(&host)
    }

    /// Connections of strangers to this host, in the order in which they were accepted.
    pub(super) fn served(&self, host: HostId) -> impl Iterator<Item = FlowId> {
        let strange = self.list.iter().zip(0..).filter(move |(flow, _)| flow.strange == Some(host));
        strange.map(|(_, index)| FlowId(index))
    }

    /// Whose SYN this is, that came to `host` from there, and who is to serve it.
    pub(super) fn claim(
        &mut self,
        host: HostId,
        from: Option<HostId>,
        id: ConnId,
    ) -> Option<(FlowId, Box<dyn Program>)> {
        let waiting = from.and_then(|from| self.waiting.remove(&(from, host, id)));
        let claimed = waiting.and_then(|flow| {
            let program = self.list[flow.0 as usize].acceptor.take()?;
            Some((flow, program))
        });
        let claimed = claimed.or_else(|| self.welcome(host));
        self.strays += u64::from(claimed.is_none());
        claimed
    }

    /// A connection of somebody who is no host with an endpoint, or who has been forgotten.
    fn welcome(&mut self, host: HostId) -> Option<(FlowId, Box<dyn Program>)> {
        let (_, program) = self.servants.get(&host)?.programs(self.len().into());
        let mut ends = [End::new(host); 2];
        ends[Side::Initiator as usize].left = true;
        let flow = FlowId(self.len());
        self.list.push(Flow { ends, acceptor: None, strange: Some(host) });
        Some((flow, program))
    }

    pub(super) fn end(&self, flow: FlowId, side: Side) -> &End {
        &self.list[flow.0 as usize].ends[side as usize]
    }

    pub(super) fn settled(&mut self, flow: FlowId, side: Side, app: u32) {
        self.list[flow.0 as usize].ends[side as usize].app = Some(app);
        self.running += 1;
    }

    pub(super) fn left(&mut self, flow: FlowId, side: Side) {
        self.list[flow.0 as usize].ends[side as usize].left = true;
        self.running -= 1;
    }

    /// Whether the initiator has left, and the acceptor too, if there ever was one.
    pub(super) fn is_done(&self, flow: FlowId) -> bool {
        let [initiator, acceptor] = &self.list[flow.0 as usize].ends;
        initiator.left && (acceptor.left || acceptor.app.is_none())
    }
}
