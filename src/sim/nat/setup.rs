//! How a box is set up: what it does to addresses, whom it lets in, and for how long. Presets for the kinds that there
//! are in the field.
//!
//! Words are those of RFC 4787. Settings only; what they mean for a datagram is in `table/`.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What a box does to the source of an IPv4 datagram that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatMapping {
    /// Nothing: a firewall. Hosts behind it have addresses of the outside.
    None,
    /// One port of the box for each socket, whomever it talks to.
    EndpointIndependent,
    /// One port of the box for each socket and each address and port that it talks to. With ports that are
    /// [kept](NatPorts::Preserve) that is Linux, and hardly to be told from the other; with random ones it is what is
    /// called symmetric.
    EndpointDependent,
}

/// Whose datagrams a box lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatFilter {
    /// Everybody's, once there is a mapping.
    EndpointIndependent,
    /// Those from IP addresses that the socket behind it has sent to.
    AddressDependent,
    /// Those from addresses and ports that the socket behind it has sent to.
    AddressAndPortDependent,
}

/// Which port of the box a mapping gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatPorts {
    /// The same as inside, if it is free, and any otherwise.
    Preserve,
    /// Any.
    Random,
    /// The last one and so many more, or less.
    Step(i16),
}

/// How long a box remembers what nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NatTimeouts {
    /// What has only been used in one direction.
    pub unanswered: Duration,
    /// What has been used in both.
    pub answered: Duration,
}

impl NatTimeouts {
    /// 30 s, and 120 s once it was answered: connection tracking of Linux.
    pub const LINUX: Self = Self { unanswered: Duration::from_secs(30), answered: Duration::from_secs(120) };

    /// The same for both.
    #[must_use]
    pub const fn plain(timeout: Duration) -> Self {
        Self { unanswered: timeout, answered: timeout }
    }
}

/// What a box does with IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatV6 {
    /// Passes it, and lets in what this filter admits.
    Firewall(NatFilter),
    /// Loses it without a word, in both directions: a tunnel that has broken, while hosts still have addresses.
    Broken,
}

/// A box at the edge of a network, as it is set up. Start from a preset, and change what is to be different:
///
/// ```
/// use std::time::Duration;
/// use ebbtide::sim::{Nat, NatTimeouts};
/// let cafe = Nat::port_restricted().timeouts(NatTimeouts::plain(Duration::from_secs(30))).hairpin(true);
/// let carrier = Nat::symmetric().block(Some(1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    pub(super) mapping: NatMapping,
    pub(super) filter: NatFilter,
    pub(super) ports: NatPorts,
    pub(super) first_port: u16,
    pub(super) block: Option<u16>,
    pub(super) input_open: bool,
    pub(super) hairpin: bool,
    pub(super) inbound_refreshes: bool,
    pub(super) timeouts: NatTimeouts,
    pub(super) capacity: usize,
    pub(super) blocks_udp: bool,
    pub(super) v6: NatV6,
    pub(super) lan: Ipv4Addr,
}

/// Presets.
impl Nat {
    const fn new(mapping: NatMapping, filter: NatFilter, ports: NatPorts) -> Self {
        Self {
            mapping,
            filter,
            ports,
            first_port: 1024,
            block: None,
            input_open: false,
            hairpin: false,
            inbound_refreshes: true,
            timeouts: NatTimeouts::LINUX,
            capacity: 16_384,
            blocks_udp: false,
            v6: NatV6::Firewall(NatFilter::AddressAndPortDependent),
            lan: Ipv4Addr::new(192, 168, 1, 0),
        }
    }

    /// No translation; in comes what was asked for. A network with addresses for everybody, and a careful router.
    #[must_use]
    pub const fn firewall() -> Self {
        Self::new(NatMapping::None, NatFilter::AddressAndPortDependent, NatPorts::Preserve)
    }

    /// One port for each socket, and everybody may use it.
    #[must_use]
    pub const fn full_cone() -> Self {
        let open = NatFilter::EndpointIndependent;
        Self::new(NatMapping::EndpointIndependent, open, NatPorts::Preserve)
    }

    /// One port for each socket; in comes what is from addresses that it has sent to.
    #[must_use]
    pub const fn address_restricted() -> Self {
        let filter = NatFilter::AddressDependent;
        Self::new(NatMapping::EndpointIndependent, filter, NatPorts::Preserve)
    }

    /// One port for each socket; in comes what is from addresses and ports that it has sent to. Most homes.
    #[must_use]
    pub const fn port_restricted() -> Self {
        let filter = NatFilter::AddressAndPortDependent;
        Self::new(NatMapping::EndpointIndependent, filter, NatPorts::Preserve)
    }

    /// What a stock Linux router does: `masquerade`, and the router itself drops what nobody has asked for.
    #[must_use]
    pub const fn linux() -> Self {
        let filter = NatFilter::AddressAndPortDependent;
        Self::new(NatMapping::EndpointDependent, filter, NatPorts::Preserve)
    }

    /// [`linux`](Self::linux) whose router takes what nobody has asked for, as hosts of virtual machines, phones that
    /// share their connection and routers made by hand do. See [`input_open`](Self::input_open) for what that does.
    #[must_use]
    pub const fn linux_open() -> Self {
        Self::linux().input_open(true)
    }

    /// A random port for each socket and each address and port that it talks to. Carriers, and companies.
    #[must_use]
    pub const fn symmetric() -> Self {
        Self::linux().ports(NatPorts::Random)
    }

    /// Lets no datagram through, in any direction: networks in which only the web works.
    #[must_use]
    pub const fn blocked() -> Self {
        Self { blocks_udp: true, v6: NatV6::Broken, ..Self::port_restricted() }
    }

    /// The NAT of a carrier that shares an address among many: ports are random and from a block of 1,024 for each
    /// customer, and one port serves all peers of a socket. Its network has the addresses set aside for that
    /// (RFC 6598).
    #[must_use]
    pub const fn carrier() -> Self {
        Self::port_restricted().ports(NatPorts::Random).block(Some(1024)).lan(Ipv4Addr::new(100, 64, 0, 0))
    }
}

/// What is different from the preset.
impl Nat {
    /// What it does to the source of what leaves.
    #[must_use]
    pub const fn mapping(mut self, mapping: NatMapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// Whose datagrams it lets in.
    #[must_use]
    pub const fn filter(mut self, filter: NatFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Which port a mapping gets.
    #[must_use]
    pub const fn ports(mut self, ports: NatPorts) -> Self {
        self.ports = ports;
        self
    }

    /// The lowest port that it gives away (default 1,024). It keeps lower ones only for sockets that have them inside.
    #[must_use]
    pub const fn first_port(mut self, port: u16) -> Self {
        self.first_port = port;
        self
    }

    /// Each address inside has so many ports in a row, and gets no others (default: all ports are for all). With a block
    /// that is used up, what leaves is dropped.
    #[must_use]
    pub const fn block(mut self, ports: Option<u16>) -> Self {
        self.block = ports;
        self
    }

    /// Whether the box itself takes what comes to a port without a mapping (default: it drops it).
    ///
    /// Then connection tracking takes sender and port for a flow of the box's own, and as long as it remembers that, a
    /// socket inside that sends to this sender from that port gets another one. So whoever knocks before the door is
    /// open has it opened elsewhere. That is why a punch begins with a datagram that leaves the own boxes and does not
    /// get as far as the other's.
    #[must_use]
    pub const fn input_open(mut self, open: bool) -> Self {
        self.input_open = open;
        self
    }

    /// Whether hosts behind it reach each other by the box's outer address (default: no). The source is the outer
    /// address too.
    #[must_use]
    pub const fn hairpin(mut self, hairpin: bool) -> Self {
        self.hairpin = hairpin;
        self
    }

    /// Whether what comes in keeps a mapping alive, and not only what goes out (default: it does).
    #[must_use]
    pub const fn inbound_refreshes(mut self, refreshes: bool) -> Self {
        self.inbound_refreshes = refreshes;
        self
    }

    /// How long it remembers (default: as Linux does).
    #[must_use]
    pub const fn timeouts(mut self, timeouts: NatTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How many flows it can remember (default 16,384). What would be one more is dropped.
    #[must_use]
    pub const fn capacity(mut self, flows: usize) -> Self {
        self.capacity = flows;
        self
    }

    /// What it does with IPv6 (default: a firewall that admits what was asked for). IPv6 addresses are never
    /// translated.
    #[must_use]
    pub const fn v6(mut self, v6: NatV6) -> Self {
        self.v6 = v6;
        self
    }

    /// The IPv4 addresses that hosts behind it get: the next after this one, and so on (default 192.168.1.0, so that
    /// most worlds have several hosts of one address, as the real one does).
    #[must_use]
    pub const fn lan(mut self, network: Ipv4Addr) -> Self {
        self.lan = network;
        self
    }
}

impl Nat {
    pub(in crate::sim) const fn translates(&self) -> bool {
        !matches!(self.mapping, NatMapping::None)
    }

    pub(in crate::sim) const fn network(&self) -> Ipv4Addr {
        self.lan
    }
}

/// The kinds of boxes that tests try in all pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// [`Nat::firewall`].
    Firewall,
    /// [`Nat::full_cone`].
    FullCone,
    /// [`Nat::address_restricted`].
    AddressRestricted,
    /// [`Nat::port_restricted`].
    PortRestricted,
    /// [`Nat::linux`].
    Linux,
    /// [`Nat::linux_open`].
    LinuxOpen,
    /// [`Nat::symmetric`].
    Symmetric,
}

impl NatKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Firewall,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Linux,
        Self::LinuxOpen,
        Self::Symmetric,
    ];

    /// A box of this kind.
    #[must_use]
    pub const fn nat(self) -> Nat {
        match self {
            Self::Firewall => Nat::firewall(),
            Self::FullCone => Nat::full_cone(),
            Self::AddressRestricted => Nat::address_restricted(),
            Self::PortRestricted => Nat::port_restricted(),
            Self::Linux => Nat::linux(),
            Self::LinuxOpen => Nat::linux_open(),
            Self::Symmetric => Nat::symmetric(),
        }
    }
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Firewall => "firewall",
            Self::FullCone => "full cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Linux => "linux",
            Self::LinuxOpen => "linux-open",
            Self::Symmetric => "symmetric",
        })
    }
}
