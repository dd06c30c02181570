//! Is the peer one of ours? What SYN, its answer, and packets that carry no data say beyond BEP 29.
//!
//! ```text
//!   SYN      ── mark with a random tag, what the stream is about ─▶
//!            ◀─ mark with the same tag ── SYN-ACK                     whoever repeats the tag has read it
//!   third SYN in a row that nobody answers: without all that, in case something on the way dislikes it
//! ```
//!
//! From then on a packet that carries a mark has to carry the right tag, and to come from the other role. Data never
//! carries one. A peer that does not repeat the tag is treated as if none of this existed.

use std::net::SocketAddr;

use super::Role;
use crate::wire::{
    Extension, Extensions, ExtensionsBuf, HEADER_LEN, Mark, MarkFlags, Own, OwnError, Packet, PathToken,
    Service, Session, Tag, Token,
};

/// BEP 29 and eight bytes: a chain that is nothing but a mark.
const MARK_LEN: usize = 10;

/// BEP 29: bytes that name an extension and its length.
const EXTENSION_HEADER: usize = 2;

/// Ours: bytes of a field with what is to be agreed on about messages.
const MESSAGES_LEN: usize = 6;

/// Ours: of the SYNs that nobody answers, this one (counted from 0) goes without extensions.
const BARE_TRY: u8 = 2;

/// What a SYN says beyond BEP 29.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// What its sender can and wants to do.
    pub flags: MarkFlags,
    /// How both call the stream.
    pub tag: Tag,
    /// How the sender will name the receiver's stream, should the receiver's address change.
    pub path_token: Option<PathToken>,
    /// If the two call each other at once, whoever has the larger one is the caller.
    pub tie_break: Option<u64>,
    /// Which listener is meant.
    pub service: Option<Service>,
    /// Which attempt to meet this belongs to.
    pub session: Option<Session>,
    /// The receiver's own token, as a proof that it wanted to be called.
    pub token: Option<Token>,
    /// Packets shall carry messages.
    pub messages: Option<[u8; 4]>,
    /// Bytes of the datagram; no answer may be longer.
    pub len: u16,
}

impl Hello {
    /// What the packet says, if it is from one of ours.
    ///
    /// # Errors
    ///
    /// It demands that something be understood that is not.
    pub fn read(packet: &Packet<'_>) -> Result<Option<Self>, OwnError> {
        let Some(Mark { flags, tag }) = packet.extensions.mark() else { return Ok(None) };
        let own = packet.extensions.own_block()?.unwrap_or_default();
        Ok(Some(Self {
            flags,
            tag,
            path_token: own.path_token,
            tie_break: own.tie_break,
            service: own.service,
            session: own.session,
            token: own.token,
            messages: own.messages,
            len: u16::try_from(packet.encoded_len()).unwrap_or(u16::MAX),
        }))
    }

    /// Whether a listener that does not know of all this could take the SYN for one that it is not.
    const fn must_be_read(&self) -> bool {
        self.service.is_some() || self.session.is_some() || self.messages.is_some()
    }

    /// Whether a SYN that says nothing of this would be taken for another call.
    const fn is_never_bare(&self) -> bool {
        self.must_be_read() || self.tie_break.is_some()
    }

    fn own(&self) -> Own<'static> {
        Own {
            token: self.token,
            tie_break: self.tie_break,
            path_token: self.path_token,
            service: self.service,
            session: self.session,
            messages: self.messages,
            ..Own::default()
        }
    }
}

/// How far the two have come in getting to know each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No extensions, either because they are switched off or because the peer's SYN had none.
    #[default]
    Off,
    /// The SYN had a mark, and no answer had one yet.
    Offered,
    /// The peer's SYN has been forgotten; what it said next may tell.
    Unknown,
    /// It is one of ours.
    Agreed,
}

/// What this connection and its peer know of each other's make.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    stage: Stage,
    /// The SYN to be answered had no mark, though an earlier one had.
    answer_bare: bool,
    /// What the peer's marks have said so far.
    peer_flags: MarkFlags,
    /// Bytes of the peer's SYN.
    syn_len: u16,
    tag: Tag,
    kin: Option<Box<Kin>>,
}

/// What is known of a peer that may be one of ours. Kept elsewhere, so that others do not pay for it.
#[derive(Debug, Default)]
struct Kin {
    /// What our SYN says, as long as it may have to be said again.
    hello: Option<Hello>,
    /// By which the peer may name this stream from another address.
    issued: Option<PathToken>,
    /// By which we may.
    granted: Option<PathToken>,
    /// Where the peer sees us.
    observed: Option<SocketAddr>,
}

impl Negotiation {
    /// Our SYN will say this.
    pub(super) fn offer(&mut self, hello: Hello) {
        self.tag = hello.tag;
        self.kin = Some(Box::new(Kin { hello: Some(hello), issued: hello.path_token, ..Kin::default() }));
        self.stage = Stage::Offered;
    }

    /// The peer's SYN has said this, or nothing.
    pub(super) fn begun(&mut self, hello: Option<Hello>) {
        if let Some(hello) = hello {
            self.stage = Stage::Agreed;
            self.kin().granted = hello.path_token.filter(|_| hello.flags.contains(MarkFlags::MIGRATES));
            self.peer_flags = hello.flags;
            self.tag = hello.tag;
            self.syn_len = hello.len;
        }
    }

    /// The peer's SYN may have said something, but has been forgotten.
    pub(super) const fn forgotten(&mut self) {
        self.stage = Stage::Unknown;
    }

    /// From now on the peer may name this stream so.
    pub(super) fn issue(&mut self, token: PathToken) {
        if self.stage != Stage::Off {
            self.kin().issued = Some(token);
        }
    }

    fn kin(&mut self) -> &mut Kin {
        self.kin.get_or_insert_default()
    }

    /// Whether the peer has shown that it is one of ours.
    pub(super) const fn is_agreed(&self) -> bool {
        matches!(self.stage, Stage::Agreed)
    }

    /// Where the peer last saw our packets come from.
    pub(super) fn observed(&self) -> Option<SocketAddr> {
        self.kin.as_ref()?.observed
    }

    /// By which the peer may name this stream from another address.
    pub(super) fn issued(&self) -> Option<PathToken> {
        self.kin.as_ref()?.issued
    }

    /// By which we may name the stream from another address.
    pub(super) fn granted(&self) -> Option<PathToken> {
        self.kin.as_ref()?.granted
    }

    fn hello(&self) -> Option<&Hello> {
        self.kin.as_ref()?.hello.as_ref()
    }

    /// Whether a peer that reads no extensions is of no use.
    pub(super) fn must_be_read(&self) -> bool {
        self.hello().is_some_and(Hello::must_be_read)
    }

    /// Bytes of the peer's SYN, if it had a mark.
    pub(super) const fn syn_len(&self) -> usize {
        self.syn_len as usize
    }

    /// Whether our SYN asks for more than a connection: only the right one will do.
    pub(super) fn is_for_somebody(&self) -> bool {
        self.hello().is_some_and(|hello| hello.service.is_some() || hello.session.is_some())
    }

    /// Our SYN has been answered.
    pub(super) fn answered(&mut self) {
        match &mut self.kin {
            Some(kin) if self.stage == Stage::Agreed => kin.hello = None,
            // What is left may come yet, with the right tag.
            kin => *kin = None,
        }
    }

    /// A SYN came, perhaps once more: its answer says no more than it can bear.
    pub(super) fn syn_came(&mut self, extensions: Extensions<'_>) {
        self.answer_bare = extensions.mark().is_none();
    }

    /// Whether what a packet says beyond BEP 29 fits, if it says anything. Nothing changes.
    pub(super) fn fits(&self, role: Role, extensions: Extensions<'_>) -> bool {
        let Some(mark) = extensions.mark() else { return true };
        let from_acceptor = mark.flags.contains(MarkFlags::ACCEPTOR);
        match self.stage {
            Stage::Off => true,
            Stage::Unknown => !from_acceptor && extensions.own_block().is_ok(),
            Stage::Offered | Stage::Agreed => {
                from_acceptor == (role == Role::Initiator)
                    && mark.tag == self.tag
                    && extensions.own_block().is_ok()
            }
        }
    }

    /// Takes in what a packet says that [fits](Self::fits). Returns the block and the flags if it is from one of ours.
    pub(super) fn learn<'a>(&mut self, extensions: Extensions<'a>) -> Option<(MarkFlags, Own<'a>)> {
        let mark = extensions.mark().filter(|_| self.stage != Stage::Off)?;
        let own = extensions.own_block().ok().flatten().unwrap_or_default();
        if self.stage == Stage::Unknown {
            self.tag = mark.tag;
        }
        self.stage = Stage::Agreed;
        self.peer_flags = self.peer_flags | mark.flags;
        let kin = self.kin();
        // Elsewhere it is a name that we have given.
        let grants = own.path_token.filter(|_| mark.flags.contains(MarkFlags::MIGRATES));
        kin.granted = grants.or(kin.granted);
        kin.observed = own.observed.or(kin.observed);
        Some((mark.flags, own))
    }

    /// Whether the SYN was answered by somebody who has forgotten it since, and what it said with it.
    pub(super) fn was_forgotten(&self, extensions: Extensions<'_>) -> bool {
        let asked = self.hello().is_some_and(|hello| hello.flags.contains(MarkFlags::OBSERVE));
        asked && extensions.mark().is_some_and(|mark| !mark.flags.contains(MarkFlags::MORE))
    }

    /// What goes with the SYN that has been sent `tries` times before.
    pub(super) fn for_syn(&self, tries: u8, peer: SocketAddr) -> Option<ExtensionsBuf> {
        let hello = self.hello().filter(|hello| tries != BARE_TRY || hello.is_never_bare())?;
        // Room for the answer: it may not be longer.
        let wanted = if hello.flags.contains(MarkFlags::OBSERVE) { answer(peer).fields_len() } else { 0 };
        let wanted = wanted + hello.messages.map_or(0, |_| MESSAGES_LEN);
        chain(hello.flags, hello.tag, &hello.own(), wanted)
    }

    /// What goes with the answer to a SYN.
    pub(super) fn for_syn_ack(
        &self,
        peer: SocketAddr,
        migrates: bool,
        messages: Option<[u8; 4]>,
    ) -> Option<ExtensionsBuf> {
        if self.stage != Stage::Agreed || self.answer_bare {
            return None;
        }
        let room = usize::from(self.syn_len).saturating_sub(HEADER_LEN + MARK_LEN + EXTENSION_HEADER);
        let mut own = Own { path_token: self.issued(), messages, ..Own::default() };
        if own.encoded_len(0) > room {
            own.path_token = None;
        }
        if self.peer_flags.contains(MarkFlags::OBSERVE) {
            own.observed = Some(peer);
            if own.encoded_len(0) > room {
                own.observed = None;
            }
        }
        let migrates = if migrates { MarkFlags::MIGRATES } else { MarkFlags::NONE };
        chain(MarkFlags::ACCEPTOR | migrates, self.tag, &own, 0)
    }

    /// What goes with any other packet that carries no data.
    pub(super) fn for_control(&self, role: Role, flags: MarkFlags, own: &Own<'_>) -> Option<ExtensionsBuf> {
        let role = if role == Role::Acceptor { MarkFlags::ACCEPTOR } else { MarkFlags::NONE };
        if self.is_agreed() { chain(role | flags, self.tag, own, 0) } else { None }
    }
}

/// The longest answer to a SYN from there.
fn answer(peer: SocketAddr) -> Own<'static> {
    Own { path_token: Some(PathToken::default()), observed: Some(peer), ..Own::default() }
}

/// A mark, and what else there is to say. Nothing at all if that does not fit, which would be a mistake of ours.
pub(in crate::proto) fn chain(
    flags: MarkFlags,
    tag: Tag,
    own: &Own<'_>,
    pad_to: usize,
) -> Option<ExtensionsBuf> {
    let more = !own.is_empty() || pad_to > 0;
    let flags = if more { flags | MarkFlags::MORE } else { flags };
    let mut chain = ExtensionsBuf::new();
    let mut built = chain.push(Extension::BITS, &Mark { flags, tag }.encode());
    if more {
        let mut block = Vec::with_capacity(Own::LEN_MAX);
        built = built.and_then(|()| own.encode(pad_to, &mut block));
        built = built.and_then(|()| chain.push(Extension::EBBTIDE, &block));
    }
    debug_assert!(built.is_ok(), "{own:?}");
    built.is_ok().then_some(chain)
}
