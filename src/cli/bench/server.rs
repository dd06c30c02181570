//! The serving side of a measurement: any number of clients, each told by its headers what it gets.
//!
//! Believes no header further than its bounds. One client's failure ends that client's measurement only.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::flow;
use super::protocol::{Hello, READY, Role};
use super::{PATIENCE, ServerOptions};
use crate::failure::{self, Failure, plain};
use crate::meter::{Figures, Meter, Probe};
use crate::output;
use crate::quantity::{bit_rate, bytes, goodput};
use crate::signals::asked_to_stop;
use crate::transport::{Listener, Stream};

pub(super) async fn run(options: ServerOptions) -> Result<(), Failure> {
    let listener = Listener::bind(options.link.transport, &options.listen, options.link.config()).await?;
    let local = listener.local_addr().map_err(|error| Failure::io("listen", &error))?;
    failure::to_stderr(format_args!("listening on {local}"));
    let (reports, mut finished) = mpsc::channel(SESSIONS_MAX);
    let server = Arc::new(Server { listener, sessions: Mutex::default(), reports });
    loop {
        tokio::select! {
            accepted = server.listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let server = Arc::clone(&server);
                    tokio::spawn(async move { server.serve(stream, peer).await });
                }
                Err(error) if is_of_one_client(&error) => failure::to_stderr(plain(&error)),
                Err(error) => return Err(Failure::io("accept", &error)),
            },
            Some(report) = finished.recv() => {
                let report: Report = report;
                report.print(options.json)?;
                if options.one_off {
                    server.listener.close().await;
                    return report.outcome.map(|_| ()).map_err(Failure::new);
                }
            }
            interrupted = asked_to_stop() => {
                return interrupted.map_err(|error| Failure::io("signals", &error));
            }
        }
    }
}

/// Errors of `accept` that belong to a connection which is gone already, or that pass.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

struct Server {
    listener: Listener,
    /// At most [`SESSIONS_MAX`]; a control stream beyond it is closed.
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    reports: mpsc::Sender<Report>,
}

/// One client's measurement.
struct Session {
    probe: Probe,
    meter: Meter,
    streams: u16,
    progress: Mutex<Progress>,
    /// A permit for each stream that is through.
    through: Semaphore,
}

#[derive(Default)]
struct Progress {
    started: u16,
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl Server {
    async fn serve(&self, mut stream: Stream, peer: SocketAddr) {
        let hello = match timeout(PATIENCE, Hello::read(&mut stream)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return failure::to_stderr(format_args!("{peer}: {}", plain(&error))),
            Err(_) => return failure::to_stderr(format_args!("{peer}: no header in time")),
        };
        if hello.role != Role::Control {
            if let Err(error) = self.data(&mut stream, &hello).await {
                failure::to_stderr(format_args!("{peer}: {}", plain(&error)));
            }
            return;
        }
        let Some(session) = self.open(&hello) else {
            return failure::to_stderr(format_args!("{peer}: too many clients"));
        };
        let outcome = self.control(&mut stream, &session).await.map_err(|error| plain(&error));
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&hello.session);
        if self.reports.send(Report { peer, outcome }).await.is_err() {
            failure::to_stderr(format_args!("{peer}: finished while the server ended"));
        }
    }

    fn open(&self, hello: &Hello) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX || sessions.contains_key(&hello.session) {
            return None;
        }
        let session = Arc::new(Session {
            probe: Probe::start(self.listener.stats()),
            meter: Meter::new(hello.streams),
            streams: hello.streams,
            progress: Mutex::default(),
            through: Semaphore::new(0),
        });
        sessions.insert(hello.session, Arc::clone(&session));
        Some(session)
    }

    /// From "ready" to the figures. Lasts as long as the client keeps its direction of the control stream open.
    async fn control(&self, stream: &mut Stream, session: &Session) -> io::Result<Figures> {
        stream.write_all(&[READY]).await?;
        stream.flush().await?;
        let mut unexpected = [0; 1];
        if stream.read(&mut unexpected).await? != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unexpected bytes on the control stream"));
        }
        let all = timeout(PATIENCE, session.through.acquire_many(session.streams.into())).await;
        if all.is_err() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client left before its streams ended"));
        }
        let figures = session.probe.finish(&session.meter, session.seconds(), self.listener.stats());
        let text = serde_json::to_vec(&figures).map_err(io::Error::other)?;
        stream.write_all(&text).await?;
        stream.shutdown().await?;
        Ok(figures)
    }

    async fn data(&self, stream: &mut Stream, hello: &Hello) -> io::Result<()> {
        let session = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.get(&hello.session).map(Arc::clone)
        };
        let index = session.as_deref().and_then(Session::start_one);
        let Some((session, index)) = session.zip(index) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a stream that belongs to no measurement",
            ));
        };
        if hello.role == Role::Download {
            flow::send(stream, hello.budget, &session.meter, index).await?;
        } else {
            flow::receive(stream, &session.meter, index).await?;
        }
        session.end_one();
        Ok(())
    }
}

impl Session {
    /// The number of a stream that begins, if the session has room for it.
    fn start_one(&self) -> Option<usize> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.started >= self.streams {
            return None;
        }
        progress.began.get_or_insert_with(Instant::now);
        progress.started += 1;
        Some(usize::from(progress.started) - 1)
    }

    fn end_one(&self) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(Instant::now());
        self.through.add_permits(1);
    }

    fn seconds(&self) -> f64 {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let span = progress.began.zip(progress.ended);
        span.map_or(0.0, |(began, ended)| ended.duration_since(began).as_secs_f64())
    }
}

/// How it went with one client.
struct Report {
    peer: SocketAddr,
    outcome: Result<Figures, String>,
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let peer = self.peer;
        match &self.outcome {
            Err(why) => {
                failure::to_stderr(format_args!("{peer}: {why}"));
                Ok(())
            }
            Ok(figures) if json => output::json(figures),
            Ok(figures) => {
                let rate = bit_rate(goodput(figures.bytes, figures.seconds));
                let cpu = figures.cpu_seconds_per_gib;
                let cpu = cpu.map_or_else(String::new, |cpu| format!(", CPU {cpu:.2} s per GiB"));
                let moved = bytes(figures.bytes);
                output::line(format_args!("{peer}: {moved} in {:.2} s, {rate}{cpu}", figures.seconds))
            }
        }
    }
}

const SESSIONS_MAX: usize = 64;
