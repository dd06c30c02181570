//! Numbers over HTTP, for those who collect such: one text, whatever is asked for.
//!
//! Refuses to know what the numbers mean, and nearly all of HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::transport::resolve;

/// How long somebody may take to ask and to hear the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest question.
const QUESTION_MAX: usize = 4096;

pub(crate) struct Metrics {
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Metrics {
    pub(crate) async fn bind(addr: &str) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(format_args!("metrics at {addr}"), &error);
        let listener = TcpListener::bind(resolve(addr).await?).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local_addr })
    }

    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers one after the other, for ever. Whoever is slow is cut off.
    pub(crate) async fn serve(self, text: impl Fn() -> String) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answered = timeout(PATIENCE, answer(stream, &text())).await;
                    tracing::debug!(?answered, "asked for numbers");
                }
                // Out of file descriptors, perhaps: others may give some back.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

async fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    let mut question = Vec::new();
    while !question.windows(4).any(|end| end == b"\r\n\r\n") && question.len() < QUESTION_MAX {
        if stream.read_buf(&mut question).await? == 0 {
            break;
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[tokio::test]
    async fn whoever_asks_gets_the_numbers() {
        let metrics = Metrics::bind("127.0.0.1:0").await.unwrap();
        let addr = metrics.local_addr();
        let server = tokio::spawn(metrics.serve(|| "tide 7\n".to_owned()));
        for _ in 0..2 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ntide 7\n"),
                "{answer}"
            );
        }
        server.abort();
    }
}
