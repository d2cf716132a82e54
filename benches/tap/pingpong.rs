//! TLS between two ends in one process and one thread, over memory: nothing but the library's own
//! work and the probes on it. Each line `SIZE` on standard input runs one round and prints the
//! nanoseconds that one message took on average: a call to write it and a call to read it. With
//! `SIZE plain` the messages are no WebSocket frames.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::rc::Rc;
use std::time::Instant;

use openssl::ssl::{
    HandshakeError, Ssl, SslAcceptor, SslConnector, SslMethod, SslStream, SslVerifyMode,
};

#[path = "../../examples/demo/certificate.rs"]
pub(crate) mod certificate;

/// Calls in a row, so that reading the clock does not count.
const BATCH: usize = 100;
const BATCHES: usize = 40;

type Queue = Rc<RefCell<VecDeque<u8>>>;

/// One end of a duplex pipe in memory.
#[derive(Debug)]
struct End {
    incoming: Queue,
    outgoing: Queue,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.borrow_mut().read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The rounds, until standard input ends.
pub(crate) fn run() {
    let (mut client, mut server) = handshake();
    println!("ready");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let (size, plain) = line.strip_suffix(" plain").map_or((&*line, false), |it| (it, true));
        let size: usize = size.parse().expect("a size");
        let message = if plain { vec![b'x'; size] } else { frame(size) };
        println!("{:.1}", round(&mut client, &mut server, &message));
    }
}

/// Medians over the batches.
fn round(client: &mut SslStream<End>, server: &mut SslStream<End>, message: &[u8]) -> f64 {
    let mut buffer = vec![0; message.len()];
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        writes.push(timed(|| client.write_all(message).expect("a write")));
        reads.push(timed(|| server.read_exact(&mut buffer).expect("a read")));
    }
    median(writes) + median(reads)
}

/// A client's text frame of `size` bytes in all (RFC 6455, section 5.2). The mask is zero, and the
/// payload a JSON-RPC request; 6 bytes are the header of an empty message.
fn frame(size: usize) -> Vec<u8> {
    let mut frame = match size {
        6 => return vec![0x81, 0x80, 0, 0, 0, 0],
        ..132 => vec![0x81, 0x80 | (size - 6) as u8],
        _ => {
            let [high, low] = ((size - 8) as u16).to_be_bytes();
            vec![0x81, 0x80 | 126, high, low]
        }
    };
    frame.extend([0; 4]);
    frame.extend(br#"{"jsonrpc":"2.0","id":1,"method":"put","params":[""#);
    frame.resize(size - 3, b'x');
    frame.extend(br#""]}"#);
    frame
}

fn timed(mut call: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..BATCH {
        call();
    }
    began.elapsed().as_nanos() as f64 / BATCH as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn handshake() -> (SslStream<End>, SslStream<End>) {
    let (key, certificate) = certificate::self_signed().expect("a certificate");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("acceptor");
    acceptor.set_private_key(&key).expect("a key");
    acceptor.set_certificate(&certificate).expect("a certificate");
    // Tickets would be plaintext-free records between the messages.
    acceptor.set_num_tickets(0).expect("no tickets");
    let acceptor = acceptor.build();
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("connector");
    connector.set_verify(SslVerifyMode::NONE);
    let client = connector.build().configure().expect("a configuration");
    let client = client.into_ssl("localhost").expect("a client");
    let server = Ssl::new(acceptor.context()).expect("a server");
    let (up, down): (Queue, Queue) = Default::default();
    let client_end = End { incoming: Rc::clone(&down), outgoing: Rc::clone(&up) };
    let server_end = End { incoming: up, outgoing: down };
    let mut connecting = would_block(client.connect(client_end));
    let mut accepting = would_block(server.accept(server_end));
    loop {
        let (client, server) = (connecting.handshake(), accepting.handshake());
        match (client, server) {
            (Ok(client), Ok(server)) => return (client, server),
            (Ok(client), Err(HandshakeError::WouldBlock(server))) => {
                return (client, server.handshake().expect("a handshake"));
            }
            (client, server) => {
                connecting = would_block(client);
                accepting = would_block(server);
            }
        }
    }
}

type Unfinished = openssl::ssl::MidHandshakeSslStream<End>;

fn would_block(result: Result<SslStream<End>, HandshakeError<End>>) -> Unfinished {
    match result {
        Err(HandshakeError::WouldBlock(unfinished)) => unfinished,
        other => panic!("the handshake should need the other side: {other:?}"),
    }
}
