//! Writing to stdout without panicking when it is closed, and lines of JSON.
//!
//! Refuses to know what is written.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// One line of text on stdout, visible at once.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| Failure::stdout(&error))
}

/// One JSON object on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value).map_err(Failure::new)?)
}

/// Names and values in two columns.
pub(crate) fn table(rows: &[(&'static str, String)]) -> Result<(), Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut stdout = io::stdout().lock();
    rows.iter()
        .try_for_each(|(name, value)| writeln!(stdout, "{name:width$}  {value}"))
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::stdout(&error))
}
