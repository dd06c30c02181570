//! How a command fails: one line on stderr, or silence when whoever read our output has left.
//!
//! Refuses to know exit codes; every failure at run time has the same.

use std::fmt::Display;
use std::io::{self, Write};

/// Why a command ended early. Without a message there is nobody to tell.
#[derive(Debug)]
pub(crate) struct Failure {
    message: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: Some(message.to_string()) }
    }

    /// One that has been told already, in another way.
    pub(crate) const fn silent() -> Self {
        Self { message: None }
    }

    /// `context: error`, without the number that Rust appends to errors of the operating system.
    pub(crate) fn io(context: impl Display, error: &io::Error) -> Self {
        Self::new(format_args!("{context}: {}", plain(error)))
    }

    /// Output could not be written. A closed pipe (`ebbtide … | head`) is no news to anybody.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { message: None },
            _ => Self::io("stdout", error),
        }
    }

    pub(crate) fn report(&self) {
        if let Some(message) = &self.message {
            to_stderr(message);
        }
    }
}

/// One message on stderr, where even a closed stderr is no reason to panic.
pub(crate) fn to_stderr(message: impl Display) {
    #[expect(clippy::let_underscore_must_use, reason = "there is no third place to complain")]
    let _ = writeln!(io::stderr(), "ebbtide: {message}");
}

/// The error in words: what the operating system says, without ` (os error 111)`.
pub(crate) fn plain(error: &io::Error) -> String {
    let mut text = error.to_string();
    if error.raw_os_error().is_some()
        && let Some(at) = text.rfind(" (os error")
    {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operating_system_errors_lose_their_number() {
        let refused = io::Error::from_raw_os_error(2);
        assert!(!plain(&refused).contains("os error"), "{}", plain(&refused));
        assert_eq!(plain(&io::Error::other("odd (os error)")), "odd (os error)");
    }

    #[test]
    fn a_reader_that_left_is_not_complained_about() {
        assert!(Failure::stdout(&io::ErrorKind::BrokenPipe.into()).message.is_none());
        assert!(Failure::stdout(&io::ErrorKind::StorageFull.into()).message.is_some());
    }
}
