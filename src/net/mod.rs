//! Sockets and the driver, on tokio.
