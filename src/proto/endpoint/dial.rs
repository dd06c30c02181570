//! How a connection is to be started, and what its SYN says.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::config::Config;
use crate::proto::batch::Path;
use crate::proto::conn::Hello;
use crate::wire::{ConnId, MarkFlags, PathToken, Service, Session, Tag, Token};

/// How a connection is to be started; by default as simply as possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// The receive id, which must be free; it may not be 65,535, which libutp cannot answer. Drawn if there is none.
    pub id: Option<ConnId>,
    /// Through this socket, to this address; else the first socket that reaches the peer.
    pub path: Option<Path>,
    /// The peer calls us at the same time, and the two calls are to become one connection.
    pub simultaneous: bool,
    /// Which of several listeners at the peer is meant. A peer that is not made of this crate has none.
    pub service: Option<Service>,
    /// Which attempt to meet this belongs to.
    pub session: Option<Session>,
    /// What the peer wants to be shown by those who call it.
    pub token: Option<Token>,
}

impl Dial {
    /// What the SYN says beyond BEP 29.
    pub(super) fn hello(&self, config: &Config, rng: &mut StdRng) -> Option<Hello> {
        if !config.extensions {
            return None;
        }
        let mut flags = MarkFlags::NONE;
        if config.migration {
            flags = MarkFlags::OBSERVE | MarkFlags::MIGRATES;
        }
        if self.simultaneous {
            flags = flags | MarkFlags::SIMULTANEOUS;
        }
        Some(Hello {
            flags,
            tag: Tag::new(rng.random()),
            tie_break: self.simultaneous.then(|| rng.random()),
            path_token: config.migration.then(|| PathToken::new(rng.random())),
            service: self.service,
            session: self.session,
            token: self.token,
            ..Hello::default()
        })
    }
}
