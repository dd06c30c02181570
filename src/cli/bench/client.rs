//! The asking side of a measurement: opens the streams, prints the intervals, gets the server's figures.
//!
//! Moves no data itself (`flow`) and formats nothing (`report`).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use super::protocol::{Budget, Hello, READY, Role, TIME_MAX};
use super::report::{Intervals, Summary};
use super::{ClientOptions, PATIENCE, flow};
use crate::failure::Failure;
use crate::meter::{Figures, Meter, Probe};
use crate::signals::asked_to_stop;
use crate::transport::{Dialer, Stream};

pub(super) async fn run(options: ClientOptions) -> Result<(), Failure> {
    let dialer = Dialer::new(options.link.transport, &options.server, options.link.config()).await?;
    let outcome = tokio::select! {
        outcome = measure(&options, &dialer) => outcome,
        told = asked_to_stop() => Err(match told {
            Ok(()) => Failure::new("interrupted"),
            Err(error) => Failure::io("signals", &error),
        }),
    };
    dialer.close().await;
    outcome
}

async fn measure(options: &ClientOptions, dialer: &Dialer) -> Result<(), Failure> {
    let lost = |error: io::Error| Failure::io(dialer.peer(), &error);
    let mut control = dialer.connect().await?;
    let session = session_number();
    let hello = Hello { role: Role::Control, streams: options.streams, session, budget: options.budget(0) };
    within(PATIENCE, greet(&mut control, &hello)).await.map_err(lost)?;

    let probe = Probe::start(dialer.stats());
    let meter = Arc::new(Meter::new(options.streams));
    let mut streams = Vec::with_capacity(options.streams.into());
    for _ in 0..options.streams {
        streams.push(dialer.connect().await?);
    }
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (index, mut stream) in streams.into_iter().enumerate() {
        let role = if options.reverse { Role::Download } else { Role::Upload };
        let hello = Hello { role, budget: options.budget(index), ..hello };
        let meter = Arc::clone(&meter);
        running.spawn(async move {
            carry(&mut stream, &hello, &meter, index).await?;
            Ok(stream)
        });
    }
    // Streams live until the end, so that closing them is not measured.
    let finished = watch(options, &mut running, &meter, began).await?.map_err(lost)?;
    let local = probe.finish(&meter, began.elapsed().as_secs_f64(), dialer.stats());

    control.shutdown().await.map_err(lost)?;
    let peer = within(2 * PATIENCE, figures(&mut control)).await.map_err(lost)?;
    drop(finished);
    Summary::new(options.link.transport, options.reverse, options.streams, local, peer).print(options.json)
}

impl ClientOptions {
    /// What stream number `index` carries.
    fn budget(&self, index: usize) -> Budget {
        let Some(total) = self.bytes else {
            return Budget { bytes: u64::MAX, time: self.time.unwrap_or(Duration::from_secs(10)) };
        };
        let streams = u64::from(self.streams);
        let extra = u64::from((index as u64) < total % streams);
        Budget { bytes: total / streams + extra, time: TIME_MAX }
    }
}

async fn greet(control: &mut Stream, hello: &Hello) -> io::Result<()> {
    control.write_all(&hello.encode()).await?;
    control.flush().await?;
    let mut answer = [0; 1];
    control.read_exact(&mut answer).await?;
    if answer == [READY] {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "not a server of this program"))
}

async fn carry(stream: &mut Stream, hello: &Hello, meter: &Meter, index: usize) -> io::Result<()> {
    stream.write_all(&hello.encode()).await?;
    if hello.role == Role::Download {
        stream.flush().await?;
        flow::receive(stream, meter, index).await
    } else {
        flow::send(stream, hello.budget, meter, index).await
    }
}

/// Prints interval lines until all streams are through. The outer error is of the output, the inner of a stream.
async fn watch(
    options: &ClientOptions,
    running: &mut JoinSet<io::Result<Stream>>,
    meter: &Meter,
    began: Instant,
) -> Result<io::Result<Vec<Stream>>, Failure> {
    let quiet = options.interval.is_zero();
    let mut ticks = tokio::time::interval(if quiet { TIME_MAX } else { options.interval });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.reset();
    let mut intervals = Intervals::new(options.json);
    let mut finished = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                intervals.print(began.elapsed().as_secs_f64(), meter.bytes(), meter.now())?;
            }
            ended = running.join_next() => match ended {
                Some(Ok(Ok(stream))) => finished.push(stream),
                Some(Ok(Err(error))) => return Ok(Err(error)),
                Some(Err(error)) => return Ok(Err(io::Error::other(error))),
                None => return Ok(Ok(finished)),
            },
        }
    }
}

/// What the server measured.
async fn figures(control: &mut Stream) -> io::Result<Figures> {
    let mut text = Vec::new();
    control.take(FIGURES_MAX).read_to_end(&mut text).await?;
    serde_json::from_slice(&text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no figures from the server"))
}

async fn within<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the server does not answer");
    timeout(patience, what).await.map_err(late)?
}

/// Different from the sessions of other clients of the same server.
fn session_number() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let nanos = since_epoch.as_secs() << 30 | u64::from(since_epoch.subsec_nanos());
    nanos ^ u64::from(std::process::id()) << 48
}

const FIGURES_MAX: u64 = 64 << 10;
