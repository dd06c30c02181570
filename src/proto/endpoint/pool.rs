//! Sockets that come and go: parts of the endpoint ask for them, the driver opens and closes them.
//!
//! ```text
//!   want ─▶ Open ─▶ driver ─▶ opened ─▶ news ─▶ whoever asked ─▶ release ─▶ (no route leads through it) ─▶ Close
//! ```
//!
//! Whoever asked holds the socket until it lets go of it, and a connection that goes through it holds it too; the last
//! of them gone, it is closed and its number is free. Knows neither what sockets are wanted for, nor sockets.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Endpoint;
use crate::proto::batch::SocketId;

/// Ours: sockets beyond the first ones, those asked for included. Two hundred and fifty-six are what a search for
/// the port of a NAT takes, and as many may still be held by connections that came of earlier ones.
pub(super) const EXTRA_MAX: usize = 512;

/// What an endpoint asks its driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRequest {
    /// Another socket with the family, the local IP address and the options of this one, on any free port. To be
    /// answered with [`Endpoint::socket_opened`] or [`Endpoint::socket_refused`].
    Open {
        /// The model.
        like: SocketId,
    },
    /// That socket is needed no more. Its number will be given to another one.
    Close(SocketId),
}

/// For whom a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u64);

/// What became of a wish for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) owner: Owner,
    /// The socket, held by the owner until it is [released](SocketPool::release); `None` if the system has none.
    pub(super) socket: Option<SocketId>,
}

/// The sockets that come and go. Never more than [`EXTRA_MAX`], in all the lists together.
#[derive(Debug, Default)]
pub(super) struct SocketPool {
    wanted: VecDeque<Wish>,
    /// The driver has been asked.
    asked: VecDeque<Wish>,
    held: Vec<Held>,
    /// Nobody holds them but, perhaps, connections.
    released: Vec<SocketId>,
    /// At most one for each that was asked for and not looked at since.
    news: VecDeque<News>,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    like: SocketId,
    /// `None` if it is wanted no more.
    owner: Option<Owner>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    socket: SocketId,
    owner: Owner,
}

impl SocketPool {
    /// Asks for `count` more sockets like this one. Returns how many the driver will be asked for; what becomes of
    /// each, [`next_news`](Self::next_news) tells.
    pub(super) fn want(&mut self, owner: Owner, like: SocketId, count: usize) -> usize {
        let count = count.min(EXTRA_MAX.saturating_sub(self.len()));
        self.wanted.extend(std::iter::repeat_n(Wish { like, owner: Some(owner) }, count));
        count
    }

    /// The owner needs this socket no more. Connections that go through it keep it open.
    #[cfg_attr(not(test), expect(dead_code, reason = "whoever asks for several has let go of all so far"))]
    pub(super) fn release(&mut self, socket: SocketId) {
        if let Some(place) = self.held.iter().position(|held| held.socket == socket) {
            self.held.swap_remove(place);
            self.released.push(socket);
        }
    }

    /// The owner needs no socket any more, and wants to hear of none.
    pub(super) fn release_all(&mut self, owner: Owner) {
        self.wanted.retain(|wish| wish.owner != Some(owner));
        self.asked.iter_mut().filter(|wish| wish.owner == Some(owner)).for_each(|wish| wish.owner = None);
        self.news.retain(|news| news.owner != owner);
        let Self { held, released, .. } = self;
        released.extend(held.iter().filter(|held| held.owner == owner).map(|held| held.socket));
        held.retain(|held| held.owner != owner);
    }

    /// What has become of the next wish.
    pub(super) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Sockets beyond the first ones, asked for or there.
    pub(super) fn len(&self) -> usize {
        self.wanted.len() + self.asked.len() + self.held.len() + self.released.len()
    }
}

impl SocketPool {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn take_released(&mut self, is_used: impl Fn(SocketId) -> bool) -> Option<SocketId> {
        let place = self.released.iter().position(|&socket| !is_used(socket))?;
        Some(self.released.swap_remove(place))
    }

    fn ask(&mut self) -> Option<SocketRequest> {
        let wish = self.wanted.pop_front()?;
        self.asked.push_back(wish);
        Some(SocketRequest::Open { like: wish.like })
    }

    /// The owner of the wish that is answered, if it is still wanted.
    fn answered(&mut self, like: SocketId) -> Option<Owner> {
        let place = self.asked.iter().position(|wish| wish.like == like);
        debug_assert!(place.is_some(), "nobody asked for a socket like {like:?}");
        self.asked.remove(place?)?.owner
    }

    fn opened(&mut self, like: SocketId, socket: SocketId) {
        match self.answered(like) {
            Some(owner) => {
                self.held.push(Held { socket, owner });
                self.news.push_back(News { owner, socket: Some(socket) });
            }
            None => self.released.push(socket),
        }
    }

    fn refused(&mut self, like: SocketId) {
        if let Some(owner) = self.answered(like) {
            self.news.push_back(News { owner, socket: None });
        }
    }
}

/// Sockets that come and go, for the driver.
impl Endpoint {
    /// What the driver is to do about sockets, one thing after the other. To be asked for, until there is nothing
    /// left, before and after sending; has to be done before the next one is asked for.
    ///
    /// A driver that cannot open sockets answers with [`socket_refused`](Self::socket_refused).
    pub fn poll_socket_request(&mut self) -> Option<SocketRequest> {
        let routes = &self.routes;
        if let Some(socket) = self.sockets.take_released(|socket| routes.use_socket(socket)) {
            self.answers.forget(socket);
            self.stun.forget(socket);
            self.shared.remove_socket(socket);
            return Some(SocketRequest::Close(socket));
        }
        self.sockets.ask()
    }

    /// A socket like that one has been opened, as it was asked for, and is bound to `local`. Returns its number.
    pub fn socket_opened(&mut self, like: SocketId, local: SocketAddr) -> SocketId {
        let socket = self.shared.add_extra_socket(local, like);
        self.sockets.opened(like, socket);
        socket
    }

    /// No socket like that one can be had.
    pub fn socket_refused(&mut self, like: SocketId) {
        self.sockets.refused(like);
    }
}

/// For tests of those who open sockets.
#[cfg(test)]
impl Endpoint {
    /// Nobody else.
    const TESTER: Owner = Owner(u64::MAX);

    /// Asks for `count` more sockets like this one, without a purpose; returns how many will be asked for.
    pub(crate) fn want_sockets(&mut self, like: SocketId, count: usize) -> usize {
        self.sockets.want(Self::TESTER, like, count)
    }

    /// Those that have been opened by now.
    pub(crate) fn wanted_sockets(&self) -> Vec<SocketId> {
        let held = self.sockets.held.iter().filter(|held| held.owner == Self::TESTER);
        held.map(|held| held.socket).collect()
    }

    /// They are wanted no more.
    pub(crate) fn release_sockets(&mut self) {
        self.sockets.release_all(Self::TESTER);
    }

    /// Sockets beyond the first ones: asked for, held by somebody, or held by connections.
    pub(crate) fn extra_sockets(&self) -> usize {
        self.sockets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKE: SocketId = SocketId::new(0);
    const ONE: Owner = Owner(1);
    const TWO: Owner = Owner(2);

    fn opened(pool: &mut SocketPool, number: u16) -> News {
        assert_eq!(pool.ask(), Some(SocketRequest::Open { like: LIKE }));
        pool.opened(LIKE, SocketId::new(number));
        pool.next_news().expect("somebody has asked")
    }

    #[test]
    fn a_socket_is_closed_once_neither_its_owner_nor_a_connection_needs_it() {
        let mut pool = SocketPool::default();
        assert_eq!(pool.want(ONE, LIKE, 2), 2);
        let sockets = [1, 2].map(|number| opened(&mut pool, number).socket.expect("opened"));
        assert_eq!(pool.take_released(|_| false), None);
        sockets.iter().for_each(|&socket| pool.release(socket));
        assert_eq!(pool.take_released(|socket| socket == sockets[0]), Some(sockets[1]));
        assert_eq!(pool.take_released(|_| true), None);
        assert_eq!(pool.take_released(|_| false), Some(sockets[0]));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn what_an_owner_no_longer_wants_is_not_asked_for_and_what_comes_all_the_same_is_closed() {
        let mut pool = SocketPool::default();
        pool.want(ONE, LIKE, 3);
        pool.want(TWO, LIKE, 1);
        let first = opened(&mut pool, 1);
        assert!(pool.ask().is_some());
        pool.release_all(ONE);
        pool.opened(LIKE, SocketId::new(2));
        assert_eq!(opened(&mut pool, 3), News { owner: TWO, socket: Some(SocketId::new(3)) });
        assert_eq!((pool.ask(), pool.next_news()), (None, None));
        let mut closed = [pool.take_released(|_| false), pool.take_released(|_| false)];
        closed.sort();
        assert_eq!(closed, [first.socket, Some(SocketId::new(2))]);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_refusal_reaches_whoever_asked() {
        let mut pool = SocketPool::default();
        pool.want(TWO, LIKE, 1);
        assert!(pool.ask().is_some());
        pool.refused(LIKE);
        assert_eq!(pool.next_news(), Some(News { owner: TWO, socket: None }));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn sockets_are_bounded_whoever_asks() {
        let mut pool = SocketPool::default();
        assert_eq!(pool.want(ONE, LIKE, 300), 300);
        assert_eq!(pool.want(TWO, LIKE, 300), EXTRA_MAX - 300);
        assert_eq!(pool.want(TWO, LIKE, 1), 0);
        pool.release_all(ONE);
        assert_eq!(pool.want(TWO, LIKE, 1), 1);
    }
}
