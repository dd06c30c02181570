//! What is asked for on stdin while the conditioner runs, a command per line.
//!
//! Reads and understands lines, of bounded length; does nothing.

use std::io;

use ebbtide::link::{Direction, Line};

use super::settings::{self, Setting};
use crate::pipe::stdio::Stdin;

/// The list for people.
pub(super) const HELP: &str = "\
Commands on stdin, one per line:
  set SETTING...     change both directions, for datagrams to come
  up SETTING...      change the way from the clients to the destination
  down SETTING...    change the way back
  preset NAME        take a preset
  clear              nothing goes wrong any more
  discard            lose what is under way
  stats              print a line of numbers
  quit               end, as an interrupt does";

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Change(Vec<Direction>, Vec<Setting>),
    Line(Box<Line>),
    Discard,
    Stats,
    Quit,
}

/// What a line asks for; nothing, if it is empty or a comment.
fn parse(line: &str) -> Result<Option<Command>, String> {
    let mut words = line.split_whitespace();
    let Some(verb) = words.next().filter(|verb| !verb.starts_with('#')) else { return Ok(None) };
    let command = match verb {
        "set" | "up" | "down" => {
            let directions = match verb {
                "up" => vec![Direction::There],
                "down" => vec![Direction::Back],
                _ => Direction::BOTH.to_vec(),
            };
            let changes = words.by_ref().map(settings::parse).collect::<Result<Vec<_>, _>>()?;
            if changes.is_empty() {
                return Err(format!("{verb}: expected settings, such as loss=5%"));
            }
            Command::Change(directions, changes)
        }
        "preset" => {
            let name = words.next().ok_or("preset: expected a name")?;
            let line = settings::preset(name).ok_or_else(|| format!("unknown preset `{name}`"))?;
            Command::Line(Box::new(line))
        }
        "clear" => Command::Line(Box::new(settings::clean().into())),
        "discard" => Command::Discard,
        "stats" => Command::Stats,
        "quit" => Command::Quit,
        _ => return Err(format!("unknown command `{verb}`")),
    };
    match words.next() {
        Some(word) => Err(format!("{verb}: unexpected `{word}`")),
        None => Ok(Some(command)),
    }
}

/// Commands as they come in.
pub(super) struct Commands {
    /// Nothing after the end of input.
    stdin: Option<Stdin>,
    lines: Lines,
}

impl Commands {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self { stdin: Some(Stdin::start()?), lines: Lines::default() })
    }

    /// The next command, or what is wrong with it. Never, after the end of input. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Command, String> {
        loop {
            while let Some(line) = self.lines.take() {
                match line.and_then(|line| parse(&line)) {
                    Ok(None) => {}
                    Ok(Some(command)) => return Ok(command),
                    Err(reason) => return Err(reason),
                }
            }
            let Some(stdin) = &mut self.stdin else { return std::future::pending().await };
            match stdin.next().await {
                Ok(Some(block)) => {
                    self.lines.add(block.bytes());
                    stdin.reuse(block);
                }
                Ok(None) => {
                    self.stdin = None;
                    self.lines.add(b"\n");
                }
                Err(error) => {
                    self.stdin = None;
                    return Err(format!("stdin: {error}"));
                }
            }
        }
    }
}

/// Longest line, bytes. What goes beyond is no command of ours.
const LINE_MAX: usize = 4096;

/// Bytes cut into lines. Holds a block of input and a line at most.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// The rest of a line that was too long is still to come.
    skipping: bool,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self) -> Option<Result<String, String>> {
        let too_long = || Some(Err(format!("a line of more than {LINE_MAX} bytes")));
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            if self.bytes.len() <= LINE_MAX && !self.skipping {
                return None;
            }
            self.bytes.clear();
            return if std::mem::replace(&mut self.skipping, true) { None } else { too_long() };
        };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        match std::mem::take(&mut self.skipping) {
            true => Some(Ok(String::new())),
            false if end > LINE_MAX => too_long(),
            false => Some(String::from_utf8(line).map_err(|_| "a line that is no text".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_or_refused_with_a_reason() {
        assert_eq!(parse("  # a comment"), Ok(None));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("discard"), Ok(Some(Command::Discard)));
        let change = Command::Change(vec![Direction::There], vec![Setting::Loss(0.05), Setting::Down(true)]);
        assert_eq!(parse("up loss=5% link=down"), Ok(Some(change)));
        assert_eq!(parse("preset wifi"), Ok(Some(Command::Line(Box::new(Line::wifi())))));
        for text in ["set", "up loss", "preset", "preset good", "clear all", "quit now", "help"] {
            assert!(parse(text).is_err_and(|reason| !reason.is_empty()), "{text}");
        }
    }

    #[test]
    fn lines_are_cut_wherever_blocks_end_and_none_gets_long() {
        let mut lines = Lines::default();
        lines.add(b"sta");
        assert_eq!(lines.take(), None);
        lines.add(b"ts\nquit\nup");
        assert_eq!(lines.take(), Some(Ok("stats\n".to_owned())));
        assert_eq!(lines.take(), Some(Ok("quit\n".to_owned())));
        assert_eq!(lines.take(), None);
        for _ in 0..3 {
            lines.add(&[b'x'; LINE_MAX]);
        }
        assert!(lines.take().is_some_and(|line| line.is_err()));
        lines.add(&[b'x'; LINE_MAX]);
        assert_eq!((lines.take(), lines.bytes.len()), (None, 0), "told once, and forgotten");
        lines.add(b"\nquit\n\xff\n");
        assert_eq!(lines.take(), Some(Ok(String::new())));
        assert_eq!(lines.take(), Some(Ok("quit\n".to_owned())));
        assert!(lines.take().is_some_and(|line| line.is_err()));
    }
}
