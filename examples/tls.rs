//! TLS over a uTP stream: uTP itself neither encrypts nor authenticates.
//!
//!     cargo run --release --example tls
//!     server: TLSv1_3, got "who is there?"
//!     client: TLSv1_3, got "the one whose certificate you trust"

use std::error::Error;
use std::sync::Arc;

use ebbtide::UtpSocket;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let identity = rcgen::generate_simple_self_signed(vec!["ebbtide.example".to_owned()])?;
    let certificate = identity.cert.der().clone();
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der())?;

    let server = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let addr = server.local_addr();
    let serving = tokio::spawn(serve(server, acceptor(certificate.clone(), key)?));

    let client = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let stream = client.connect(addr).await?;
    let name = ServerName::try_from("ebbtide.example")?;
    let mut stream = connector(certificate)?.connect(name, stream).await?;
    stream.write_all(b"who is there?").await?;
    // TLS has an end of its own for each direction, and the stream's FIN follows it.
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let version = stream.get_ref().1.protocol_version().ok_or("no handshake")?;
    println!("client: {version:?}, got {answer:?}");
    serving.await?
}

async fn serve(socket: UtpSocket, acceptor: TlsAcceptor) -> Result<(), Failure> {
    let (stream, _) = socket.accept().await?;
    let mut stream = acceptor.accept(stream).await?;
    let mut question = String::new();
    stream.read_to_string(&mut question).await?;
    let version = stream.get_ref().1.protocol_version().ok_or("no handshake")?;
    println!("server: {version:?}, got {question:?}");
    stream.write_all(b"the one whose certificate you trust").await?;
    stream.shutdown().await?;
    Ok(stream.get_ref().0.closed().await?)
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, Failure> {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn connector(certificate: CertificateDer<'static>) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
