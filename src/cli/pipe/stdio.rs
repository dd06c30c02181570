//! Stdin and stdout for the asynchronous side: each on a thread of its own, in large blocks that go round.
//!
//! A blocking read of a terminal or a pipe may last for ever, so it must be neither on the runtime's threads nor in
//! the way of the end of the process. Buffering is avoided on purpose: what arrives is passed on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc as threads;
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// Bytes on their way, and the room behind them.
pub(crate) struct Block {
    room: Vec<u8>,
    len: usize,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self { room: vec![0; BLOCK], len: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[..self.len]
    }

    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(self.room.len());
    }
}

/// Blocks from stdin, at most [`AHEAD`] ahead of whoever takes them.
pub(crate) struct Stdin {
    blocks: mpsc::Receiver<io::Result<Block>>,
    used: threads::Sender<Block>,
}

impl Stdin {
    pub(crate) fn start() -> io::Result<Self> {
        let file = stdin()?;
        let (full, blocks) = mpsc::channel(AHEAD);
        let (used, empty) = threads::channel();
        thread::Builder::new().name("stdin".to_owned()).spawn(move || read_all(file, &full, &empty))?;
        Ok(Self { blocks, used })
    }

    /// The next block; nothing at the end of input. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Block>> {
        self.blocks.recv().await.transpose()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Gives a block back once it is empty.
    pub(crate) fn reuse(&self, block: Block) {
        // The thread is gone after the end of input; then the block is not needed any more.
        drop(self.used.send(block));
    }
}

fn read_all(mut file: File, full: &mpsc::Sender<io::Result<Block>>, empty: &threads::Receiver<Block>) {
    loop {
        let mut block = empty.try_recv().unwrap_or_else(|_| Block::new());
        let read = match file.read(block.room()) {
            Ok(0) => return,
            Ok(len) => {
                block.set_len(len);
                Ok(block)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if full.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

/// Takes blocks to stdout, at most [`AHEAD`] ahead of whoever reads them.
pub(super) struct Stdout {
    blocks: Option<mpsc::Sender<Block>>,
    written: threads::Receiver<Block>,
    outcome: oneshot::Receiver<io::Result<()>>,
}

impl Stdout {
    pub(super) fn start() -> io::Result<Self> {
        let mut file = stdout()?;
        let (blocks, mut full) = mpsc::channel::<Block>(AHEAD);
        let (empty, written) = threads::channel();
        let (done, outcome) = oneshot::channel();
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let outcome = write_all(&mut file, &mut full, &empty);
            // Nobody waits for the outcome when the other direction failed first.
            drop(done.send(outcome));
        })?;
        Ok(Self { blocks: Some(blocks), written, outcome })
    }

    /// An empty block to fill.
    pub(super) fn block(&self) -> Block {
        self.written.try_recv().unwrap_or_else(|_| Block::new())
    }

    /// # Errors
    /// What an earlier block met.
    pub(super) async fn write(&mut self, block: Block) -> io::Result<()> {
        let accepted = match &self.blocks {
            Some(blocks) => blocks.send(block).await.is_ok(),
            None => false,
        };
        if accepted { Ok(()) } else { self.outcome().await }
    }

    /// Everything has been written once this returns `Ok`.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.blocks = None;
        self.outcome().await
    }

    /// Ends as soon as stdout cannot be written to, which is noticed when something is written.
    async fn outcome(&mut self) -> io::Result<()> {
        (&mut self.outcome).await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn write_all(
    file: &mut File,
    full: &mut mpsc::Receiver<Block>,
    empty: &threads::Sender<Block>,
) -> io::Result<()> {
    while let Some(block) = full.blocking_recv() {
        file.write_all(block.bytes())?;
        // After the end of the stream nobody fills blocks any more.
        drop(empty.send(block));
    }
    file.flush()
}

/// Stdin without the standard library's buffer.
fn stdin() -> io::Result<File> {
    #[cfg(unix)]
    let owned = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned()?;
    #[cfg(windows)]
    let owned = std::os::windows::io::AsHandle::as_handle(&io::stdin()).try_clone_to_owned()?;
    Ok(File::from(owned))
}

/// Stdout without the standard library's search for ends of lines.
fn stdout() -> io::Result<File> {
    #[cfg(unix)]
    let owned = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let owned = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(File::from(owned))
}

/// A pipe holds 64 KiB; files and large pipes bring more per call.
const BLOCK: usize = 256 << 10;
/// Blocks between a thread and the stream: enough for both to be busy at once.
const AHEAD: usize = 4;
