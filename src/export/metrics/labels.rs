//! Label values: closed sets that are known in advance, and those that are made from numbers of the
//! wire, so that no peer can invent a series.

use crate::event::{HttpVersion, Transport};
use crate::observation::{
    EndSign, Fidelity, GapReason, MessageType, Opcode, Origin, Outcome, ProtocolError, Role, Table,
    Unchecked, WindowMiss, WindowResult,
};

/// One label, or several beside each other, whose values are a closed set.
pub(in crate::export) trait Labels: Copy {
    /// Every value, in the order of `index`.
    fn all() -> Vec<Self>;
    /// Its place in `all`.
    fn index(self) -> usize;
    /// The label values, in the order of the label names.
    fn values(self) -> Vec<&'static str>;
}

/// No label at all.
impl Labels for () {
    fn all() -> Vec<Self> {
        vec![()]
    }

    fn index(self) -> usize {
        0
    }

    fn values(self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Enums whose values are listed by `ALL` in declaration order.
macro_rules! single {
    ($($label:ty),+ $(,)?) => { $(
        impl Labels for $label {
            fn all() -> Vec<Self> {
                Self::ALL.to_vec()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn values(self) -> Vec<&'static str> {
                vec![self.as_str()]
            }
        }
    )+ };
}

single! {
    EndSign, Fidelity, GapReason, MessageType, Opcode, Origin, Outcome, ProtocolError, Role, Table,
    HttpVersion, Transport, Unchecked, WindowMiss,
}

impl Labels for WindowResult {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn index(self) -> usize {
        self as usize
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.as_str(), self.reason()]
    }
}

/// Where a connection is tapped, what carries it, which end of it the process is, and how much can
/// be read.
pub(super) type ConnectionState = (Transport, HttpVersion, Role, Fidelity);

impl Labels for ConnectionState {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for transport in Transport::all() {
            for http in HttpVersion::all() {
                for role in Role::all() {
                    all.extend(Fidelity::all().into_iter().map(|it| (transport, http, role, it)));
                }
            }
        }
        all
    }

    fn index(self) -> usize {
        let (transport, http, role, decode) = self;
        let carried = transport.index() * HttpVersion::ALL.len() + http.index();
        (carried * Role::ALL.len() + role.index()) * Fidelity::ALL.len() + decode.index()
    }

    fn values(self) -> Vec<&'static str> {
        let (transport, http, role, decode) = self;
        vec![transport.as_str(), http.as_str(), role.as_str(), decode.as_str()]
    }
}

/// A close code as a label: a number where it is registered, else its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) struct CloseCode(u8);

/// The close codes of the IANA registry "WebSocket Close Code Number", and the classes that all
/// others are folded into.
const CLOSE_CODES: [&str; 18] = [
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012",
    "1013", "1014", "1015", "3xxx", "4xxx", "other",
];

impl CloseCode {
    /// RFC 6455, section 7.4.2: 3000 to 3999 belong to libraries, 4000 to 4999 to applications.
    pub(super) fn of(code: u16) -> Self {
        Self(match code {
            1000..=1003 => code - 1000,
            1005..=1015 => code - 1001,
            3000..=3999 => 15,
            4000..=4999 => 16,
            _ => 17,
        } as u8)
    }

    fn as_str(self) -> &'static str {
        CLOSE_CODES[usize::from(self.0)]
    }
}

impl Labels for CloseCode {
    fn all() -> Vec<Self> {
        (0..CLOSE_CODES.len() as u8).map(Self).collect()
    }

    fn index(self) -> usize {
        self.0.into()
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.as_str()]
    }
}

/// Registered status codes keep their number; a peer cannot make series with others.
pub(super) fn status_label(status: u16) -> String {
    let registered = axum::http::StatusCode::from_u16(status)
        .is_ok_and(|status| status.canonical_reason().is_some());
    match (registered, status) {
        (true, _) => status.to_string(),
        (false, 100..=599) => format!("{}xx", status / 100),
        (false, _) => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_numbers_where_registered_and_classes_elsewhere() {
        for (code, label) in [
            (1000, "1000"),
            (1003, "1003"),
            (1005, "1005"),
            (1015, "1015"),
            (1004, "other"),
            (0, "other"),
            (2999, "other"),
            (3000, "3xxx"),
            (4999, "4xxx"),
            (5000, "other"),
            (u16::MAX, "other"),
        ] {
            assert_eq!(CloseCode::of(code).as_str(), label, "{code}");
        }
    }

    fn assert_numbered<L: Labels>() {
        let indices: Vec<_> = L::all().into_iter().map(Labels::index).collect();
        assert_eq!(indices, (0..indices.len()).collect::<Vec<_>>());
    }

    #[test]
    fn every_value_is_found_at_its_index() {
        assert_numbered::<()>();
        assert_numbered::<ProtocolError>();
        assert_numbered::<Transport>();
        assert_numbered::<CloseCode>();
        assert_numbered::<ConnectionState>();
    }

    #[test]
    fn statuses_are_numbers_where_registered_and_classes_elsewhere() {
        for (status, label) in
            [(200, "200"), (426, "426"), (299, "2xx"), (599, "5xx"), (600, "other"), (0, "other")]
        {
            assert_eq!(status_label(status), label, "{status}");
        }
    }
}
