//! UDP sockets of the operating system, through quinn-udp: many datagrams per call in both directions where the
//! system can do it, one by one where it cannot, and never fragments.
//!
//! Knows nothing of who waits for a socket: [`SystemSocket`] never waits, and `Udp` waits with tokio. Both hand their
//! socket to one [`Offload`], which knows what the system can do with it.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::socket::{Datagrams, GrantedBuffers, Run};
use crate::proto::batch::Batch;

/// Buffers per receive call: a merged run fills one with up to 64 KiB, so a few of them are a full receive phase,
/// and more would only spread over the cache.
pub(super) const RECEIVE_BUFFERS: usize = if quinn_udp::BATCH_SIZE < 8 { quinn_udp::BATCH_SIZE } else { 8 };

/// A UDP socket that never waits, without any runtime: for whoever drives an
/// [`Endpoint`](crate::proto::endpoint::Endpoint) alone.
#[derive(Debug)]
pub struct SystemSocket {
    socket: UdpSocket,
    offload: Offload,
}

impl SystemSocket {
    /// Binds to `addr` and asks the system for kernel buffers of `buffer` bytes each way.
    ///
    /// `[::]` takes IPv4 as well, where the system allows it.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    pub fn bind(addr: SocketAddr, buffer: usize) -> io::Result<Self> {
        let (socket, offload) = Offload::bind(addr, buffer)?;
        Ok(Self { socket, offload })
    }

    /// Takes over a socket that is already bound, with options as they are, and makes it non-blocking. Must not be
    /// connected.
    ///
    /// # Errors
    /// If the system refuses the options that are needed.
    pub fn from_std(socket: UdpSocket) -> io::Result<Self> {
        let offload = Offload::of(&socket)?;
        Ok(Self { socket, offload })
    }

    /// The socket underneath, for options that are not ours to set, and to be waited for: with `poll`, `epoll`, `mio`.
    #[must_use]
    pub const fn socket(&self) -> &UdpSocket {
        &self.socket
    }
}

impl Datagrams for SystemSocket {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        self.offload.recv(&SockRef::from(&self.socket), buffers, runs)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        self.offload.send(&SockRef::from(&self.socket), peer, batch, skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Bound to the same IP address, and with the same buffers. Options that were set from outside are not repeated.
    fn open_like(&self) -> io::Result<Self> {
        let (socket, offload) = self.offload.open_like(self.local_addr()?)?;
        Ok(Self { socket, offload })
    }

    fn is_dual_stack(&self) -> bool {
        self.offload.is_dual_stack()
    }

    fn max_segments(&self) -> usize {
        self.offload.max_segments()
    }

    fn receive_buffers(&self) -> usize {
        RECEIVE_BUFFERS
    }

    // The default length holds the largest UDP datagram, and the largest merged run: a buffer that is too small
    // would cut datagrams, and a cut datagram looks like a whole one.

    fn granted_buffers(&self) -> GrantedBuffers {
        self.offload.granted_buffers()
    }
}

/// What the system can do with one socket, which is handed in at every call: some wait for it, some do not.
#[derive(Debug)]
pub(super) struct Offload {
    /// Replaced when it draws the wrong conclusion: see [`SegmentationOut`].
    state: RwLock<UdpSocketState>,
    out: SegmentationOut,
    dual_stack: bool,
    granted: GrantedBuffers,
    /// What the system was asked for, if it was.
    buffer: Option<usize>,
}

/// A socket and what can be done with it.
impl Offload {
    /// Binds a socket; `[::]` takes IPv4 as well, where the system allows it.
    pub(super) fn bind(addr: SocketAddr, buffer: usize) -> io::Result<(UdpSocket, Self)> {
        let takes_both = matches!(addr, SocketAddr::V6(v6) if v6.ip().is_unspecified());
        Self::bind_as(addr, takes_both.then_some(true), Some(buffer))
    }

    /// Binds one that takes IPv4 as well, or not, or as the system likes it.
    fn bind_as(
        addr: SocketAddr,
        dual_stack: Option<bool>,
        buffer: Option<usize>,
    ) -> io::Result<(UdpSocket, Self)> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(dual_stack) = dual_stack
            && let Err(error) = socket.set_only_v6(!dual_stack)
        {
            tracing::debug!(%error, dual_stack, "as the system likes it");
        }
        if let Some(buffer) = buffer {
            ask_for_buffers(&socket, buffer);
        }
        socket.bind(&addr.into())?;
        let socket = socket.into();
        let offload = Self { buffer, ..Self::of(&socket)? };
        Ok((socket, offload))
    }

    /// Looks at a socket that is bound, and makes it non-blocking.
    pub(super) fn of(socket: &UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = SockRef::from(socket);
        let state = prepare(&options)?;
        let granted = GrantedBuffers {
            send: options.send_buffer_size().unwrap_or(0),
            receive: options.recv_buffer_size().unwrap_or(0),
        };
        let dual_stack = match socket.local_addr()? {
            SocketAddr::V6(v6) => v6.ip().is_unspecified() && !options.only_v6()?,
            SocketAddr::V4(_) => false,
        };
        let out = SegmentationOut { segments: state.max_gso_segments(), is_broken: AtomicBool::new(false) };
        Ok(Self { state: RwLock::new(state), out, dual_stack, granted, buffer: None })
    }

    /// Another socket with the same IP address, family and buffers, on any free port.
    pub(super) fn open_like(&self, mut addr: SocketAddr) -> io::Result<(UdpSocket, Self)> {
        addr.set_port(0);
        Self::bind_as(addr, addr.is_ipv6().then_some(self.dual_stack), self.buffer)
    }

    pub(super) const fn is_dual_stack(&self) -> bool {
        self.dual_stack
    }

    pub(super) const fn granted_buffers(&self) -> GrantedBuffers {
        self.granted
    }

    /// Datagrams that one send may carry now.
    pub(super) fn max_segments(&self) -> usize {
        self.state().max_gso_segments()
    }
}

/// Datagrams in and out, as [`Datagrams`] has it.
impl Offload {
    pub(super) fn recv(
        &self,
        socket: &Socket,
        buffers: &mut [IoSliceMut<'_>],
        runs: &mut [Run],
    ) -> io::Result<usize> {
        let mut meta = [RecvMeta::default(); RECEIVE_BUFFERS];
        let count = buffers.len().min(RECEIVE_BUFFERS);
        let filled = self.state().recv(socket.into(), &mut buffers[..count], &mut meta[..count])?;
        for (run, meta) in runs.iter_mut().zip(&meta[..filled]) {
            *run = Run { from: meta.addr, len: meta.len, stride: meta.stride };
        }
        Ok(filled)
    }

    pub(super) fn send(
        &self,
        socket: &Socket,
        peer: SocketAddr,
        batch: &Batch,
        skip: usize,
    ) -> io::Result<usize> {
        match batch.ttl() {
            None => self.send_from(socket, peer, batch, skip),
            Some(hops) => send_with_hops(socket, peer, hops, || self.send_from(socket, peer, batch, skip)),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, UdpSocketState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_once(
        &self,
        socket: &Socket,
        destination: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        let segment_size = (contents.len() > segment).then_some(segment);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        self.state().try_send(socket.into(), &transmit)
    }

    /// Sends one datagram, which tells whether segmentation was to blame if it has just been given up.
    fn send_single(&self, socket: &Socket, destination: SocketAddr, contents: &[u8]) -> io::Result<()> {
        let outcome = self.send_once(socket, destination, contents, contents.len());
        let given_up = self.out.segments > 1 && self.max_segments() == 1;
        if given_up && !self.out.is_broken.load(Relaxed) {
            match &outcome {
                Ok(()) => self.out.is_broken.store(true, Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.restore(socket),
            }
        }
        outcome
    }

    /// Sends what is left of the batch, as many datagrams as one call takes.
    fn send_from(&self, socket: &Socket, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let segment = batch.segment_size();
        let rest = &batch.bytes()[skip * segment..];
        let left = batch.len() - skip;
        // Read at every send: quinn-udp lowers it to one when it finds that the way out cannot segment.
        let count = left.min(self.max_segments());
        let first = &rest[..rest.len().min(segment)];
        if count == 1 {
            return self.send_single(socket, peer, first).map(|()| 1);
        }
        match self.send_once(socket, peer, &rest[..rest.len().min(count * segment)], segment) {
            // Nothing of it left, and from now on they go one by one.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && self.max_segments() == 1 => {
                self.send_single(socket, peer, first).map(|()| 1)
            }
            outcome => outcome.map(|()| count),
        }
    }

    fn restore(&self, socket: &Socket) {
        if let Ok(fresh) = prepare(socket) {
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

/// Sends with another limit of hops than the socket's, which it has again afterwards: the driver is the only one who
/// sends. Where the system does not let the limit be changed, nothing is sent.
fn send_with_hops<T>(
    socket: &Socket,
    peer: SocketAddr,
    hops: u8,
    send: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    // A dual-stack socket has both limits.
    let (usual, restored, sent);
    if peer.ip().to_canonical().is_ipv4() {
        usual = socket.ttl_v4()?;
        socket.set_ttl_v4(hops.into())?;
        sent = send();
        restored = socket.set_ttl_v4(usual);
    } else {
        usual = socket.unicast_hops_v6()?;
        socket.set_unicast_hops_v6(hops.into())?;
        sent = send();
        restored = socket.set_unicast_hops_v6(usual);
    }
    if let Err(error) = restored {
        tracing::warn!(%error, usual, "the hop limit of the socket cannot be restored");
    }
    sent
}

/// Sets what quinn-udp needs, and takes back what nobody here reads.
fn prepare(socket: &Socket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = leave_out_annotations(socket) {
        tracing::debug!(%error, "each datagram comes with notes that nobody reads");
    }
    Ok(state)
}

/// Tells the system not to note beside each datagram when it came, to which address, and with what marks. Reading the
/// clock, and copying three notes, is a good part of what a small datagram costs, which counts when strays come by the
/// hundred thousand. The note of a merged run's stride stays.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn leave_out_annotations(socket: &Socket) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &false)?;
    if socket.domain()? == Domain::IPV4 {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &false)?;
        return socket.set_recv_tos_v4(false);
    }
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false)?;
    socket.set_recv_tclass_v6(false)?;
    // Where IPv4 is refused, so is its option.
    if socket.only_v6()? { Ok(()) } else { socket.set_recv_tos_v4(false) }
}

/// What is known about segmentation on the way out.
///
/// quinn-udp gives it up for good at the first "invalid argument", which some ways out give for segmented batches, and
/// all of them for addresses that cannot be: `0.1.2.3`, a link-local one without its zone, anything but ourselves from
/// a socket bound to loopback. One such address, from whoever deals in addresses, must not slow down everybody else.
#[derive(Debug)]
struct SegmentationOut {
    /// Datagrams per call, as the system promised.
    segments: usize,
    /// One by one it works, and together it did not.
    is_broken: AtomicBool,
}

/// A system that has a limit may refuse the request or grant less, depending on which system it is: so ask for less
/// and less until it agrees, and let the caller read what came of it.
fn ask_for_buffers(socket: &Socket, bytes: usize) {
    let ask = |set: &dyn Fn(usize) -> io::Result<()>| {
        let mut wanted = bytes;
        while wanted >= 8192 && set(wanted).is_err() {
            wanted /= 2;
        }
    };
    ask(&|bytes| socket.set_recv_buffer_size(bytes));
    ask(&|bytes| socket.set_send_buffer_size(bytes));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// What has been sent to it; on loopback it is there at once, and a busy machine may take a moment.
    fn receive(socket: &SystemSocket, datagrams: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut space = vec![0; RECEIVE_BUFFERS * socket.receive_buffer_len()];
        let mut got = Vec::new();
        while got.len() < datagrams {
            let mut buffers: Vec<_> =
                space.chunks_mut(socket.receive_buffer_len()).map(IoSliceMut::new).collect();
            let mut runs = [Run::default(); RECEIVE_BUFFERS];
            match socket.try_recv(&mut buffers, &mut runs) {
                Ok(filled) => {
                    for (buffer, run) in buffers.iter().zip(&runs[..filled]) {
                        got.extend(buffer[..run.len].chunks(run.stride).map(|one| (run.from, one.to_vec())));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
        got
    }

    fn send_all(socket: &SystemSocket, peer: SocketAddr, batch: &Batch) -> usize {
        let (mut sent, mut calls) = (0, 0);
        while sent < batch.len() {
            sent += socket.try_send(peer, batch, sent).unwrap();
            calls += 1;
        }
        calls
    }

    fn batch_of(sizes: &[usize]) -> Batch {
        let mut batch = Batch::new(64);
        for (index, &size) in sizes.iter().enumerate() {
            batch.push(size, |out| out.fill(u8::try_from(index).unwrap()));
        }
        batch
    }

    #[test]
    fn a_batch_arrives_as_the_datagrams_it_was_made_of() {
        let (a, b) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        let batch = batch_of(&[1400, 1400, 1400, 7]);
        let calls = send_all(&a, b.local_addr().unwrap(), &batch);
        assert_eq!(calls, if a.max_segments() > 1 { 1 } else { 4 });
        let got = receive(&b, 4);
        let expected: Vec<_> = batch.datagrams().map(|one| (a.local_addr().unwrap(), one.to_vec())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn an_address_that_cannot_be_does_not_end_segmentation() {
        let (a, b) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        let before = a.max_segments();
        for datagrams in [1, 3] {
            let batch = batch_of(&vec![1000; datagrams]);
            for nowhere in ["127.0.0.1:0", "0.1.2.3:9"] {
                let error = a.try_send(nowhere.parse().unwrap(), &batch, 0).unwrap_err();
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
                assert_eq!(a.max_segments(), before, "{nowhere}");
            }
        }
        send_all(&a, b.local_addr().unwrap(), &batch_of(&[1000, 1000]));
        assert_eq!(receive(&b, 2).len(), 2);
    }

    #[test]
    fn where_segmentation_is_given_up_a_batch_goes_one_by_one() {
        let (a, b) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        // What quinn-udp does when the way out refuses: anything that makes the system say "invalid".
        let contents = &[0; 8];
        let destination = "127.0.0.1:0".parse().unwrap();
        let invalid = Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        a.offload.state().try_send((&a.socket).into(), &invalid).unwrap_err();
        assert_eq!(a.max_segments(), 1);
        let batch = batch_of(&[700, 700, 9]);
        assert_eq!(send_all(&a, b.local_addr().unwrap(), &batch), 3);
        assert_eq!(receive(&b, 3).len(), 3);
        assert_eq!(a.max_segments(), 1, "one by one it works, so that was to blame");
        a.try_send(destination, &batch, 0).unwrap_err();
        assert_eq!(a.max_segments(), 1);
    }

    #[test]
    fn one_socket_speaks_both_families() {
        let (six, four) = (udp("[::]:0"), udp("127.0.0.1:0"));
        assert!(six.is_dual_stack() && !four.is_dual_stack() && !udp("[::1]:0").is_dual_stack());
        let port = six.local_addr().unwrap().port();
        send_all(&four, SocketAddr::new([127, 0, 0, 1].into(), port), &batch_of(&[3]));
        let (from, _) = receive(&six, 1).remove(0);
        assert_eq!(
            from,
            SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), four.local_addr().unwrap().port())
        );
        send_all(&six, from, &batch_of(&[5]));
        assert_eq!(receive(&four, 1)[0].1, [0; 5]);
    }

    /// Sends one datagram with a limit of one hop and one without, and returns the limits that the receiver saw.
    fn hops_seen(from: &str, to: &str) -> Vec<u32> {
        let receiver = UdpSocket::bind(to).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let (a, mut peer) = (udp(from), receiver.local_addr().unwrap());
        if from.starts_with("[::]")
            && let std::net::IpAddr::V4(ip) = peer.ip()
        {
            peer.set_ip(ip.to_ipv6_mapped().into());
        }
        let hops = || {
            let options = SockRef::from(&a.socket);
            if peer.ip().to_canonical().is_ipv4() { options.ttl_v4() } else { options.unicast_hops_v6() }
        };
        let mut batch = batch_of(&[9]);
        let before = hops().unwrap();
        batch.set_ttl(3);
        let seen = send_with_hops(&SockRef::from(&a.socket), peer, 3, hops).unwrap();
        for _ in 0..2 {
            assert_eq!(a.try_send(peer, &batch, 0).unwrap(), 1);
            assert_eq!(receiver.recv_from(&mut [0; 99]).unwrap().0, 9);
            assert_eq!(hops().unwrap(), before);
            batch = batch_of(&[9]);
        }
        vec![before, seen]
    }

    #[test]
    fn a_hop_limit_is_for_one_batch_and_the_socket_has_its_own_again() {
        for (from, to) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0"), ("[::]:0", "127.0.0.1:0")]
        {
            let hops = hops_seen(from, to);
            assert!(hops[0] > 3 && hops[1] == 3, "{from} to {to}: {hops:?}");
        }
    }

    #[test]
    fn a_socket_like_another_has_its_address_family_and_buffers_and_a_port_of_its_own() {
        for addr in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let one = udp(addr);
            let other = one.open_like().unwrap();
            let [mine, others] = [&one, &other].map(|socket| socket.local_addr().unwrap());
            assert_eq!(mine.ip(), others.ip());
            assert_ne!(mine.port(), others.port());
            assert_eq!(one.is_dual_stack(), other.is_dual_stack());
            assert_eq!(one.granted_buffers(), other.granted_buffers());
        }
        let (socket, offload) = Offload::bind_as("[::]:0".parse().unwrap(), Some(false), None).unwrap();
        let six_only = SystemSocket { socket, offload };
        assert!(!six_only.is_dual_stack() && !six_only.open_like().unwrap().is_dual_stack());
    }

    #[test]
    fn kernel_buffers_are_asked_for_and_reported() {
        let small = SystemSocket::bind("127.0.0.1:0".parse().unwrap(), 16 << 10).unwrap().granted_buffers();
        let large = SystemSocket::bind("127.0.0.1:0".parse().unwrap(), 128 << 10).unwrap().granted_buffers();
        assert!(small.send >= 8 << 10 && large.send > small.send, "{small:?} {large:?}");
        assert!(small.receive >= 8 << 10 && large.receive > small.receive, "{small:?} {large:?}");
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn the_system_notes_nothing_beside_a_datagram_but_its_stride() {
        use nix::sys::socket::getsockopt;

        for (addr, is_six) in [("127.0.0.1:0", false), ("[::]:0", true), ("[::1]:0", true)] {
            let udp = udp(addr);
            // As after a wrong conclusion about segmentation.
            udp.offload.restore(&SockRef::from(udp.socket()));
            let options = SockRef::from(udp.socket());
            assert!(!getsockopt(&*options, sockopt::ReceiveTimestampns).unwrap(), "{addr}");
            assert!(!options.recv_tos_v4().unwrap(), "{addr}");
            if is_six {
                assert!(!getsockopt(&*options, sockopt::Ipv6RecvPacketInfo).unwrap(), "{addr}");
                assert!(!options.recv_tclass_v6().unwrap(), "{addr}");
            } else {
                assert!(!getsockopt(&*options, sockopt::Ipv4PacketInfo).unwrap(), "{addr}");
            }
        }
    }

    fn udp(addr: &str) -> SystemSocket {
        SystemSocket::bind(addr.parse().unwrap(), 1 << 20).unwrap()
    }
}
