//! Messages between two simulated hosts, over the endpoint that production uses and a network as bad as a test wants.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod agreement;
mod delay;
mod narrow;
mod soak;

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ebbtide::CloseReason;
use ebbtide::proto::conn::MessageRefusal;
use ebbtide::proto::endpoint::{Dial, Handle};
use ebbtide::proto::message::{Message, MessageConfig, MessageId, Receipt, SendError};
use ebbtide::sim::{Home, HostId, Resident, World};

/// One end of a connection with messages.
#[derive(Debug)]
struct Talker {
    config: MessageConfig,
    /// Whom to call; whoever calls nobody accepts.
    call: Option<std::net::SocketAddr>,
    handle: Option<Handle>,
    /// What is to be sent, when, and by which channel.
    script: VecDeque<(Duration, u8, Bytes)>,
    /// Closes its direction after the last one.
    closes: bool,
    sent: Vec<(u8, MessageId)>,
    receipts: Vec<Receipt>,
    received: Vec<(Duration, Message)>,
    ended: Option<Result<(), CloseReason>>,
    /// Takes whoever does not agree as a stream.
    takes_streams: bool,
    refused: u32,
}

impl Talker {
    fn new(config: &MessageConfig, call: Option<std::net::SocketAddr>) -> Self {
        Self {
            config: config.clone(),
            call,
            handle: None,
            script: VecDeque::new(),
            closes: false,
            sent: Vec::new(),
            receipts: Vec::new(),
            received: Vec::new(),
            ended: None,
            takes_streams: false,
            refused: 0,
        }
    }

    fn begin(&mut self, home: &Home<'_>) {
        if self.handle.is_some() || self.ended.is_some() {
            return;
        }
        if let Some(peer) = self.call {
            self.handle = Some(home.shared().dial_messages(peer, Dial::default(), &self.config));
            return;
        }
        home.shared().set_listening(true);
        while let Poll::Ready(Some(incoming)) = home.shared().poll_incoming(&mut home.context()) {
            match incoming.accept_messages(&self.config) {
                Ok(handle) => self.handle = Some(handle),
                Err(incoming) if self.takes_streams => self.handle = Some(incoming.accept()),
                Err(incoming) => {
                    incoming.refuse();
                    self.refused += 1;
                }
            }
        }
    }

    fn speak(&mut self, home: &mut Home<'_>) {
        let Some(handle) = &self.handle else { return };
        while let Some((at, channel, bytes)) = self.script.front_mut() {
            if *at > home.now() {
                home.wake_at(*at);
                return;
            }
            let mut message = Some(std::mem::take(bytes));
            match handle.poll_send_message(&mut home.context(), *channel, &mut message) {
                Poll::Pending => {
                    *bytes = message.unwrap();
                    return;
                }
                Poll::Ready(Ok(id)) => self.sent.push((*channel, id)),
                Poll::Ready(Err(MessageRefusal::Closed(..))) => return,
                Poll::Ready(Err(error)) => panic!("{error:?}"),
            }
            self.script.pop_front();
        }
        if std::mem::take(&mut self.closes) {
            assert!(handle.poll_finish(&mut home.context()).is_ready());
        }
    }

    fn listen(&mut self, home: &Home<'_>) {
        let Some(handle) = &self.handle else { return };
        while let Poll::Ready(Ok(receipt)) = handle.poll_receipt(&mut home.context()) {
            self.receipts.push(receipt);
        }
        while self.ended.is_none()
            && (self.call.is_some() || !self.takes_streams)
            && let Poll::Ready(message) = handle.poll_message(&mut home.context())
        {
            match message {
                Ok(Some(message)) => self.received.push((home.now(), message)),
                Ok(None) => self.ended = Some(Ok(())),
                Err(reason) => self.ended = Some(Err(reason)),
            }
        }
    }
}

impl Resident for Talker {
    fn step(&mut self, home: &mut Home<'_>) {
        self.begin(home);
        self.speak(home);
        self.listen(home);
    }

    fn accepts(&self) -> bool {
        self.call.is_none()
    }
}

/// Two that will talk to each other; the first one calls.
fn talk(world: &mut World, hosts: [HostId; 2], config: &MessageConfig, script: Vec<(Duration, u8, Bytes)>) {
    let addr = world.addr(hosts[1]);
    world.reside(hosts[1], Talker::new(config, None));
    let mut caller = Talker::new(config, Some(addr));
    caller.script = script.into();
    world.reside(hosts[0], caller);
}

fn talker(world: &World, host: HostId) -> &Talker {
    world.resident::<Talker>(host).unwrap()
}

/// What a full queue says, for tests that count.
fn is_full(error: &MessageRefusal) -> bool {
    matches!(error, MessageRefusal::NotTaken(SendError::Full(_)))
}
