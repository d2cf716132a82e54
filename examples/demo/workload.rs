//! The two ends of the workload, each in a process of its own.

use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use openssl::ssl::{Ssl, SslAcceptor, SslConnector, SslMethod, SslVerifyMode};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_openssl::SslStream;

use super::Result;
use super::certificate::self_signed;
use super::peer::{Script, talk};

const CONNECTIONS: usize = 5;

/// Client connections are closed and made anew, so that handshakes are seen too.
const CONNECTION_LIFE: Duration = Duration::from_secs(3);

const SERVER: Script = Script {
    calls: &["client.status", "client.refresh"],
    pause: Duration::from_millis(50),
    notification: Some("market.update"),
    until: None,
};

const CLIENT: Script = Script {
    calls: &["quote.get", "order.place", "quote.get", "order.cancel", "history.load"],
    pause: Duration::from_millis(10),
    notification: None,
    until: None,
};

/// Serves wss on a port that the kernel chooses, and prints it.
#[tokio::main]
pub(crate) async fn serve() -> Result<()> {
    let (key, certificate) = self_signed()?;
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    acceptor.set_private_key(&key)?;
    acceptor.set_certificate(&certificate)?;
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (socket, _) = listener.accept().await?;
        let ssl = Ssl::new(acceptor.context())?;
        tokio::spawn(async move {
            if let Err(error) = serve_one(ssl, socket).await {
                eprintln!("server: {error}");
            }
        });
    }
}

async fn serve_one(ssl: Ssl, socket: TcpStream) -> Result<()> {
    let mut stream = SslStream::new(ssl, socket)?;
    Pin::new(&mut stream).accept().await?;
    let socket = tokio_tungstenite::accept_async(stream).await?;
    Ok(talk(socket, SERVER).await?)
}

/// Keeps several connections to `port` busy until it is killed.
#[tokio::main]
pub(crate) async fn connect(port: &str) -> Result<()> {
    let port: u16 = port.parse()?;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(async move {
            loop {
                if connect_one(port).await.is_err() {
                    return;
                }
            }
        });
    }
    connections.join_all().await;
    Ok(())
}

async fn connect_one(port: u16) -> std::result::Result<(), String> {
    let attempt = async {
        let mut connector = SslConnector::builder(SslMethod::tls())?;
        connector.set_verify(SslVerifyMode::NONE);
        let ssl = connector.build().configure()?.into_ssl("localhost")?;
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut stream = SslStream::new(ssl, socket)?;
        Pin::new(&mut stream).connect().await?;
        let (socket, _) = tokio_tungstenite::client_async("wss://localhost/rpc", stream).await?;
        let script = Script { until: Some(Instant::now() + CONNECTION_LIFE), ..CLIENT };
        Result::Ok(talk(socket, script).await?)
    };
    attempt.await.map_err(|error| error.to_string())
}
