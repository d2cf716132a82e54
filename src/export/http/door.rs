//! Decides by a connection's two addresses which requests are answered, and what they may show.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// The server's address is a loopback address.
    listens_on_loopback: bool,
    /// The client's address is a loopback address.
    is_local: bool,
}

impl Client {
    pub(super) fn new(ours: Option<SocketAddr>, theirs: Option<SocketAddr>) -> Self {
        let is_loopback = |address: Option<SocketAddr>| {
            address.is_some_and(|address| address.ip().to_canonical().is_loopback())
        };
        Self { listens_on_loopback: is_loopback(ours), is_local: is_loopback(theirs) }
    }

    /// A client of a Unix socket: on this machine, and no browser.
    pub(super) const fn of_unix_socket() -> Self {
        Self { listens_on_loopback: false, is_local: true }
    }

    /// Whether hosts and paths of connections may be shown: only to clients on this machine.
    pub(super) fn sees_addresses(self) -> bool {
        self.is_local
    }

    /// Whether the request is meant for this server. A page of another site can make a browser send
    /// requests here under a name of its own that leads to 127.0.0.1 (DNS rebinding); such a name
    /// is refused where only this machine is served.
    pub(super) fn is_welcome(self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.listens_on_loopback {
            return true;
        }
        let in_uri = uri.host().map(str::to_owned);
        let mut named = headers.get_all(header::HOST).iter();
        let in_header = named.next().map(|host| host.to_str().unwrap_or("?").to_owned());
        if named.next().is_some() {
            return false;
        }
        in_uri.into_iter().chain(in_header).all(|host| is_ours(&host))
    }
}

/// Names of this machine for itself, and addresses, which no name server can redirect.
fn is_ours(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name == "localhost.localdomain"
        || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_welcome(listener: &str, hosts: &[&str]) -> bool {
        let client = Client::new(listener.parse().ok(), "127.0.0.1:5000".parse().ok());
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().expect("a header value"));
        }
        client.is_welcome(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn names_of_this_machine_and_addresses_are_welcome_on_loopback() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "a.localhost",
            "localhost.",
            "127.0.0.1:8080",
            "127.9.9.9",
            "10.1.2.3:80",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_welcome("127.0.0.1:8080", &[host]), "{host}");
            assert!(is_welcome("[::1]:8080", &[host]), "{host}");
        }
        assert!(is_welcome("127.0.0.1:8080", &[]), "HTTP/1.0 has no Host");
    }

    #[test]
    fn a_foreign_name_is_refused_on_loopback_and_only_there() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:evil",
            "",
            "notlocalhost",
        ] {
            assert!(!is_welcome("127.0.0.1:8080", &[host]), "{host}");
            assert!(is_welcome("192.0.2.1:8080", &[host]), "{host}");
        }
        assert!(!is_welcome("127.0.0.1:8080", &["localhost", "evil.example"]));
    }
}
