//! One end of a JSON-RPC conversation over WebSocket: answers what it is asked, asks on its own,
//! and sends notifications. Server and client differ only in their [`Script`].

use std::future::pending;
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a peer says of its own accord, and how long its answers take.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    /// Methods it calls in turn.
    pub(crate) calls: &'static [&'static str],
    /// Pause between two calls.
    pub(crate) pause: Duration,
    /// A notification it sends now and then.
    pub(crate) notification: Option<&'static str>,
    /// When it hangs up; a server waits for the client to do so.
    pub(crate) until: Option<Instant>,
}

/// How long a method takes to answer. `order.cancel` fails, whoever asks.
fn service_time(method: &str) -> Duration {
    Duration::from_millis(match method {
        "quote.get" => 1,
        "order.place" => 5,
        "order.cancel" => 2,
        "history.load" => 40,
        _ => 0,
    })
}

/// Talks until the other side hangs up.
pub(crate) async fn talk<S>(socket: WebSocketStream<S>, script: Script) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sink, mut stream) = socket.split();
    // Answers are made in tasks of their own, so that a slow one does not hold up the others.
    let (answers, mut ready) = mpsc::unbounded_channel::<Value>();
    let mut timer = interval(script.pause);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0_usize;
    loop {
        let value = tokio::select! {
            message = stream.next() => {
                match message {
                    Some(Ok(Message::Text(text))) => answer(&text, &answers),
                    Some(Ok(Message::Close(_))) | None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                }
                continue;
            }
            Some(value) = ready.recv() => value,
            () = until(script.until) => {
                sink.send(Message::Close(None)).await?;
                drain(stream).await;
                return Ok(());
            }
            _ = timer.tick() => {
                turn += 1;
                say(&script, turn)
            }
        };
        sink.send(Message::text(value.to_string())).await?;
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// Reads what was still under way, until the other side has hung up in whatever way.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(mut stream: SplitStream<WebSocketStream<S>>) {
    while let Some(Ok(_)) = stream.next().await {}
}

fn say(script: &Script, turn: usize) -> Value {
    match script.notification {
        Some(method) if turn.is_multiple_of(10) => {
            json!({"jsonrpc": "2.0", "method": method, "params": {"turn": turn}})
        }
        _ => {
            let method = script.calls[turn % script.calls.len()];
            json!({"jsonrpc": "2.0", "id": turn, "method": method, "params": {"symbol": "XYZ"}})
        }
    }
}

fn answer(text: &str, answers: &mpsc::UnboundedSender<Value>) {
    let Ok(request) = serde_json::from_str::<Value>(text) else { return };
    let (Some(id), Some(method)) = (request.get("id"), request["method"].as_str()) else { return };
    let reply = if method == "order.cancel" {
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "too late"}})
    } else {
        json!({"jsonrpc": "2.0", "id": id, "result": {"method": method}})
    };
    let (delay, answers) = (service_time(method), answers.clone());
    tokio::spawn(async move {
        sleep(delay).await;
        // The connection may have ended meanwhile.
        let _ = answers.send(reply);
    });
}
