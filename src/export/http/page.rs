//! Serves the files of the page. `build.rs` has gzipped them: browsers take them as they are, and for others
//! they are unpacked.

use std::io::Read;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::read::GzDecoder;

use super::list;
use crate::export::metrics::exposition::Encoding;

/// One file: where it is served, as what, and its bytes.
struct File {
    path: &'static str,
    content_type: &'static str,
    gzipped: &'static [u8],
}

/// A file of the folder `page/`.
macro_rules! file {
    ($path:literal, $content_type:literal, $name:literal) => {
        File {
            path: $path,
            content_type: $content_type,
            gzipped: include_bytes!(concat!(env!("OUT_DIR"), "/page/", $name, ".gz")),
        }
    };
}

static FILES: [File; 7] = [
    file!("/", "text/html; charset=utf-8", "index.html"),
    file!("/page.css", "text/css; charset=utf-8", "page.css"),
    file!("/page.js", "text/javascript", "page.js"),
    file!("/charts.js", "text/javascript", "charts.js"),
    file!("/tables.js", "text/javascript", "tables.js"),
    file!("/uPlot.js", "text/javascript", "uPlot.iife.min.js"),
    file!("/uPlot.css", "text/css", "uPlot.min.css"),
];

/// The page forbids inline scripts, and everything from other hosts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; frame-ancestors 'none'";

/// Whether a file of the page is served under `path`.
pub(super) fn is_part(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// A route for each file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(move |headers: HeaderMap| async move { file.answer(&headers) }))
    })
}

impl File {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let accepted = list(headers, header::ACCEPT_ENCODING);
        let mut response = match Encoding::negotiate(accepted.as_deref()) {
            Encoding::Gzip => ([(header::CONTENT_ENCODING, "gzip")], self.gzipped).into_response(),
            Encoding::Identity => match self.unpacked() {
                Ok(text) => text.into_response(),
                Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            },
        };
        for (name, value) in [
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
        ] {
            response.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        response
    }

    fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        GzDecoder::new(self.gzipped).read_to_end(&mut text)?;
        Ok(text)
    }
}
