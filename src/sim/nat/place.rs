//! Where in the network a host is: on the backbone or behind a box, and with which addresses and ports.

use crate::sim::host::HostId;

/// Which box of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub(in crate::sim) HostId);

impl NatId {
    /// The name that it has in traces.
    #[must_use]
    pub const fn id(self) -> HostId {
        self.0
    }
}

/// Where a host is, and under which addresses. A host gets the next free ones of its network; its first socket has
/// port 6881 as in worlds without boxes.
///
/// ```
/// use ebbtide::Config;
/// use ebbtide::sim::{Link, Nat, Place, World};
/// let mut world = World::new(1);
/// let home = world.nat(Nat::linux(), Link::perfect());
/// let host = world.host_at(Place::behind(home).dual_stack().port(9000), Config::default(), Link::perfect());
/// let addrs: Vec<_> = world.addrs(host).map(|addr| addr.to_string()).collect();
/// assert_eq!(addrs, ["192.168.1.2:9000", "[2001:db8:8000:1::1]:9000"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(in crate::sim) behind: Option<NatId>,
    pub(in crate::sim) v4: bool,
    pub(in crate::sim) v6: bool,
    pub(in crate::sim) port: u16,
    pub(in crate::sim) second_port: Option<u16>,
}

impl Place {
    const fn new(behind: Option<NatId>) -> Self {
        Self { behind, v4: true, v6: false, port: 6881, second_port: None }
    }

    /// On the backbone, with a public address.
    #[must_use]
    pub const fn internet() -> Self {
        Self::new(None)
    }

    /// In the network of this box.
    #[must_use]
    pub const fn behind(nat: NatId) -> Self {
        Self::new(Some(nat))
    }

    /// With an IPv6 address too, and a socket of its own for it.
    #[must_use]
    pub const fn dual_stack(mut self) -> Self {
        (self.v4, self.v6) = (true, true);
        self
    }

    /// With an IPv6 address only.
    #[must_use]
    pub const fn only_v6(mut self) -> Self {
        (self.v4, self.v6) = (false, true);
        self
    }

    /// The port of its first socket (default 6881), and of the first one for IPv6.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With another socket on this port: servers that tell others what boxes they are behind have one.
    #[must_use]
    pub const fn second_port(mut self, port: u16) -> Self {
        self.second_port = Some(port);
        self
    }
}
