//! A scrape's answer: the gathered metrics in the format that the client likes best.

mod negotiation;
mod openmetrics;

use prometheus::proto::MetricFamily;
use prometheus::{Encoder, PROTOBUF_FORMAT, ProtobufEncoder, TextEncoder};

pub use negotiation::{Encoding, Format};

impl Format {
    /// The value of `Content-Type`. Prometheus 3 refuses a scrape without it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => PROTOBUF_FORMAT,
        }
    }

    /// Renders what a registry gathered. Fails only on a family without name or series, which a
    /// registry does not gather.
    pub fn encode(self, families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
        let mut out = Vec::new();
        match self {
            Self::Text => TextEncoder::new().encode(families, &mut out)?,
            Self::OpenMetrics => out = openmetrics::encode(families).into_bytes(),
            Self::Protobuf => ProtobufEncoder::new().encode(families, &mut out)?,
        }
        Ok(out)
    }
}
