//! Real handshakes and requests against a real socket.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::export::http::front::{Address, Front};
use crate::export::http::serve;

/// A certificate and its key.
struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    /// Signed by `issuer`, or by itself as an authority.
    fn new(name: &str, issuer: Option<&Self>) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key = EcKey::generate(&group).and_then(PKey::from_ec_key).expect("a key");
        let mut subject = X509NameBuilder::new().expect("a name");
        subject.append_entry_by_text("CN", name).expect("a name");
        let subject = subject.build();
        let mut certificate = X509::builder().expect("a certificate");
        certificate.set_version(2).expect("version 3");
        let serial = BigNum::from_u32(if issuer.is_some() { 2 } else { 1 }).expect("a number");
        let serial = Asn1Integer::from_bn(&serial).expect("a number");
        certificate.set_serial_number(&serial).expect("a number");
        certificate.set_subject_name(&subject).expect("a name");
        let issued_by = issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name());
        certificate.set_issuer_name(issued_by).expect("a name");
        certificate.set_pubkey(&key).expect("a key");
        certificate.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a time");
        certificate.set_not_after(&Asn1Time::days_from_now(1).expect("a time")).expect("a time");
        if issuer.is_some() {
            let mut names = SubjectAlternativeName::new();
            let names = names.dns(name).ip("127.0.0.1");
            let context = certificate.x509v3_context(None, None);
            let names = names.build(&context).expect("names");
            certificate.append_extension(names).expect("names");
        } else {
            let authority = BasicConstraints::new().critical().ca().build().expect("an extension");
            certificate.append_extension(authority).expect("an extension");
        }
        let signer = issuer.map_or(&key, |issuer| &issuer.key);
        certificate.sign(signer, MessageDigest::sha256()).expect("a signature");
        Self { certificate: certificate.build(), key }
    }
}

/// A folder with what a server needs, and the authority that clients come from.
struct Files {
    folder: tempfile::TempDir,
    authority: Identity,
}

impl Files {
    fn new() -> Self {
        let authority = Identity::new("authority", None);
        let server = Identity::new("localhost", Some(&authority));
        let folder = tempfile::tempdir().expect("a folder");
        for (name, pem) in [
            ("ca.pem", authority.certificate.to_pem()),
            ("cert.pem", server.certificate.to_pem()),
            ("key.pem", server.key.private_key_to_pem_pkcs8()),
            ("other.pem", authority.key.private_key_to_pem_pkcs8()),
        ] {
            std::fs::write(folder.path().join(name), pem.expect("PEM")).expect("a file");
        }
        Self { folder, authority }
    }

    fn parse(&self, text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(text, self.folder.path())
    }
}

fn app() -> Router {
    Router::new().route("/", get(async || "answered"))
}

/// Serves until the test is over.
fn start(web: WebConfig) -> SocketAddr {
    let address = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
    let front = Front::open(&[address], web).expect("a free port");
    let place = front.places("").expect("bound");
    tokio::spawn(serve(front, app(), std::future::pending()));
    place.split_once("//").and_then(|(_, address)| address.parse().ok()).expect("an address")
}

/// The whole answer to one request; empty where the server leaves.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, headers: &str) -> String {
    let request =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask_with_tls(address: SocketAddr, client: Option<&Identity>) -> String {
    let mut connector = SslConnector::builder(SslMethod::tls()).expect("a connector");
    connector.set_verify(SslVerifyMode::NONE);
    if let Some(client) = client {
        connector.set_certificate(&client.certificate).expect("a certificate");
        connector.set_private_key(&client.key).expect("a key");
    }
    let ssl = connector.build().configure().and_then(|it| it.into_ssl("localhost"));
    let stream = TcpStream::connect(address).await.expect("listening");
    let mut stream =
        tokio_openssl::SslStream::new(ssl.expect("a session"), stream).expect("a stream");
    match std::pin::Pin::new(&mut stream).connect().await {
        Ok(()) => ask(stream, "").await,
        Err(_) => String::new(),
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

#[tokio::test]
async fn with_a_certificate_only_tls_is_answered() {
    let files = Files::new();
    let address = start(files.parse(TLS).expect("a legal file"));
    assert!(ask_with_tls(address, None).await.contains("answered"));
    let plain = TcpStream::connect(address).await.expect("listening");
    assert!(!ask(plain, "").await.contains("answered"));
}

/// Each kind of `client_auth_type` against a client without a certificate, with one of the authority,
/// and with one of a stranger.
#[tokio::test]
async fn clients_need_the_certificate_that_is_asked_for() {
    let files = Files::new();
    let known = Identity::new("prometheus.example", Some(&files.authority));
    let stranger = Identity::new("prometheus.example", Some(&Identity::new("other", None)));
    let ca = "  client_ca_file: ca.pem\n";
    let named = |name: &str| format!("{ca}  client_allowed_sans: [{name}]\n");
    let (right, address, wrong) = (
        named("prometheus.example"),
        named("127.0.0.1"),
        named("\"*.example\", prometheus.example.org"),
    );
    for (kind, more, answered) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", "", [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("VerifyClientCertIfGiven", ca, [true, true, false]),
        ("RequireAndVerifyClientCert", ca, [false, true, false]),
        ("RequireAndVerifyClientCert", &right, [false, true, false]),
        ("RequireAndVerifyClientCert", &address, [false, true, false]),
        ("RequireAndVerifyClientCert", &wrong, [false, false, false]),
        ("RequireAnyClientCert", &wrong, [false, false, false]),
    ] {
        let text = format!("{TLS}  client_auth_type: {kind}\n{more}");
        let address = start(files.parse(&text).expect(&text));
        let mut seen = Vec::new();
        for client in [None, Some(&known), Some(&stranger)] {
            seen.push(ask_with_tls(address, client).await.contains("answered"));
        }
        assert_eq!(seen, answered, "{text}");
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_and_only_users_get_the_content() {
    let hash = bcrypt::hash("right", 4).expect("a hash");
    let text = format!(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\nbasic_auth_users:\n  a: {hash}\n"
    );
    let address = start(WebConfig::parse(&text, Path::new("")).expect("a legal file"));
    // "a:right" and "a:wrong" in Base64.
    for (headers, status) in [
        ("Authorization: Basic YTpyaWdodA==\r\n", "HTTP/1.1 200"),
        ("Authorization: Basic YTp3cm9uZw==\r\n", "HTTP/1.1 401"),
        ("", "HTTP/1.1 401"),
    ] {
        let stream = TcpStream::connect(address).await.expect("listening");
        let answer = ask(stream, headers).await;
        assert!(answer.starts_with(status), "{answer}");
        assert!(answer.contains("x-frame-options: deny"), "{answer}");
        assert_eq!(answer.contains("answered"), status.ends_with("200"));
        assert_eq!(answer.contains("www-authenticate: Basic"), status.ends_with("401"));
    }
}

#[tokio::test]
async fn requests_beyond_the_rate_are_refused() {
    let text = "rate_limit:\n  interval: 1h\n  burst: 2\n";
    let address = start(WebConfig::parse(text, Path::new("")).expect("a legal file"));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let stream = TcpStream::connect(address).await.expect("listening");
        statuses.push(ask(stream, "").await.get(9..12).map(str::to_owned));
    }
    let texts: Vec<_> = statuses.iter().flatten().collect();
    assert_eq!(texts, ["200", "200", "429"]);
}

#[tokio::test]
async fn a_unix_socket_serves_and_replaces_only_what_an_earlier_run_has_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wstap.sock");
    let open = |path: &Path| Front::open(&[Address::Unix(path.to_owned())], WebConfig::default());
    drop(open(&path).expect("a socket"));
    assert!(path.exists(), "an ended run leaves its socket");
    let front = open(&path).expect("it replaces the socket");
    let error = open(&path).expect_err("somebody listens");
    assert!(error.contains("wstap.sock") && error.contains("--listen"), "{error}");
    tokio::spawn(serve(front, app(), std::future::pending()));
    let stream = UnixStream::connect(&path).await.expect("listening");
    let request = ask(stream, "X: 1\r\n").await;
    assert!(request.contains("answered"), "{request}");

    let file = folder.path().join("file");
    std::fs::write(&file, "text").expect("a file");
    open(&file).expect_err("it is no socket");
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "text");
}

/// What is wrong is named, and no secret is.
#[test]
fn a_wrong_file_is_refused_with_its_key() {
    let files = Files::new();
    for (text, word) in [
        ("nope: 1\n", "nope"),
        ("basic_auth_users: hunter2secret\n", "line"),
        ("basic_auth_users:\n  alice: hunter2secret\n", "alice"),
        ("basic_auth_users: [alice, hunter2secret]\n", "line"),
        ("basic_auth_users:\n  alice: a\n  alice: b\n", "duplicate"),
        ("tls_server_config:\n  cert_file: cert.pem\n", "key_file"),
        ("tls_server_config:\n  key_file: key.pem\n", "cert_file"),
        ("tls_server_config:\n  cert_file: no.pem\n  key_file: key.pem\n", "no.pem"),
        ("tls_server_config:\n  cert_file: cert.pem\n  key_file: other.pem\n", "do not fit"),
        ("tls_server_config:\n  cert_file: key.pem\n  key_file: key.pem\n", "cert_file"),
        ("tls_server_config:\n  cert_file: cert.pem\n  key: hunter2secret\n", "key"),
        (
            "tls_server_config:\n  client_auth_type: Maybe\n  cert_file: cert.pem\n  key_file: key.pem\n",
            "client_auth_type",
        ),
        (&format!("{TLS}  client_ca_file: ca.pem\n"), "client_auth_type"),
        (&format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n"), "client_ca_file"),
        (&format!("{TLS}  client_allowed_sans: [a]\n"), "client_allowed_sans"),
        (&format!("{TLS}  min_version: SSL3\n"), "min_version"),
        (&format!("{TLS}  max_version: TLS11\n"), "TLS12"),
        (&format!("{TLS}  cipher_suites: [ROT13]\n"), "ROT13"),
        (&format!("{TLS}  curve_preferences: [CurveP521]\n"), "curve_preferences"),
        ("http_server_config:\n  headers:\n    Server: x\n", "Server"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: maybe\n", "X-Frame-Options"),
        ("rate_limit:\n  interval: 1s\n", "burst"),
        ("rate_limit:\n  interval: soon\n  burst: 1\n", "interval"),
        ("tls_server_config: [\n", "line"),
    ] {
        let error = files.parse(text).expect_err(text);
        assert!(error.contains(word), "{text}: {error}");
        assert!(!error.contains("hunter2secret"), "{error}");
    }
}

#[test]
fn what_other_exporters_take_is_taken() {
    let files = Files::new();
    let pem = |name: &str| {
        let text = std::fs::read_to_string(files.folder.path().join(name)).expect("a file");
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let inline =
        format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", pem("cert.pem"), pem("key.pem"));
    for (text, has_tls) in [
        ("", false),
        ("# nothing\n", false),
        ("tls_server_config:\nbasic_auth_users:\nhttp_server_config:\nrate_limit:\n", false),
        ("tls_server_config: {min_version: TLS13}\n", false),
        (TLS, true),
        (&inline, true),
        (&format!("{TLS}  min_version: TLS10\n  max_version: TLS12\n"), true),
        (&format!("{TLS}  prefer_server_cipher_suites: false\n"), true),
        (&format!("{TLS}  curve_preferences: [CurveP521, X25519, CurveP256]\n"), true),
        (
            &format!(
                "{TLS}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
                 TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"
            ),
            true,
        ),
        ("http_server_config:\n  http2: true\n", false),
        ("rate_limit:\n  interval: 1m30s\n  burst: 5\n", false),
    ] {
        let web = files.parse(text).expect(text);
        assert_eq!(web.has_tls(), has_tls, "{text}");
        assert!(!format!("{web:?}").contains("PRIVATE"));
    }
}
