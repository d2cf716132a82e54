//! The TCP connection that a WebSocket appears to have in the file.
//!
//! What is tapped are calls, not packets. So addresses are made up, ports as far as they are not known,
//! and sequence numbers count what is written here.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::PacketBuilder;

/// Payload bytes of a packet: with its headers it stays below the 64 KiB that IPv4 can say.
pub(super) const SEGMENT_BYTES: usize = 65_000;

/// Every server has this address, of a network for documentation (RFC 5737). Ports tell them apart.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Clients have addresses of 10.0.0.0/8 (RFC 1918), one for each connection, and this port.
const CLIENT_PORT: u16 = 50_000;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    /// The other one.
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a packet does besides carrying bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Open,
    None,
    Close,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Tcp {
    ends: [SocketAddrV4; 2],
    /// Sequence number of the next byte of each end.
    next: [u32; 2],
}

impl Tcp {
    /// The connection with this serial number to this port. After 16,777,216 of them addresses are
    /// used again.
    pub(super) fn new(serial: u32, server_port: u16) -> Self {
        let [_, a, b, c] = serial.to_be_bytes();
        let client = SocketAddrV4::new(Ipv4Addr::new(10, a, b, c), CLIENT_PORT);
        Self { ends: [client, SocketAddrV4::new(SERVER, server_port)], next: [0; 2] }
    }

    /// The next packet of one end. `payload` is at most [`SEGMENT_BYTES`] long.
    pub(super) fn packet(&mut self, from: End, flag: Flag, payload: &[u8]) -> Vec<u8> {
        let (own, other) = (from as usize, from.opposite() as usize);
        let (source, destination) = (self.ends[own], self.ends[other]);
        let ip = PacketBuilder::ipv4(source.ip().octets(), destination.ip().octets(), 64);
        let tcp = ip.tcp(source.port(), destination.port(), self.next[own], u16::MAX);
        let tcp = match (flag, from) {
            (Flag::Open, End::Client) => tcp.syn(),
            (Flag::Open, End::Server) => tcp.syn().ack(self.next[other]),
            (Flag::None, _) if payload.is_empty() => tcp.ack(self.next[other]),
            (Flag::None, _) => tcp.psh().ack(self.next[other]),
            (Flag::Close, _) => tcp.fin().ack(self.next[other]),
        };
        let mut packet = Vec::with_capacity(tcp.size(payload.len()));
        // Fails only where the length does not fit.
        let written = tcp.write_to_vec(&mut packet, payload);
        debug_assert!(written.is_ok(), "{written:?}");
        // What opens or closes a connection counts as one byte (RFC 9293, section 3.4).
        let counted = payload.len() as u32 + u32::from(flag != Flag::None);
        self.next[own] = self.next[own].wrapping_add(counted);
        packet
    }
}
