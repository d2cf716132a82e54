//! Which format and which coding a client wants, from its `Accept` and `Accept-Encoding` headers
//! (RFC 9110, section 12.5).

/// The exposition formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4: what a browser, `curl` and anybody unknown gets.
    #[default]
    Text,
    /// OpenMetrics text format 1.0.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages; the only one that carries
    /// native histograms.
    Protobuf,
}

impl Format {
    /// The acceptable format of the highest weight; of equals, the one named first. A client that
    /// accepts none of ours gets the text format, as from every other exporter.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        best(accept.unwrap_or_default(), Self::of_media_range).unwrap_or_default()
    }

    fn of_media_range(range: &Element<'_>) -> Option<Self> {
        match range.name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => {
                range.parameter("version").is_none_or(|v| v == "1.0.0").then_some(Self::OpenMetrics)
            }
            "application/vnd.google.protobuf" => {
                let is_ours = range.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && range.parameter("encoding") == Some("delimited");
                is_ours.then_some(Self::Protobuf)
            }
            "text/plain" => {
                range.parameter("version").is_none_or(|v| v == "0.0.4").then_some(Self::Text)
            }
            "text/*" | "*/*" => Some(Self::Text),
            _ => None,
        }
    }
}

/// The content codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    /// Gzip where the client takes it at least as gladly as plain bytes.
    #[must_use]
    pub fn negotiate(accept_encoding: Option<&str>) -> Self {
        let coding = |element: &Element<'_>| match element.name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "identity" => Some(Self::Identity),
            _ => None,
        };
        best(accept_encoding.unwrap_or_default(), coding).unwrap_or_default()
    }
}

/// One element of a list header: a name, parameters, and a weight.
struct Element<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Element<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        Self { name: name.trim(), parameters }
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case(wanted).then_some(value)
        })
    }

    /// In thousandths, 1000 where none is given, `None` for one that is not a weight or is 0
    /// ("not acceptable").
    fn weight(&self) -> Option<u16> {
        let Some(q) = self.parameter("q") else { return Some(1000) };
        let q: f64 = q.parse().ok()?;
        (q > 0.0 && q <= 1.0).then_some((q * 1000.0) as u16)
    }
}

/// What `known` makes of the element with the highest weight that it knows.
fn best<T>(header: &str, known: impl Fn(&Element<'_>) -> Option<T>) -> Option<T> {
    let mut best: Option<(u16, T)> = None;
    for element in header.split(',').map(Element::parse) {
        let (Some(weight), Some(value)) = (element.weight(), known(&element)) else { continue };
        if best.as_ref().is_none_or(|&(highest, _)| weight > highest) {
            best = Some((weight, value));
        }
    }
    best.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accept headers that real clients send, and what they must get.
    #[test]
    fn real_clients_get_what_they_like_best() {
        let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                     encoding=delimited";
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
                            application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (prometheus_2.to_owned(), Format::OpenMetrics),
            (prometheus_3.to_owned(), Format::OpenMetrics),
            (format!("{proto};q=0.6,{prometheus_3}"), Format::Protobuf),
            (format!("{proto},{prometheus_2}"), Format::Protobuf),
            (browser.to_owned(), Format::Text),
            ("*/*".to_owned(), Format::Text),
            (String::new(), Format::Text),
        ] {
            assert_eq!(Format::negotiate(Some(&accept)), expected, "{accept}");
        }
        assert_eq!(Format::negotiate(None), Format::Text);
    }

    #[test]
    fn a_weight_of_zero_refuses() {
        let accept = "application/openmetrics-text;q=0, text/plain;q=0.1";
        assert_eq!(Format::negotiate(Some(accept)), Format::Text);
    }

    #[test]
    fn the_highest_weight_wins_wherever_it_stands() {
        let accept = "text/plain;q=0.3, Application/OpenMetrics-Text; version=\"1.0.0\"; q=0.9";
        assert_eq!(Format::negotiate(Some(accept)), Format::OpenMetrics);
    }

    #[test]
    fn versions_we_do_not_speak_are_passed_over() {
        let accept = "application/openmetrics-text;version=0.0.1";
        assert_eq!(Format::negotiate(Some(accept)), Format::Text);
    }

    #[test]
    fn nonsense_gets_the_text_format() {
        for accept in [",,;;==", "q=1", "text/plain;q=nan", "a/b;q=2,;q=", "\u{fffd}"] {
            assert_eq!(Format::negotiate(Some(accept)), Format::Text, "{accept}");
        }
    }

    #[test]
    fn gzip_only_for_those_who_ask() {
        for (accept, expected) in [
            (None, Encoding::Identity),
            (Some("gzip"), Encoding::Gzip),
            (Some("gzip, deflate, br"), Encoding::Gzip),
            (Some("gzip;q=0"), Encoding::Identity),
            (Some("identity, gzip;q=0.5"), Encoding::Identity),
            (Some("br"), Encoding::Identity),
        ] {
            assert_eq!(Encoding::negotiate(accept), expected, "{accept:?}");
        }
    }
}
