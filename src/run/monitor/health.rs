//! `wstap health`: asks a wstap that runs elsewhere whether it lives. An image with nothing in it but
//! wstap has no other program that could ask.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::export::Address;
use crate::run::Failure;
use crate::terminal;

/// Time to connect, and time for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A health check needs no more of the answer than its first line.
const FIRST_BYTES: u64 = 256;

/// First byte of a TLS alert (RFC 8446, section 5.1): the answer to a request without TLS.
const TLS_ALERT: u8 = 21;

/// Succeeds if a wstap answers on `address`.
pub(in crate::run) fn run(address: &Address) -> Result<(), Failure> {
    let answer = ask(address).map_err(|error| {
        Failure::Runtime(format!("nobody answers on {address}: {error}; is wstap running there?"))
    })?;
    let what = judge(&answer).map_err(|wrong| Failure::Runtime(format!("{address}: {wrong}")))?;
    terminal::print(format_args!("{address}: {what}"));
    Ok(())
}

fn ask(address: &Address) -> io::Result<Vec<u8>> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream)
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream)
        }
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.take(FIRST_BYTES).read_to_end(&mut answer) {
        // Who wants TLS may hang up rudely once it has said so.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// A server that asks for a password or for TLS lives.
fn judge(answer: &[u8]) -> Result<&'static str, String> {
    if answer.first() == Some(&TLS_ALERT) {
        return Ok("healthy (it asks for TLS)");
    }
    let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    match line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(b"200") => Ok("healthy"),
        Some(b"401") => Ok("healthy (it asks for a password)"),
        _ => Err(format!("not healthy: it answered `{}`", line.escape_ascii())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_is_healthy_even_if_it_asks_for_more() {
        for answer in
            ["HTTP/1.1 200 OK\r\nx: y", "HTTP/1.1 401 Unauthorized\r\n", "\x15\x03\x03\0\x02"]
        {
            assert!(judge(answer.as_bytes()).is_ok(), "{answer}");
        }
        for answer in ["", "HTTP/1.1 503 Service Unavailable\r\n", "SSH-2.0-x", "HTTP/1.1 20"] {
            assert!(judge(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
