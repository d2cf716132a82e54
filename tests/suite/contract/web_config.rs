use std::path::Path;
use std::process::Command;

use wstap::export::WebConfig;

use crate::suite::common::programs;

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Whether promtool takes the file.
fn promtool_takes(promtool: &Path, file: &Path) -> bool {
    let mut command = Command::new(promtool);
    let output = command.args(["check", "web-config"]).arg(file).output();
    output.expect("promtool starts").status.success()
}

/// One file must serve all exporters, and a mistake must not pass unseen here.
#[test]
fn the_web_configuration_is_judged_as_by_promtool() {
    let Some(promtool) = programs::find("promtool") else { return };
    let Some(openssl) = programs::find("openssl") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-subj", "/CN=localhost", "-days", "1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder.path())
        .output()
        .expect("openssl starts");
    assert!(made.status.success(), "{made:?}");
    let tls = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";
    for text in [
        "",
        "tls_server_config:\n",
        "nope: 1\n",
        "tls_server_config:\n  nope: 1\n",
        "tls_server_config:\n  cert_file: cert.pem\n",
        "tls_server_config:\n  cert_file: none.pem\n  key_file: key.pem\n",
        "tls_server_config:\n  cert_file: key.pem\n  key_file: cert.pem\n",
        tls,
        &format!("{tls}  min_version: TLS13\n"),
        &format!("{tls}  min_version: TLS14\n"),
        &format!("{tls}  min_version: TLS10\n"),
        &format!("{tls}  client_auth_type: RequireAnyClientCert\n"),
        &format!(
            "{tls}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: cert.pem\n"
        ),
        &format!("{tls}  client_auth_type: Perhaps\n"),
        &format!("{tls}  client_ca_file: cert.pem\n"),
        &format!("{tls}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"),
        &format!(
            "{tls}  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"
        ),
        &format!("{tls}  cipher_suites: [TLS_NONE]\n"),
        &format!("{tls}  curve_preferences: [X25519, CurveP256, CurveP384, CurveP521]\n"),
        &format!("{tls}  curve_preferences: [CurveP1]\n"),
        &format!("basic_auth_users:\n  alice: {HASH}\n"),
        &format!("basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n"),
        "basic_auth_users:\n  alice: secret\n",
        "basic_auth_users:\n  - alice\n",
        "http_server_config:\n  http2: false\n",
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: any\n",
        "http_server_config:\n  headers:\n    X-Frame-Options: all\n",
        "http_server_config:\n  headers:\n    X-Content-Type-Options: sniff\n",
        "http_server_config:\n  headers:\n    Server: wstap\n",
    ] {
        let file = folder.path().join("web.yml");
        std::fs::write(&file, text).expect("a file");
        let ours = WebConfig::read(&file);
        assert_eq!(ours.is_ok(), promtool_takes(&promtool, &file), "{text}: {ours:?}");
    }
}
