//! The TLS side of the listener, by rustls: certificate, versions, cipher suites, and certificates of
//! clients (`clients`).
//!
//! What rustls does not have (TLS before 1.2, cipher suites with CBC, the curve P-521) is left out with
//! a line in the log, so that a file written for Go's exporters works; if nothing is left, that is an
//! error.

mod clients;

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::file::Tls;

/// The configuration of rustls, or `None` where the file asks for no TLS.
pub(super) fn server(tls: &Tls, folder: &Path) -> Result<Option<Arc<ServerConfig>>, String> {
    if !is_wanted(tls) {
        warn_of_ineffective_keys(tls);
        return Ok(None);
    }
    let cert = pem("cert", tls.cert.as_ref(), tls.cert_file.as_ref(), folder)?;
    let cert = cert.ok_or("tls_server_config has neither cert_file nor cert")?;
    let key = pem("key", tls.key.as_ref(), tls.key_file.as_ref(), folder)?;
    let key = key.ok_or("tls_server_config has neither key_file nor key")?;
    let chain = certificates(&cert, "cert_file or cert")?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| "key_file or key holds no private key in PEM without a password")?;

    let versions = versions(tls)?;
    let provider = Arc::new(provider(tls, &versions)?);
    let clients = clients::verifier(tls, folder, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| format!("tls_server_config: {error}"))?;
    let mut server = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    }
    .with_single_cert(chain, key)
    .map_err(|error| format!("tls_server_config: certificate and key do not fit: {error}"))?;
    server.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(server)))
}

/// Other exporters decide by these keys, too.
fn is_wanted(tls: &Tls) -> bool {
    let keys = [
        &tls.cert,
        &tls.cert_file,
        &tls.key,
        &tls.key_file,
        &tls.client_ca,
        &tls.client_ca_file,
        &tls.client_auth_type,
    ];
    keys.iter().any(|key| key.as_ref().is_some_and(|value| !value.is_empty()))
}

fn warn_of_ineffective_keys(tls: &Tls) {
    let given = tls.min_version.is_some()
        || tls.max_version.is_some()
        || tls.cipher_suites.is_some()
        || tls.curve_preferences.is_some()
        || tls.client_allowed_sans.is_some();
    if given {
        tracing::warn!(
            "tls_server_config has no cert_file, so HTTP is served without TLS, and its other keys \
             have no effect"
        );
    }
}

/// What stands in the file itself, or in a file that it names.
fn pem(
    key: &str,
    text: Option<&String>,
    file: Option<&String>,
    folder: &Path,
) -> Result<Option<Vec<u8>>, String> {
    if let Some(file) = file.filter(|file| !file.is_empty()) {
        let path = folder.join(file);
        return std::fs::read(&path)
            .map(Some)
            .map_err(|error| format!("{key}_file {}: {error}", path.display()));
    }
    Ok(text.filter(|text| !text.is_empty()).map(|text| text.clone().into_bytes()))
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{key} holds no certificate in PEM")),
    }
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let least = version("min_version", tls.min_version.as_deref(), 12)?;
    let most = version("max_version", tls.max_version.as_deref(), 13)?;
    let mut versions = Vec::new();
    if least <= 12 && most >= 12 {
        versions.push(&TLS12);
    }
    if least <= 13 && most >= 13 {
        versions.push(&TLS13);
    }
    if versions.is_empty() {
        return Err("min_version and max_version leave neither TLS12 nor TLS13".into());
    }
    if least < 12 {
        tracing::warn!("min_version: TLS before 1.2 is not offered; TLS12 is the lowest");
    }
    Ok(versions)
}

fn version(key: &str, value: Option<&str>, default: u8) -> Result<u8, String> {
    match value {
        None | Some("") => Ok(default),
        Some("TLS10") => Ok(10),
        Some("TLS11") => Ok(11),
        Some("TLS12") => Ok(12),
        Some("TLS13") => Ok(13),
        Some(_) => Err(format!("{key} takes TLS10, TLS11, TLS12 or TLS13")),
    }
}

/// The provider, with the cipher suites and curves that were asked for.
fn provider(
    tls: &Tls,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if let Some(names) = tls.cipher_suites.as_deref().filter(|names| !names.is_empty()) {
        provider.cipher_suites = cipher_suites(&provider.cipher_suites, names)?;
        let usable = provider.cipher_suites.iter().any(|suite| versions.contains(&suite.version()));
        if !usable {
            return Err("cipher_suites: none of them is available; leave the key out".into());
        }
    }
    if let Some(names) = tls.curve_preferences.as_deref().filter(|names| !names.is_empty()) {
        provider.kx_groups = groups(names)?
            .into_iter()
            .filter_map(|group| ring::ALL_KX_GROUPS.iter().find(|it| it.name() == group).copied())
            .collect();
        if provider.kx_groups.is_empty() {
            return Err("curve_preferences: none of them is available; leave the key out".into());
        }
    }
    Ok(provider)
}

/// Suites that other exporters offer and rustls does not.
const WEAK_SUITES: [&str; 8] = [
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// Those of `available` that `names` has, in that order. The suites of TLS 1.3 cannot be chosen, as in
/// Go: they all stay.
fn cipher_suites(
    available: &[SupportedCipherSuite],
    names: &[String],
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen: Vec<_> =
        available.iter().copied().filter(|suite| suite.version() == &TLS13).collect();
    for name in names {
        match available.iter().find(|suite| suite_name(suite) == *name) {
            Some(suite) if suite.version() == &TLS12 => chosen.push(*suite),
            Some(_) => {}
            None if WEAK_SUITES.contains(&name.as_str()) => {
                tracing::warn!("cipher_suites: {name} is not offered");
            }
            None => return Err(format!("cipher_suites: `{name}` is not known")),
        }
    }
    Ok(chosen)
}

/// The name in Go, which is that of the registry.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn groups(names: &[String]) -> Result<Vec<NamedGroup>, String> {
    let mut groups = Vec::new();
    for name in names {
        match name.as_str() {
            "X25519" => groups.push(NamedGroup::X25519),
            "CurveP256" => groups.push(NamedGroup::secp256r1),
            "CurveP384" => groups.push(NamedGroup::secp384r1),
            "CurveP521" => tracing::warn!("curve_preferences: CurveP521 is not offered"),
            _ => return Err(format!("curve_preferences: `{name}` is not known")),
        }
    }
    Ok(groups)
}
