//! The two ends of a load: a server that answers what is a request with the same text, and clients
//! that send at a given rate or wait for each answer.

use std::io::{BufRead, Write};
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use openssl::ssl::{Ssl, SslAcceptor, SslConnector, SslMethod, SslVerifyMode};
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::pingpong::certificate::self_signed;

type Socket = WebSocketStream<SslStream<TcpStream>>;

/// A JSON-RPC notification of 128 bytes.
fn message() -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0","method":"tick","params":"{}"}}"#, "x".repeat(82));
    Message::text(text)
}

/// A binary message of 128 bytes is to be answered.
fn question() -> Message {
    Message::binary(vec![b'?'; 128])
}

/// Reads whatever comes, and sends back what is binary; prints its port first.
#[tokio::main]
pub(crate) async fn serve() {
    let (key, certificate) = self_signed().unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let ssl = Ssl::new(acceptor.context()).unwrap();
        tokio::spawn(async move {
            let mut stream = SslStream::new(ssl, socket).unwrap();
            Pin::new(&mut stream).accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if message.is_binary() && socket.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Each line `RATE SECONDS` on standard input sends that many messages a second over all
/// connections, and prints how many were sent.
#[tokio::main]
pub(crate) async fn connect(port: &str, connections: &str) {
    let mut sockets = connect_all(port, connections).await;
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (rate, seconds) = line.split_once(' ').unwrap();
        let (rate, seconds): (u64, u64) = (rate.parse().unwrap(), seconds.parse().unwrap());
        println!("{}", send(&mut sockets, rate, seconds).await);
    }
}

/// Each line `SECONDS` on standard input asks over all connections for so long, one question after
/// the other on each, and prints how many were answered.
#[tokio::main]
pub(crate) async fn ask(port: &str, connections: &str) {
    let mut sockets = connect_all(port, connections).await;
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let until = Instant::now() + Duration::from_secs(line.parse().unwrap());
        let asking = sockets.iter_mut().map(|socket| ask_until(socket, until));
        println!("{}", futures_util::future::join_all(asking).await.iter().sum::<u64>());
    }
}

async fn ask_until(socket: &mut Socket, until: Instant) -> u64 {
    let (question, mut answers) = (question(), 0);
    while Instant::now() < until {
        socket.send(question.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_binary());
        answers += 1;
    }
    answers
}

/// One for all connections: it holds every certificate that the system trusts.
fn connector() -> SslConnector {
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.build()
}

async fn connect_all(port: &str, connections: &str) -> Vec<Socket> {
    let port: u16 = port.parse().unwrap();
    let (connector, mut sockets) = (connector(), Vec::new());
    for _ in 0..connections.parse().unwrap() {
        sockets.push(connect_one(&connector, port).await);
    }
    sockets
}

async fn connect_one(connector: &SslConnector, port: u16) -> Socket {
    let ssl = connector.configure().unwrap().into_ssl("localhost").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut stream = SslStream::new(ssl, socket).unwrap();
    Pin::new(&mut stream).connect().await.unwrap();
    tokio_tungstenite::client_async("wss://localhost/", stream).await.unwrap().0
}

async fn send(sockets: &mut [Socket], rate: u64, seconds: u64) -> u64 {
    let (began, message) = (Instant::now(), message());
    let mut sent = 0;
    while sent < rate * seconds {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        if began.elapsed() > Duration::from_secs(2 * seconds) {
            break;
        }
        while sent < due.min(rate * seconds) {
            let socket = &mut sockets[sent as usize % 4];
            socket.send(message.clone()).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    sent
}
