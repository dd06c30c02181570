//! UDP sockets of the operating system, through quinn-udp: many datagrams per call in both directions where the
//! system can do it, one by one where it cannot, and never fragments.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll};

#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::socket::{Datagrams, GrantedBuffers, Run};
use crate::proto::batch::Batch;

/// Buffers per receive call: a merged run fills one with up to 64 KiB, so a few of them are a full receive phase,
/// and more would only spread over the cache.
const RECEIVE_BUFFERS: usize = if quinn_udp::BATCH_SIZE < 8 { quinn_udp::BATCH_SIZE } else { 8 };

/// A UDP socket: the transport that [`UtpSocket::bind`](crate::UtpSocket::bind) uses.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    /// Replaced when it draws the wrong conclusion: see [`OffloadOut`].
    state: RwLock<UdpSocketState>,
    offload: OffloadOut,
    dual_stack: bool,
    granted: GrantedBuffers,
    /// What the system was asked for, if it was.
    buffer: Option<usize>,
}

impl Udp {
    /// Binds to `addr` and asks the system for kernel buffers of `buffer` bytes each way.
    ///
    /// `[::]` takes IPv4 as well, where the system allows it. Must be called within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    pub fn bind(addr: SocketAddr, buffer: usize) -> io::Result<Self> {
        let takes_both = matches!(addr, SocketAddr::V6(v6) if v6.ip().is_unspecified());
        Self::bind_as(addr, takes_both.then_some(true), Some(buffer))
    }

    /// Binds one that takes IPv4 as well, or not, or as the system likes it.
    fn bind_as(addr: SocketAddr, dual_stack: Option<bool>, buffer: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(dual_stack) = dual_stack
            && let Err(error) = socket.set_only_v6(!dual_stack)
        {
            tracing::debug!(%error, dual_stack, "as the system likes it");
        }
        if let Some(buffer) = buffer {
            ask_for_buffers(&socket, buffer);
        }
        // Registering with tokio needs it, and quinn-udp only sets it later.
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        Ok(Self { buffer, ..Self::from_std(socket.into())? })
    }

    /// Takes over a socket that is already bound, with options as they are. Must not be connected.
    ///
    /// Must be called within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// If the system refuses the options that are needed, or tokio the socket.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        let state = prepare(&options)?;
        let granted = GrantedBuffers {
            send: options.send_buffer_size().unwrap_or(0),
            receive: options.recv_buffer_size().unwrap_or(0),
        };
        let dual_stack = match socket.local_addr()? {
            SocketAddr::V6(v6) => v6.ip().is_unspecified() && !options.only_v6()?,
            SocketAddr::V4(_) => false,
        };
        let offload = OffloadOut { segments: state.max_gso_segments(), is_broken: AtomicBool::new(false) };
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { socket, state: RwLock::new(state), offload, dual_stack, granted, buffer: None })
    }

    /// The socket underneath, for options that are not ours to set.
    #[must_use]
    pub const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    fn state(&self) -> RwLockReadGuard<'_, UdpSocketState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_once(&self, destination: SocketAddr, contents: &[u8], segment: usize) -> io::Result<()> {
        let segment_size = (contents.len() > segment).then_some(segment);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        self.socket.try_io(Interest::WRITABLE, || self.state().try_send((&self.socket).into(), &transmit))
    }

    /// Sends one datagram, which tells whether segmentation was to blame if it has just been given up.
    fn send_single(&self, destination: SocketAddr, contents: &[u8]) -> io::Result<()> {
        let outcome = self.send_once(destination, contents, contents.len());
        let given_up = self.offload.segments > 1 && self.max_segments() == 1;
        if given_up && !self.offload.is_broken.load(Relaxed) {
            match &outcome {
                Ok(()) => self.offload.is_broken.store(true, Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.restore_offload(),
            }
        }
        outcome
    }

    /// Sends what is left of the batch, as many datagrams as one call takes.
    fn send_from(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let segment = batch.segment_size();
        let rest = &batch.bytes()[skip * segment..];
        let left = batch.len() - skip;
        // Read at every send: quinn-udp lowers it to one when it finds that the way out cannot segment.
        let count = left.min(self.max_segments());
        let first = &rest[..rest.len().min(segment)];
        if count == 1 {
            return self.send_single(peer, first).map(|()| 1);
        }
        match self.send_once(peer, &rest[..rest.len().min(count * segment)], segment) {
            // Nothing of it left, and from now on they go one by one.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && self.max_segments() == 1 => {
                self.send_single(peer, first).map(|()| 1)
            }
            outcome => outcome.map(|()| count),
        }
    }

    /// Sends with another limit of hops than the socket's, which it has again afterwards: the driver is the only one
    /// who sends. Where the system does not let the limit be changed, nothing is sent.
    fn send_with_hops<T>(
        &self,
        peer: SocketAddr,
        hops: u8,
        send: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let options = SockRef::from(&self.socket);
        // A dual-stack socket has both limits.
        let (usual, restored, sent);
        if peer.ip().to_canonical().is_ipv4() {
            usual = options.ttl_v4()?;
            options.set_ttl_v4(hops.into())?;
            sent = send();
            restored = options.set_ttl_v4(usual);
        } else {
            usual = options.unicast_hops_v6()?;
            options.set_unicast_hops_v6(hops.into())?;
            sent = send();
            restored = options.set_unicast_hops_v6(usual);
        }
        if let Err(error) = restored {
            tracing::warn!(%error, usual, "the hop limit of the socket cannot be restored");
        }
        sent
    }

    fn restore_offload(&self) {
        if let Ok(fresh) = prepare(&SockRef::from(&self.socket)) {
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
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
struct OffloadOut {
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

impl Datagrams for Udp {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        let mut meta = [RecvMeta::default(); RECEIVE_BUFFERS];
        let count = buffers.len().min(RECEIVE_BUFFERS);
        let filled = self.socket.try_io(Interest::READABLE, || {
            self.state().recv((&self.socket).into(), &mut buffers[..count], &mut meta[..count])
        })?;
        for (run, meta) in runs.iter_mut().zip(&meta[..filled]) {
            *run = Run { from: meta.addr, len: meta.len, stride: meta.stride };
        }
        Ok(filled)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        match batch.ttl() {
            None => self.send_from(peer, batch, skip),
            Some(hops) => self.send_with_hops(peer, hops, || self.send_from(peer, batch, skip)),
        }
    }

    /// Bound to the same IP address, and with the same buffers. Options that were set from outside are not repeated.
    fn open_like(&self) -> io::Result<Self> {
        let mut addr = self.local_addr()?;
        addr.set_port(0);
        Self::bind_as(addr, addr.is_ipv6().then_some(self.dual_stack), self.buffer)
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn is_dual_stack(&self) -> bool {
        self.dual_stack
    }

    fn max_segments(&self) -> usize {
        self.state().max_gso_segments()
    }

    fn receive_buffers(&self) -> usize {
        RECEIVE_BUFFERS
    }

    // The default length holds the largest UDP datagram, and the largest merged run: a buffer that is too small
    // would cut datagrams, and a cut datagram looks like a whole one.

    fn granted_buffers(&self) -> GrantedBuffers {
        self.granted
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::future::poll_fn;

    use super::*;

    async fn receive(socket: &Udp, datagrams: usize) -> Vec<(SocketAddr, Vec<u8>)> {
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
                    poll_fn(|cx| socket.poll_recv_ready(cx)).await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        got
    }

    fn send_all(socket: &Udp, peer: SocketAddr, batch: &Batch) -> usize {
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

    #[tokio::test]
    async fn a_batch_arrives_as_the_datagrams_it_was_made_of() {
        let (a, b) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        let batch = batch_of(&[1400, 1400, 1400, 7]);
        poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
        let calls = send_all(&a, b.local_addr().unwrap(), &batch);
        assert_eq!(calls, if a.max_segments() > 1 { 1 } else { 4 });
        let got = receive(&b, 4).await;
        let expected: Vec<_> = batch.datagrams().map(|one| (a.local_addr().unwrap(), one.to_vec())).collect();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_does_not_end_segmentation() {
        let (a, b) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
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
        assert_eq!(receive(&b, 2).await.len(), 2);
    }

    #[tokio::test]
    async fn where_segmentation_is_given_up_a_batch_goes_one_by_one() {
        let (a, b) = (udp("127.0.0.1:0"), udp("127.0.0.1:0"));
        poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
        // What quinn-udp does when the way out refuses: anything that makes the system say "invalid".
        let contents = &[0; 8];
        let destination = "127.0.0.1:0".parse().unwrap();
        let invalid = Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        a.state().try_send((&a.socket).into(), &invalid).unwrap_err();
        assert_eq!(a.max_segments(), 1);
        let batch = batch_of(&[700, 700, 9]);
        assert_eq!(send_all(&a, b.local_addr().unwrap(), &batch), 3);
        assert_eq!(receive(&b, 3).await.len(), 3);
        assert_eq!(a.max_segments(), 1, "one by one it works, so that was to blame");
        a.try_send(destination, &batch, 0).unwrap_err();
        assert_eq!(a.max_segments(), 1);
    }

    #[tokio::test]
    async fn one_socket_speaks_both_families() {
        let (six, four) = (udp("[::]:0"), udp("127.0.0.1:0"));
        assert!(six.is_dual_stack() && !four.is_dual_stack() && !udp("[::1]:0").is_dual_stack());
        poll_fn(|cx| four.poll_send_ready(cx)).await.unwrap();
        let port = six.local_addr().unwrap().port();
        send_all(&four, SocketAddr::new([127, 0, 0, 1].into(), port), &batch_of(&[3]));
        let (from, _) = receive(&six, 1).await.remove(0);
        assert_eq!(
            from,
            SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), four.local_addr().unwrap().port())
        );
        poll_fn(|cx| six.poll_send_ready(cx)).await.unwrap();
        send_all(&six, from, &batch_of(&[5]));
        assert_eq!(receive(&four, 1).await[0].1, [0; 5]);
    }

    /// Sends one datagram with a limit of one hop and one without, and returns the limits that the receiver saw.
    async fn hops_seen(from: &str, to: &str) -> Vec<u32> {
        let receiver = std::net::UdpSocket::bind(to).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let (a, mut peer) = (udp(from), receiver.local_addr().unwrap());
        if from.starts_with("[::]")
            && let std::net::IpAddr::V4(ip) = peer.ip()
        {
            peer.set_ip(ip.to_ipv6_mapped().into());
        }
        poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
        let hops = || {
            let options = SockRef::from(&a.socket);
            if peer.ip().to_canonical().is_ipv4() { options.ttl_v4() } else { options.unicast_hops_v6() }
        };
        let mut batch = batch_of(&[9]);
        let before = hops().unwrap();
        batch.set_ttl(3);
        let seen = a.send_with_hops(peer, 3, hops).unwrap();
        for _ in 0..2 {
            assert_eq!(a.try_send(peer, &batch, 0).unwrap(), 1);
            assert_eq!(receiver.recv_from(&mut [0; 99]).unwrap().0, 9);
            assert_eq!(hops().unwrap(), before);
            batch = batch_of(&[9]);
        }
        vec![before, seen]
    }

    #[tokio::test]
    async fn a_hop_limit_is_for_one_batch_and_the_socket_has_its_own_again() {
        for (from, to) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0"), ("[::]:0", "127.0.0.1:0")]
        {
            let hops = hops_seen(from, to).await;
            assert!(hops[0] > 3 && hops[1] == 3, "{from} to {to}: {hops:?}");
        }
    }

    #[tokio::test]
    async fn a_socket_like_another_has_its_address_family_and_buffers_and_a_port_of_its_own() {
        for addr in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let one = udp(addr);
            let other = one.open_like().unwrap();
            let [mine, others] = [&one, &other].map(|socket| socket.local_addr().unwrap());
            assert_eq!(mine.ip(), others.ip());
            assert_ne!(mine.port(), others.port());
            assert_eq!(one.is_dual_stack(), other.is_dual_stack());
            assert_eq!(one.granted_buffers(), other.granted_buffers());
        }
        let six_only = Udp::bind_as("[::]:0".parse().unwrap(), Some(false), None).unwrap();
        assert!(!six_only.is_dual_stack() && !six_only.open_like().unwrap().is_dual_stack());
    }

    #[tokio::test]
    async fn kernel_buffers_are_asked_for_and_reported() {
        let small = Udp::bind("127.0.0.1:0".parse().unwrap(), 16 << 10).unwrap().granted_buffers();
        let large = Udp::bind("127.0.0.1:0".parse().unwrap(), 128 << 10).unwrap().granted_buffers();
        assert!(small.send >= 8 << 10 && large.send > small.send, "{small:?} {large:?}");
        assert!(small.receive >= 8 << 10 && large.receive > small.receive, "{small:?} {large:?}");
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn the_system_notes_nothing_beside_a_datagram_but_its_stride() {
        use nix::sys::socket::getsockopt;

        for (addr, is_six) in [("127.0.0.1:0", false), ("[::]:0", true), ("[::1]:0", true)] {
            let udp = udp(addr);
            // As after a wrong conclusion about segmentation.
            udp.restore_offload();
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

    fn udp(addr: &str) -> Udp {
        Udp::bind(addr.parse().unwrap(), 1 << 20).unwrap()
    }
}
