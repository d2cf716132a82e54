//! What is asked of HTTP clients: TLS, certificates, passwords and patience, from the file that the
//! Prometheus exporters share (`--web.config.file`; its format is that of exporter-toolkit,
//! docs/web-configuration.md).
//!
//! `file` reads it, `tls` makes the TLS side, `passwords` checks users, `pace` limits the rate of
//! requests. The file is read once, before anything is attached: afterwards wstap reads no files.
//! Nothing of it is ever logged but names of keys and files.

mod file;
mod pace;
mod passwords;
mod tls;

use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_rustls::TlsAcceptor;

use self::file::File;
use self::pace::Pace;
use self::passwords::{Users, Verdict};

/// What is asked of clients; by default nothing.
#[derive(Default)]
pub struct WebConfig {
    tls: Option<TlsAcceptor>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Option<Users>,
    pace: Option<Pace>,
}

impl std::fmt::Debug for WebConfig {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebConfig")
            .field("tls", &self.tls.is_some())
            .field("users", &self.users.is_some())
            .field("pace", &self.pace.is_some())
            .finish()
    }
}

/// Whether a request is answered.
pub(super) enum Admission {
    Granted,
    Refused(Response),
}

impl WebConfig {
    /// Reads the file at `path`, and the certificates and keys that it names.
    ///
    /// # Errors
    ///
    /// A sentence that names the file and the key in it, and never a secret.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("web configuration {}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder)
            .map_err(|error| format!("web configuration {}: {error}", path.display()))
    }

    /// `folder` is where relative names of files begin.
    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let file = File::parse(text)?;
        let tls = tls::server(&file.tls_server_config.unwrap_or_default(), folder)?;
        let http = file.http_server_config.unwrap_or_default();
        let rate = file.rate_limit.unwrap_or_default();
        let users = file.basic_auth_users.unwrap_or_default();
        Ok(Self {
            tls: tls.map(TlsAcceptor::from),
            headers: http.headers()?,
            users: (!users.is_empty()).then(|| Users::new(users)).transpose()?,
            pace: rate.pace()?,
        })
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// Decides whether a request with these headers is answered.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Admission {
        if self.pace.as_ref().is_some_and(|pace| !pace.allows()) {
            let text = "Too many requests: rate_limit of the web configuration.\n";
            return Admission::Refused((StatusCode::TOO_MANY_REQUESTS, text).into_response());
        }
        let Some(users) = &self.users else { return Admission::Granted };
        match users.check(headers.get(header::AUTHORIZATION)).await {
            Verdict::Known => Admission::Granted,
            Verdict::Unknown => {
                let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"wstap\", charset=\"UTF-8\"")];
                let text = "A user name and a password are needed.\n";
                Admission::Refused((StatusCode::UNAUTHORIZED, ask, text).into_response())
            }
            Verdict::Busy => {
                let later = [(header::RETRY_AFTER, "1")];
                let text = "Too many passwords wait to be checked.\n";
                Admission::Refused((StatusCode::SERVICE_UNAVAILABLE, later, text).into_response())
            }
        }
    }

    /// Adds the headers that every answer has.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers.iter().cloned());
    }
}

#[cfg(test)]
mod tests;
