//! The client of ws_client.py in Rust: `tokio-tungstenite` over the TLS library that a feature
//! chooses.

use std::error::Error;
use std::fs::File;
use std::io::{Write, stdin};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

#[cfg(feature = "native")]
#[path = "native.rs"]
mod tls;

#[cfg(feature = "rustls21")]
#[path = "rustls21.rs"]
mod tls;

#[cfg(feature = "rustls22")]
mod tls {
    use tokio_rustls_25 as tokio_rustls;
    include!("rustls.rs");
}

#[cfg(feature = "rustls23")]
mod tls {
    use tokio_rustls_26 as tokio_rustls;
    include!("rustls.rs");
}

/// The value of an option, such as `--port 1`.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, default: usize) -> Result<usize, Box<dyn Error>> {
    Ok(option(name).map_or(Ok(default), |value| value.parse())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let port: u16 = option("--port").ok_or("--port is missing")?.parse()?;
    let mut log = File::create(option("--log").ok_or("--log is missing")?)?;
    let connections = number("--connections", 1)?;
    let requests = number("--requests", 10)?;
    let echo = "x".repeat(number("--size", 20)?);
    let mut record = |connection: usize, direction: &str, message: &str| {
        let data = BASE64_STANDARD.encode(message);
        writeln!(log, "{connection} {direction} text {data}")
    };
    println!("ready");
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let mut turnaround_ns = Vec::new();
    runtime.block_on(async {
        for connection in 0..connections {
            let socket = TcpStream::connect(("127.0.0.1", port)).await?;
            socket.set_nodelay(true)?;
            let url = format!("wss://127.0.0.1:{port}/rpc?token=secret");
            let (mut websocket, _) = client_async(url, tls::connect(socket).await?).await?;
            for id in 0..requests / connections {
                let params = json!({ "echo": echo, "connection": connection });
                let request = json!({ "jsonrpc": "2.0", "id": id, "method": "echo", "params": params });
                let request = request.to_string();
                let began = Instant::now();
                websocket.send(Message::text(request.clone())).await?;
                record(connection, "sent", &request)?;
                let answer = websocket.next().await.ok_or("the server has left")??;
                turnaround_ns.push(began.elapsed().as_nanos());
                record(connection, "received", answer.to_text()?)?;
            }
            websocket.close(None).await?;
            while websocket.next().await.is_some() {}
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    turnaround_ns.sort_unstable();
    let median = turnaround_ns.get(turnaround_ns.len() / 2).copied().unwrap_or_default();
    println!("{}", json!({ "answered": turnaround_ns.len(), "median_ns": median as u64 }));
    while stdin().read_line(&mut line)? > 0 {}
    Ok(())
}
