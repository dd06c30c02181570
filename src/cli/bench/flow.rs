//! The data path of a measurement: as fast as the stream takes or brings it.
//!
//! Content does not matter, so a block is made once and sent again and again. Knows neither client nor server.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::MissedTickBehavior;

use super::protocol::Budget;
use crate::meter::Meter;
use crate::noise::Noise;
use crate::transport::Stream;

/// Sends as much as the budget allows, ends our direction, and waits for the end of the other one, which says that
/// everything arrived.
pub(super) async fn send(stream: &mut Stream, budget: Budget, meter: &Meter, index: usize) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    Noise::new(index as u64).fill(&mut block);
    let mut left = budget.bytes;
    let began = Instant::now();
    let mut pulse = pulse();
    while left > 0 {
        let len = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        tokio::select! {
            biased;
            _ = pulse.tick() => {
                meter.sample(index, stream.stats());
                if began.elapsed() >= budget.time {
                    break;
                }
            }
            written = stream.write(&block[..len]) => {
                let written = written?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                meter.add(written);
                left -= written as u64;
            }
        }
    }
    stream.shutdown().await?;
    loop {
        tokio::select! {
            biased;
            _ = pulse.tick() => meter.sample(index, stream.stats()),
            read = stream.read(&mut block) => if read? == 0 { break },
        }
    }
    meter.last(index, stream.stats());
    Ok(())
}

/// Takes everything to the other direction's end, then ends ours, which says that everything arrived.
pub(super) async fn receive(stream: &mut Stream, meter: &Meter, index: usize) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match stream.read(&mut block).await? {
            0 => break,
            read => meter.add(read),
        }
    }
    meter.last(index, stream.stats());
    stream.shutdown().await
}

fn pulse() -> tokio::time::Interval {
    let mut pulse = tokio::time::interval(SAMPLE_EVERY);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pulse
}

/// What one call writes or reads at most: the same for both transports.
const BLOCK: usize = 256 << 10;
/// How often a stream is looked at: often enough for percentiles, too seldom to cost anything.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
