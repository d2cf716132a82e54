//! What a HAR file says: HAR 1.2, and the fields that Chromium adds for WebSockets.
//!
//! Header fields are those that wstap knows; queries, cookies and authorisation are not among them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::event::{HttpVersion, Transport};
use crate::observation::{Message, MessageType, Observation, Open, Role};
use crate::views::Process;

/// The whole file.
#[derive(Serialize)]
pub(super) struct Har<'a> {
    log: Log<'a>,
}

#[derive(Serialize)]
struct Log<'a> {
    version: &'static str,
    creator: Creator,
    pages: [(); 0],
    entries: &'a [Entry],
}

#[derive(Serialize)]
struct Creator {
    name: &'static str,
    version: &'static str,
}

impl<'a> Har<'a> {
    /// The file with these entries.
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        let creator = Creator { name: "wstap", version: env!("CARGO_PKG_VERSION") };
        Self { log: Log { version: "1.2", creator, pages: [], entries } }
    }
}

/// One connection.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    started_date_time: String,
    /// Milliseconds from the upgrade to the end, or to the last message before there is one.
    time: f64,
    request: Request,
    response: Response,
    cache: Empty,
    timings: Timings,
    /// The name of the connection in every other view.
    connection: String,
    comment: String,
    #[serde(rename = "_resourceType")]
    resource_type: &'static str,
    #[serde(rename = "_webSocketMessages")]
    messages: Vec<SentMessage>,
    #[serde(skip)]
    began_ns: i128,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: &'static str,
    url: String,
    http_version: &'static str,
    cookies: [(); 0],
    headers: Vec<Field>,
    query_string: [(); 0],
    headers_size: i8,
    body_size: i8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: u16,
    status_text: &'static str,
    http_version: &'static str,
    cookies: [(); 0],
    headers: Vec<Field>,
    content: Content,
    #[serde(rename = "redirectURL")]
    redirect_url: &'static str,
    headers_size: i8,
    body_size: i8,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    size: u8,
    mime_type: &'static str,
}

/// Milliseconds; only the sum is known.
#[derive(Serialize)]
struct Timings {
    send: f64,
    wait: f64,
    receive: f64,
}

/// One message.
#[derive(Serialize)]
pub(super) struct SentMessage {
    /// `send` is what the client sent.
    r#type: &'static str,
    /// Seconds since 1970.
    time: f64,
    opcode: u8,
    /// Text as it is, anything else as base64.
    data: String,
    /// Bytes of the whole message, where `data` is only its beginning.
    #[serde(rename = "_length", skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(rename = "_truncated", skip_serializing_if = "is_false")]
    truncated: bool,
}

fn is_false(it: &bool) -> bool {
    !it
}

const NS_IN_MS: f64 = 1e6;

impl Entry {
    /// A connection that begins.
    pub(super) fn new(
        wall_ns: i128,
        observation: &Observation<'_>,
        process: Process<'_>,
        open: &Open<'_>,
    ) -> Self {
        let conn = observation.conn;
        let scheme = match conn.transport() {
            Transport::Tls => "wss",
            Transport::Plain => "ws",
        };
        let http_version = match conn.http() {
            HttpVersion::Http11 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2",
        };
        let host = open.host.unwrap_or("unknown");
        let url = format!("{scheme}://{host}{}", open.path.unwrap_or("/"));
        let [asked, answered] = fields(host, open);
        let timings = Timings { send: 0.0, wait: 0.0, receive: 0.0 };
        Self {
            started_date_time: date(wall_ns),
            time: 0.0,
            request: Request {
                method: if conn.http() == HttpVersion::Http11 { "GET" } else { "CONNECT" },
                url,
                http_version,
                cookies: [],
                headers: asked,
                query_string: [],
                headers_size: -1,
                body_size: 0,
            },
            response: Response {
                status: 101,
                status_text: "Switching Protocols",
                http_version,
                cookies: [],
                headers: answered,
                content: Content { size: 0, mime_type: "x-unknown" },
                redirect_url: "",
                headers_size: -1,
                body_size: -1,
            },
            cache: Empty {},
            timings,
            connection: conn.to_string(),
            comment: comment(observation.role, process, open),
            resource_type: "websocket",
            messages: Vec::new(),
            began_ns: wall_ns,
        }
    }

    /// Adds a message that passed then.
    pub(super) fn add(&mut self, wall_ns: i128, message: SentMessage) {
        self.lasts_until(wall_ns);
        self.messages.push(message);
    }

    /// The connection has ended.
    pub(super) fn close(&mut self, wall_ns: i128, code: u16) {
        self.lasts_until(wall_ns);
        self.comment.push_str(&format!("; closed with {code}"));
    }

    fn lasts_until(&mut self, wall_ns: i128) {
        self.time = wall_ns.saturating_sub(self.began_ns).max(0) as f64 / NS_IN_MS;
        self.timings.receive = self.time;
    }
}

/// What is known of the header fields of the upgrade.
fn fields(host: &str, open: &Open<'_>) -> [Vec<Field>; 2] {
    let field = |name, value: &str| Field { name, value: value.to_owned() };
    let mut asked = vec![field("Host", host)];
    let mut answered = Vec::new();
    for fields in [&mut asked, &mut answered] {
        fields.push(field("Upgrade", "websocket"));
        fields.push(field("Connection", "Upgrade"));
    }
    asked.push(field("Sec-WebSocket-Version", "13"));
    let accepted = [
        ("Sec-WebSocket-Protocol", open.subprotocol),
        ("Sec-WebSocket-Extensions", open.extensions),
    ];
    for (name, value) in accepted {
        answered.extend(value.map(|value| field(name, value)));
    }
    [asked, answered]
}

fn comment(role: Role, process: Process<'_>, open: &Open<'_>) -> String {
    let Process { pid, comm } = process;
    let end = match role {
        Role::Client => "the client",
        Role::Server => "the server",
        Role::Unknown => "one end, taken for the client",
    };
    let begin = if open.mid_stream { "; met in mid-stream: its beginning is missing" } else { "" };
    format!("tapped in process {pid} ({comm}), {end}{begin}")
}

impl SentMessage {
    /// A message that passed then.
    pub(super) fn new(wall_ns: i128, sends: bool, message: &Message<'_>) -> Self {
        let text = match message.message_type {
            MessageType::Text => Some(String::from_utf8_lossy(message.payload).into_owned()),
            MessageType::Binary => None,
        };
        Self {
            r#type: if sends { "send" } else { "receive" },
            time: seconds(wall_ns),
            opcode: if text.is_some() { 1 } else { 2 },
            data: text.unwrap_or_else(|| STANDARD.encode(message.payload)),
            length: message.length.filter(|_| message.truncated),
            truncated: message.truncated,
        }
    }
}

/// The time in seconds, as exactly as a number with 53 bits can say it.
fn seconds(wall_ns: i128) -> f64 {
    const NS_IN_S: i128 = 1_000_000_000;
    wall_ns.div_euclid(NS_IN_S) as f64 + wall_ns.rem_euclid(NS_IN_S) as f64 / NS_IN_S as f64
}

/// The time as ISO 8601 with milliseconds. Times outside of the years -9999 to 9999 are 1970.
fn date(wall_ns: i128) -> String {
    let at = jiff::Timestamp::from_nanosecond(wall_ns).unwrap_or_default();
    format!("{at:.3}")
}
