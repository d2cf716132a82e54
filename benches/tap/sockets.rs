//! What the programs on TCP sockets cost: the process whose sockets are tapped, and those that are
//! none of wstap's business.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use crate::cost::median;
use crate::program::{Dialogue, Wstap, this};

const ROUNDS: usize = 7;
const PAIRS: u32 = 20_000;

/// Prints the table.
pub(crate) fn measure() {
    println!("\nnanoseconds for a send and a receive of 128 bytes over loopback TCP, one thread\n");
    let (mut socket, _) = Dialogue::start(&mut this(&["socket"]));
    let (other, _) = Dialogue::start(&mut this(&["socket"]));
    let own = socket.pid();
    let mut pair = || socket.ask("go").parse::<f64>().unwrap();
    pair();
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].push(pair());
        let tap = Wstap::attach(other.pid(), &["--plain", "on"]);
        figures[1].push(pair());
        drop(tap);
        let _tap = Wstap::attach(own, &["--plain", "on"]);
        figures[2].push(pair());
    }
    let names = ["nothing tapped", "another process tapped", "this one tapped"];
    let medians = figures.map(|figures| median(figures).unwrap());
    for (name, time) in names.iter().zip(medians) {
        println!("  {name:24} {time:>7.0}  (+{:.0})", time - medians[0]);
    }
}

/// Each line on standard input is answered with the time of a pair.
pub(crate) fn talk() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    sender.set_nodelay(true).unwrap();
    println!("ready");
    for _ in std::io::stdin().lines() {
        // Frames of a WebSocket that is met in mid-stream.
        let mut frame = [b'x'; 128];
        frame[..4].copy_from_slice(&[0x81, 126, 0, 124]);
        let began = Instant::now();
        for _ in 0..PAIRS {
            sender.write_all(&frame).unwrap();
            receiver.read_exact(&mut frame).unwrap();
        }
        println!("{}", began.elapsed().as_nanos() as f64 / f64::from(PAIRS));
    }
}
