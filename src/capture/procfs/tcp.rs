//! The TCP sockets of a process, as `/proc` lists them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fs, str};

/// The purpose of a socket. If one connection with an endpoint carries TLS, the others do, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::capture) enum Endpoint {
    /// Clients connect to this port of the process.
    Server(u16),
    /// The process connects to this address.
    Client(SocketAddr),
}

/// TCP sockets by inode number.
pub(in crate::capture) type Sockets = HashMap<u64, Endpoint>;

/// Inode numbers of the sockets of any kind that `pid` has open.
///
/// # Errors
///
/// The process is gone, or may not be looked into.
pub(in crate::capture) fn inodes(pid: u32) -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(link) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
        inodes.extend(link.to_str().and_then(inode));
    }
    Ok(inodes)
}

/// The number in `socket:[4242]`.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Which of `inodes` are TCP sockets of `pid`, listening or connected.
///
/// # Errors
///
/// The process is gone, or may not be looked into.
pub(in crate::capture) fn sockets(pid: u32, inodes: &HashSet<u64>) -> io::Result<Sockets> {
    let mut lines = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    // There may be no IPv6.
    lines.push_str(&fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default());
    Ok(endpoints(&lines, inodes))
}

/// `LISTEN` of `include/net/tcp_states.h`.
const LISTEN: u8 = 10;

fn endpoints(lines: &str, inodes: &HashSet<u64>) -> Sockets {
    let rows: Vec<Row> = lines.lines().filter_map(Row::parse).collect();
    let own = || rows.iter().filter(|row| inodes.contains(&row.inode));
    // The process that accepts connections may not be the one that listens.
    let listening: HashSet<u16> =
        rows.iter().filter(|row| row.state == LISTEN).map(|row| row.local.port()).collect();
    own()
        .map(|row| {
            let port = row.local.port();
            let is_server = listening.contains(&port);
            (row.inode, if is_server { Endpoint::Server(port) } else { Endpoint::Client(row.peer) })
        })
        .collect()
}

/// A line of `/proc/net/tcp` or `tcp6`.
struct Row {
    local: SocketAddr,
    peer: SocketAddr,
    state: u8,
    inode: u64,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = address(fields.next()?)?;
        let peer = address(fields.next()?)?;
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Self { local, peer, state, inode })
    }
}

/// `0100007F:1F90`: 32-bit words as they lie in memory, printed as numbers; then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    if !matches!(address.len(), 8 | 32) {
        return None;
    }
    for (word, digits) in bytes.chunks_exact_mut(4).zip(address.as_bytes().chunks_exact(8)) {
        let number = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        word.copy_from_slice(&number.to_ne_bytes());
    }
    let [a, b, c, d, ..] = bytes;
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(bytes).to_canonical(),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0
   2: 0100007F:C351 0200000A:01BB 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0
   3: 0100007F:C352 0200000A:01BB 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0
   4: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000200007F:C353 01 0:0 0:0 0 0 0 15
 nonsense
";

    #[test]
    fn a_socket_on_a_port_that_is_listened_on_is_a_server_and_others_are_clients() {
        let found = endpoints(TCP, &HashSet::from([11, 12, 13, 15, 99]));
        let peer = |text: &str| Endpoint::Client(text.parse().unwrap());
        assert_eq!(found.len(), 4);
        assert_eq!(found[&11], Endpoint::Server(8080));
        assert_eq!(found[&12], Endpoint::Server(8080));
        assert_eq!(found[&13], peer("10.0.0.2:443"));
        assert_eq!(found[&15], peer("127.0.0.2:50003"));
    }

    #[test]
    fn this_process_finds_its_own_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let pid = std::process::id();
        let of = |fd: i32| {
            let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            inode(link.to_str().unwrap()).unwrap()
        };
        let inodes = inodes(pid).unwrap();
        let found = sockets(pid, &inodes).unwrap();
        assert_eq!(found[&of(listener.as_raw_fd())], Endpoint::Server(address.port()));
        assert_eq!(found[&of(stream.as_raw_fd())], Endpoint::Client(address));
    }
}
