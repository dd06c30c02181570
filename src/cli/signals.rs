//! Being told to stop: by the terminal, or by whoever started us.
//!
//! Knows the signals of the platform, not what stopping means.

use std::io;

/// Resolves when the process is asked to stop: SIGINT, and on Unix SIGTERM and SIGHUP as well.
///
/// From the first poll on, those signals do nothing else.
#[cfg(unix)]
pub(crate) async fn asked_to_stop() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Resolves when the process is asked to stop: Ctrl-C.
///
/// From the first poll on, that does nothing else.
#[cfg(not(unix))]
pub(crate) async fn asked_to_stop() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
