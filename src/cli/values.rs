//! Values of flags, and of the keys of the configuration file, which take the same.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::export::Address;
use crate::export::metrics::InstanceLabel;

/// Where HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(pub Address);

impl FromStr for Listen {
    type Err = String;

    /// `8080` is a port of this machine only, `:9100` one of every address, as with other
    /// exporters; a host name is looked up, and its IPv4 address is preferred; `unix:/run/it.sock` is
    /// a Unix socket.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self(Address::Unix(path.into())));
        }
        tcp_address(text).map(|address| Self(Address::Tcp(address)))
    }
}

fn tcp_address(text: &str) -> Result<SocketAddr, String> {
    let port = |text: &str| text.parse::<u16>().ok();
    if let Some(port) = port(text) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wanted = "give an address with a port, such as 127.0.0.1:8080, :9100, localhost:8080 or 8080, or \
             unix:/run/wstap.sock";
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            let found = text.to_socket_addrs().map_err(|error| {
                format!("the host `{host}` cannot be looked up ({error}): {wanted}")
            })?;
            let found: Vec<SocketAddr> = found.collect();
            let first = found.iter().find(|it| it.is_ipv4()).or_else(|| found.first());
            first.copied().ok_or_else(|| format!("`{host}` has no address: {wanted}"))
        }
        _ => Err(format!("`{text}` is no address to listen on: {wanted}")),
    }
}

/// The path under which metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsPath(pub String);

impl FromStr for MetricsPath {
    type Err = String;

    /// Any path of plain characters that nothing else is served under.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        if text.len() < 2 || !text.starts_with('/') || !text.bytes().all(is_plain) {
            return Err(format!("`{text}` is no path for metrics: give one such as /metrics"));
        }
        if crate::export::is_taken(text) {
            return Err(format!("`{text}` is a page of wstap: give a path such as /metrics"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A number of bytes: `65536`, `64k`, `8m`, `1g`, with binary multiples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match &lower[digits.len()..] {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            unit => {
                return Err(format!("unknown unit `{unit}`: give a size such as 65536, 64k or 8m"));
            }
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size: give one such as 65536, 64k or 8m"))
    }
}

/// The longest time that a request may wait.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A time: seconds without a unit, or `500ms`, `5s`, `2m`, `1m 30s`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    /// From 1 ms to a day.
    fn from_str(text: &str) -> Result<Self, String> {
        let span = time(text)?;
        if span < Duration::from_millis(1) || span > LONGEST {
            return Err(format!("`{text}` is not between 1ms and 24h: {TIME_WANTED}"));
        }
        Ok(Self(span))
    }
}

const TIME_WANTED: &str = "give seconds, or a time such as 500ms, 5s, 2m or 1h";

fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    let span = || Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok();
    seconds.or_else(span).ok_or_else(|| format!("`{text}` is no time: {TIME_WANTED}"))
}

/// A time that something is compared with; written like a [`Span`], and of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold(pub Duration);

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        time(text).map(Self)
    }
}

/// A connection, named as in the lines of `wstap messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnName {
    /// The process.
    pub pid: u32,
    /// The number of the connection, counted over all processes.
    pub number: u32,
}

impl FromStr for ConnName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(pid, number)| {
            Some(Self { pid: pid.parse().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| {
            format!("`{text}` is no connection: name it as the lines do, such as 4242-17")
        })
    }
}

/// Labels of series, as `container_id,path`; `none` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(pub Vec<InstanceLabel>);

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let label = |word: &str| {
            let known = InstanceLabel::ALL.into_iter().find(|label| label.as_str() == word);
            known.ok_or_else(|| {
                let known = InstanceLabel::ALL.map(InstanceLabel::as_str).join(", ");
                format!("`{word}` is no label: give some of {known}, such as host,path, or none")
            })
        };
        text.split(',').map(label).collect::<Result<_, _>>().map(Self)
    }
}

/// A process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(pub u32);

impl FromStr for Pid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u32>() {
            Ok(pid @ 1..=0x7fff_ffff) => Ok(Self(pid)),
            _ => Err(format!(
                "`{text}` is no process id: give a number above 0, such as --pid 4242, or a name with \
                 --comm NAME; `wstap ps` lists what there is"
            )),
        }
    }
}

/// A number of bytes to show.
pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number: give one such as 64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        let size = |text: &str| text.parse::<Size>();
        assert_eq!(size("65536"), Ok(Size(65536)));
        assert_eq!(size("64K"), Ok(Size(64 << 10)));
        assert_eq!(size("8MiB"), Ok(Size(8 << 20)));
        for bad in ["", "k", "8x", "-1", "99999999999999999999", "99999999999999g"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_alone_is_an_address_to_listen_on() {
        let listen = |text: &str| text.parse::<Listen>().map(|listen| listen.0.to_string());
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":9090", "0.0.0.0:9090"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:9100", "[::1]:9100"),
            ("localhost:18081", "127.0.0.1:18081"),
            ("unix:/run/wstap.sock", "unix:/run/wstap.sock"),
        ] {
            assert_eq!(listen(text).as_deref(), Ok(address), "{text}");
        }
        for bad in
            ["", ":", "unix:", "80800", ":80800", "localhost", "localhost:", "127.0.0.1", "::1"]
        {
            let error = listen(bad).expect_err(bad);
            assert!(error.contains("such as"), "{error}");
        }
    }

    #[test]
    fn a_time_may_have_a_unit() {
        let span = |text: &str| text.parse::<Span>().map(|span| span.0);
        for (text, millis) in [
            ("60", 60_000),
            ("5s", 5_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m 30s", 90_000),
        ] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "0", "0s", "-5s", "5x", "s", "25h", "99999999"] {
            let error = span(bad).expect_err(bad);
            assert!(error.contains("such as"), "{error}");
        }
    }

    #[test]
    fn a_threshold_may_be_shorter_than_a_time_to_wait() {
        let threshold = |text: &str| text.parse::<Threshold>().map(|it| it.0);
        assert_eq!(threshold("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(threshold("0"), Ok(Duration::ZERO));
        assert_eq!(threshold("2"), Ok(Duration::from_secs(2)));
        for bad in ["", "fast", "-1s"] {
            assert!(threshold(bad).expect_err(bad).contains("such as"), "{bad}");
        }
    }

    #[test]
    fn a_connection_is_named_as_its_lines_name_it() {
        assert_eq!("4242-17".parse(), Ok(ConnName { pid: 4242, number: 17 }));
        for bad in ["", "4242", "4242-", "-17", "a-b", "4242-17-1", "4242-99999999999"] {
            let error = bad.parse::<ConnName>().expect_err(bad);
            assert!(error.contains("such as 4242-17"), "{error}");
        }
    }

    #[test]
    fn a_wrong_pid_is_answered_with_what_was_expected() {
        assert_eq!("4242".parse::<Pid>(), Ok(Pid(4242)));
        for bad in ["abc", "0", "-1", "", "4294967296", "12 "] {
            let error = bad.parse::<Pid>().expect_err(bad);
            assert!(error.contains("give a number"), "{error}");
        }
    }
}
