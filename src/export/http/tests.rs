//! The service without a socket, but for the tests of [`serve`] itself.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use tower::ServiceExt;

use super::front::Front;
use super::*;
use crate::event::{ConnId, TargetId};
use crate::export::live::Recorder;
use crate::export::status::{Process, Target};
use crate::observation::{Exchange, Observation, Origin, Outcome, Role, What};

pub(super) struct Fixture {
    pub(super) metrics: Metrics,
    pub(super) status: Arc<Status>,
    pub(super) recorder: Recorder,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let status = Arc::new(Status::default());
        let metrics = Metrics::new(&["feed"], Arc::clone(&status), ()).expect("no clash");
        Self { metrics, status, recorder: Recorder::new(&["feed"], 0) }
    }

    fn answer(&mut self, turnaround_ns: u64) {
        for what in [
            What::Started { origin: Origin::Local, protocol: "jsonrpc", method: "eth_call" },
            What::Exchange(Exchange {
                origin: Origin::Local,
                protocol: "jsonrpc",
                method: "eth_call",
                id: "7".into(),
                outcome: Outcome::Matched,
                turnaround_ns: Some(turnaround_ns),
            }),
        ] {
            self.metrics.record(&Observation {
                at_ns: 1,
                tid: 1,
                target: TargetId(0),
                conn: ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 },
                role: Role::Client,
                what,
            });
        }
        self.metrics.flush();
    }

    async fn request(&self, method: Method, path: &str, accept: &[(HeaderName, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in accept {
            request = request.header(name, *value);
        }
        let request = request.body(Body::empty()).expect("a legal request");
        let exporter = Exporter::new(&self.metrics, Arc::clone(&self.status), self.recorder.live());
        router(exporter).oneshot(request).await.expect("infallible")
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[]).await
    }
}

/// A free port.
fn front() -> (Front, std::net::SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound");
    (listener.into(), address)
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20).await.expect("a body in memory").into()
}

pub(super) async fn text(response: Response) -> String {
    String::from_utf8(body(response).await).expect("UTF-8")
}

fn content_type(response: &Response) -> &str {
    response.headers()[header::CONTENT_TYPE].to_str().expect("text")
}

#[tokio::test]
async fn a_scrape_without_accept_is_the_text_format() {
    let mut fixture = Fixture::new();
    fixture.answer(2_000_000);
    let response = fixture.get("/metrics").await;
    assert_eq!(content_type(&response), "text/plain; version=0.0.4; charset=utf-8");
    let text = text(response).await;
    for line in [
        "turnaround_count 1",
        "turnaround_sum 2000000",
        "wstap_requests_pending{target=\"feed\"} 0",
        "wstap_turnaround_seconds_count{method=\"eth_call\",origin=\"local\",protocol=\"jsonrpc\",target=\"feed\"} 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn every_format_has_its_content_type() {
    let fixture = Fixture::new();
    for (accept, expected) in [
        ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            Format::Protobuf,
        ),
        ("text/html", Format::Text),
    ] {
        let response = fixture.request(Method::GET, "/metrics", &[(header::ACCEPT, accept)]).await;
        assert_eq!(content_type(&response), expected.content_type());
    }
}

#[tokio::test]
async fn gzip_holds_the_same_text() {
    use std::io::Read;
    let mut fixture = Fixture::new();
    fixture.answer(1);
    let accept = [(header::ACCEPT_ENCODING, "gzip")];
    let response = fixture.request(Method::GET, "/metrics", &accept).await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let packed = body(response).await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).expect("gzip");
    assert!(text.contains("\nturnaround_count 1\n"));
}

#[tokio::test]
async fn it_is_ready_when_attached_and_healthy_always() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/-/healthy").await.status(), StatusCode::OK);
    assert_eq!(fixture.get("/-/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.status.update(|now| now.ready = true);
    assert_eq!(fixture.get("/-/ready").await.status(), StatusCode::OK);
    let head = fixture.request(Method::HEAD, "/-/ready", &[]).await;
    assert_eq!((head.status(), body(head).await.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn the_api_gives_quantiles_outcomes_and_targets() {
    let mut fixture = Fixture::new();
    for _ in 0..100 {
        fixture.answer(2_000_000);
    }
    fixture.status.update(|now| {
        let process = Process { pid: 4242, comm: "node".into(), up: true, ..Process::default() };
        now.targets =
            vec![Target { name: "feed".into(), processes: vec![process], ..Target::default() }];
    });
    let reply = body(fixture.get("/api/v1/turnaround").await).await;
    let reply: serde_json::Value = serde_json::from_slice(&reply).expect("JSON");
    let row = &reply["turnaround"][0];
    assert_eq!((&row["method"], &row["count"]), (&"eth_call".into(), &100.into()));
    assert_eq!(row["outcomes"], serde_json::json!({ "matched": 100 }));
    let p99 = row["p99_seconds"].as_f64().expect("a number");
    assert!((0.0018..0.0022).contains(&p99), "{p99}");

    let reply = body(fixture.get("/api/v1/status").await).await;
    let reply: serde_json::Value = serde_json::from_slice(&reply).expect("JSON");
    assert_eq!(reply["targets"][0]["processes"][0]["pid"], 4242);
    assert_eq!(reply["totals"]["answered"], 100);
}

/// A page that loaded something from elsewhere would fail where it is most needed: on a host
/// without a way out.
#[tokio::test]
async fn the_page_loads_only_what_this_server_serves() {
    let fixture = Fixture::new();
    let response = fixture.get("/").await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'"));
    let page = text(response).await;
    assert!(!page.contains("http://") && !page.contains("https://"));
    for link in page.split("href=\"").chain(page.split("src=\"")).skip(1) {
        let path = link.split('"').next().expect("split gives one at least");
        if path.starts_with("data:") || path.starts_with('<') {
            continue;
        }
        let status = fixture.get(&format!("/{path}")).await.status();
        assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_page_is_gzipped_for_those_who_take_it_and_the_same_for_all() {
    use std::io::Read as _;
    let fixture = Fixture::new();
    let source =
        concat!(env!("CARGO_MANIFEST_DIR"), "/src/export/http/page/vendor/uPlot.iife.min.js");
    let source = std::fs::read(source).expect("a file of the sources");
    for (accepted, coding) in [("gzip, deflate, br", Some("gzip")), ("br", None)] {
        let accept = [(header::ACCEPT_ENCODING, accepted)];
        let response = fixture.request(Method::GET, "/uPlot.js", &accept).await;
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/javascript");
        assert_eq!(headers[header::VARY], "accept-encoding");
        assert_eq!(
            headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes),
            coding.map(str::as_bytes)
        );
        let sent = body(response).await;
        let mut text = Vec::new();
        match coding {
            Some(_) => flate2::read::GzDecoder::new(&*sent).read_to_end(&mut text).expect("gzip"),
            None => sent.as_slice().read_to_end(&mut text).expect("memory"),
        };
        assert!(text == source, "{accepted}");
    }
}

#[tokio::test]
async fn serving_ends_when_told_to_and_answers_until_then() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = Fixture::new();
    let (front, address) = front();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let exporter =
        Exporter::new(&fixture.metrics, Arc::clone(&fixture.status), fixture.recorder.live());
    let server = tokio::spawn(serve(front, router(exporter), async move {
        let _ = stopped.await;
    }));

    let mut idle = tokio::net::TcpStream::connect(address).await.expect("listening");
    let mut client = tokio::net::TcpStream::connect(address).await.expect("listening");
    client.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("open");
    let mut head = [0; 15];
    client.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    stop.send(()).expect("running");
    server.await.expect("no panic").expect("a socket");
    assert_eq!(idle.read(&mut head).await.unwrap_or(0), 0, "idle connections are closed");
}

/// Whether the server has closed this connection.
async fn is_closed(client: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::AsyncReadExt;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.is_ok_and(|_| rest.is_empty())
}

/// The clock is paused: it jumps ahead as soon as everybody waits.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_its_request_is_let_go() {
    use tokio::io::AsyncWriteExt;
    let fixture = Fixture::new();
    let (front, address) = front();
    let exporter =
        Exporter::new(&fixture.metrics, Arc::clone(&fixture.status), fixture.recorder.live());
    tokio::spawn(serve(front, router(exporter), std::future::pending()));

    let begun = tokio::time::Instant::now();
    let mut client = tokio::net::TcpStream::connect(address).await.expect("listening");
    client.write_all(b"GET /metrics HTT").await.expect("open");
    assert!(is_closed(&mut client).await);
    assert!(begun.elapsed() >= connections::HEAD_TIMEOUT);
}

/// Half-sent requests by the hundred, as of a scanner or an attacker.
#[tokio::test]
async fn health_is_answered_however_many_clients_are_slow() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = Fixture::new();
    let (front, address) = front();
    let exporter =
        Exporter::new(&fixture.metrics, Arc::clone(&fixture.status), fixture.recorder.live());
    tokio::spawn(serve(front, router(exporter), std::future::pending()));

    let mut slow = Vec::new();
    for _ in 0..3 * connections::MAX_CONNECTIONS {
        let mut client = tokio::net::TcpStream::connect(address).await.expect("listening");
        client.write_all(b"GET /metrics HTT").await.expect("open");
        slow.push(client);
    }
    let mut client = tokio::net::TcpStream::connect(address).await.expect("listening");
    client.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("open");
    let mut head = [0; 15];
    client.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert!(is_closed(&mut slow[0]).await, "the first one was silent for longest");
}

#[tokio::test]
async fn a_request_under_a_foreign_name_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = Fixture::new();
    let (front, address) = front();
    let exporter =
        Exporter::new(&fixture.metrics, Arc::clone(&fixture.status), fixture.recorder.live());
    tokio::spawn(serve(front, router(exporter), std::future::pending()));
    for (host, status) in [("evil.example", "421"), ("localhost", "200"), ("127.0.0.1:1", "200")] {
        let mut client = tokio::net::TcpStream::connect(address).await.expect("listening");
        let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("open");
        let mut head = [0; 12];
        client.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head[9..], status.as_bytes(), "{host}");
    }
}
