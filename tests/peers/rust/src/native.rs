//! The system's OpenSSL, or one of our own.

use std::error::Error;

use tokio::net::TcpStream;
use tokio_native_tls::{TlsConnector, TlsStream, native_tls};

pub async fn connect(socket: TcpStream) -> Result<TlsStream<TcpStream>, Box<dyn Error>> {
    let connector = native_tls::TlsConnector::builder().danger_accept_invalid_certs(true).build()?;
    Ok(TlsConnector::from(connector).connect("localhost", socket).await?)
}
