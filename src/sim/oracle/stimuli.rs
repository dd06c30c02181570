//! The oracle of answers: what arrives causes at most one packet without data, and such packets do not go to and fro
//! for ever.
//!
//! Counted per turn of a host, and only for turns in which nothing but arrivals can have been the cause: no timer was
//! due and no program ran.

/// The longest chain of packets without data, each sent for nothing but the one before. A SYN is answered, the answer
/// is answered by the third leg of the handshake, and a host that has forgotten the connection meanwhile resets it; with
/// other connections in between it may look longer. A real ping-pong has no end.
const CHAIN_MAX: u32 = 8;

/// What one host and one address do to each other.
#[derive(Debug, Default)]
pub(super) struct Stimuli {
    /// In this turn.
    arrived: u32,
    answered: u32,
    only_bare: bool,
    /// This host has sent a FIN there: from then on acknowledgements come in pairs.
    fin_sent: bool,
    /// How many packets without data led to the last one that this host sent there.
    chain: u32,
}

impl Stimuli {
    /// A datagram came from there.
    pub(super) const fn arrived(&mut self, bare: bool) {
        self.only_bare = bare && (self.only_bare || self.arrived == 0);
        self.arrived += 1;
    }

    /// A packet with data, a SYN or a FIN leaves for there.
    pub(super) const fn spoke(&mut self, fin: bool) {
        self.fin_sent |= fin;
        self.chain = 0;
    }

    /// A packet without data leaves for there; `caused_by` is the chain of what last came from there.
    pub(super) const fn answered(&mut self, caused_by: u32) {
        self.answered += 1;
        self.chain = if self.arrived > 0 && self.only_bare { caused_by + 1 } else { 0 };
    }

    pub(super) const fn chain(&self) -> u32 {
        self.chain
    }

    /// The turn is over; `pure` if nothing but arrivals can have caused what was sent. Returns what is wrong.
    pub(super) fn turned(&mut self, pure: bool) -> Result<(), String> {
        let (arrived, answered) = (std::mem::take(&mut self.arrived), std::mem::take(&mut self.answered));
        if !pure {
            self.chain = 0;
            return Ok(());
        }
        let most = arrived * if self.fin_sent { 2 } else { 1 };
        if answered > most {
            return Err(format!("{answered} packets without data for {arrived} that arrived"));
        }
        if self.chain > CHAIN_MAX {
            return Err(format!("{} packets without data, each for the one before", self.chain));
        }
        Ok(())
    }
}
