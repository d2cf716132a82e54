//! The TCP sockets of a process, as `/proc` lists them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
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
    Ok(endpoints(&Table::parse(&lines(pid)?), inodes))
}

/// Every TCP socket in the network namespace of `pid`, a line each.
fn lines(pid: u32) -> io::Result<String> {
    let mut lines = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    // There may be no IPv6.
    lines.push_str(&fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default());
    Ok(lines)
}

/// `ESTABLISHED` and `LISTEN` of `include/net/tcp_states.h`.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// The TCP sockets of a network namespace.
#[derive(Debug, Default)]
struct Table {
    rows: HashMap<u64, Row>,
    listening: HashSet<u16>,
}

impl Table {
    fn parse(lines: &str) -> Self {
        let rows = || lines.lines().filter_map(Row::parse);
        // The process that accepts connections may not be the one that listens.
        let listening = rows().filter(|row| row.state == LISTEN).map(|row| row.local.port());
        Self { listening: listening.collect(), rows: rows().map(|row| (row.inode, row)).collect() }
    }
}

/// The TCP sockets that a process has open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenSockets {
    /// There is at least one, in whatever state.
    pub has_any: bool,
    /// The ports that it listens on.
    pub listening: BTreeSet<u16>,
    /// The established ones.
    pub connections: Vec<Connection>,
}

/// An established connection, as the process at one end of it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where it leads.
    pub ends: Ends,
    /// Its own port is one that somebody in its network namespace listens on.
    pub is_accepted: bool,
}

/// The addresses of a connection in one network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    namespace: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Ends {
    /// The same connection, as a process at its other end sees it, if that is in the same namespace.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { local: self.peer, peer: self.local, ..self }
    }
}

/// The sockets of many processes, with one reading for each network namespace.
#[derive(Debug, Default)]
pub struct Tables {
    by_namespace: HashMap<PathBuf, (usize, Table)>,
}

impl Tables {
    /// The sockets of `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, or may not be looked into.
    pub fn of(&mut self, pid: u32) -> io::Result<OpenSockets> {
        let inodes = inodes(pid)?;
        if inodes.is_empty() {
            return Ok(OpenSockets::default());
        }
        let number = self.by_namespace.len();
        let (namespace, table) =
            match self.by_namespace.entry(fs::read_link(format!("/proc/{pid}/ns/net"))?) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert((number, Table::parse(&lines(pid)?))),
            };
        Ok(open_sockets(*namespace, table, &inodes))
    }
}

fn open_sockets(namespace: usize, table: &Table, inodes: &HashSet<u64>) -> OpenSockets {
    let mut open = OpenSockets::default();
    for row in inodes.iter().filter_map(|inode| table.rows.get(inode)) {
        open.has_any = true;
        match row.state {
            LISTEN => drop(open.listening.insert(row.local.port())),
            ESTABLISHED => open.connections.push(Connection {
                ends: Ends { namespace, local: row.local, peer: row.peer },
                is_accepted: table.listening.contains(&row.local.port()),
            }),
            _ => {}
        }
    }
    open
}

fn endpoints(table: &Table, inodes: &HashSet<u64>) -> Sockets {
    let own = inodes.iter().filter_map(|inode| table.rows.get(inode));
    own.map(|row| {
        let port = row.local.port();
        let is_server = table.listening.contains(&port);
        (row.inode, if is_server { Endpoint::Server(port) } else { Endpoint::Client(row.peer) })
    })
    .collect()
}

/// A line of `/proc/net/tcp` or `tcp6`.
#[derive(Debug)]
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
        let found = endpoints(&Table::parse(TCP), &HashSet::from([11, 12, 13, 15, 99]));
        let peer = |text: &str| Endpoint::Client(text.parse().unwrap());
        assert_eq!(found.len(), 4);
        assert_eq!(found[&11], Endpoint::Server(8080));
        assert_eq!(found[&12], Endpoint::Server(8080));
        assert_eq!(found[&13], peer("10.0.0.2:443"));
        assert_eq!(found[&15], peer("127.0.0.2:50003"));
    }

    #[test]
    fn open_sockets_are_ports_that_are_listened_on_and_connections_in_and_out() {
        let table = Table::parse(TCP);
        let open = open_sockets(0, &table, &HashSet::from([11, 12, 13, 15, 99]));
        let accepted = open.connections.iter().filter(|it| it.is_accepted).count();
        assert_eq!((accepted, open.connections.len()), (1, 3));
        assert_eq!(open.listening, BTreeSet::from([8080]));
        assert!(open.has_any && !open_sockets(0, &table, &HashSet::from([99])).has_any);
    }

    #[test]
    fn this_process_finds_its_own_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().unwrap();
        let pid = std::process::id();
        let of = |fd: i32| {
            let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            inode(link.to_str().unwrap()).unwrap()
        };
        let inodes = inodes(pid).unwrap();
        let found = sockets(pid, &inodes).unwrap();
        assert_eq!(found[&of(listener.as_raw_fd())], Endpoint::Server(address.port()));
        assert_eq!(found[&of(stream.as_raw_fd())], Endpoint::Client(address));
        let open = Tables::default().of(pid).unwrap();
        assert!(open.listening.contains(&address.port()), "{open:?}");
        let ends: Vec<Ends> = open.connections.iter().map(|it| it.ends).collect();
        let own = ends.iter().filter(|it| it.local == address || it.peer == address);
        assert_eq!(own.clone().count(), 2, "{open:?}");
        assert!(own.clone().all(|it| ends.contains(&it.reversed())), "{open:?}");
    }
}
