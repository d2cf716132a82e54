//! The series of a target's requests and of the streams that answer some of them.

use super::LocalCounter;
use super::by_request::{ByRequest, Request};
use super::catalogue::Catalogue;
use super::histogram::labelled::Timing;
use crate::observation::{Exchange, Outcome};

/// Requests and streams of one target.
#[derive(Debug)]
pub(super) struct Exchanges {
    target: String,
    all: Catalogue,
    requests: ByRequest<RequestSeries>,
    /// Kept apart from requests: a stream may go on whose request passed unseen.
    streams: ByRequest<StreamSeries>,
}

impl Exchanges {
    pub(super) fn new(target: &str, all: Catalogue) -> Self {
        let target = target.to_owned();
        Self { target, all, requests: ByRequest::default(), streams: ByRequest::default() }
    }

    /// Makes the series of a request exist at 0, all outcomes together, so that none is missing
    /// from a rate.
    pub(super) fn announce(&mut self, request: Request<'_>) {
        self.request(request);
    }

    /// Counts a request that ended.
    pub(super) fn record(&mut self, ended: &Exchange<'_>) {
        let Exchange { origin, protocol, method, outcome, turnaround_ns, id: _ } = *ended;
        let series = self.request(Request { origin, protocol, method });
        series.outcomes[outcome as usize].inc();
        // Present with `matched` and `error`: an error is an answer.
        if let Some(ns) = turnaround_ns {
            series.turnaround.observe(ns);
        }
    }

    /// Counts an answer behind the first.
    pub(super) fn stream_item(&mut self, request: Request<'_>) {
        self.stream(request).items.inc();
    }

    /// Counts a stream that ended.
    pub(super) fn stream_end(&mut self, request: Request<'_>, duration_ns: u64) {
        self.stream(request).duration.observe(duration_ns);
    }

    pub(super) fn flush(&mut self) {
        self.requests.flush(RequestSeries::flush);
        self.streams.flush(StreamSeries::flush);
    }

    fn request(&mut self, request: Request<'_>) -> &mut RequestSeries {
        let Self { target, all, .. } = self;
        self.requests.change(request, || RequestSeries::new(all, target, request))
    }

    fn stream(&mut self, request: Request<'_>) -> &mut StreamSeries {
        let Self { target, all, .. } = self;
        self.streams.change(request, || StreamSeries::new(all, target, request))
    }
}

#[derive(Debug)]
struct RequestSeries {
    /// By `Outcome` in declaration order.
    outcomes: Vec<LocalCounter>,
    turnaround: Timing,
}

impl RequestSeries {
    fn new(all: &Catalogue, target: &str, request: Request<'_>) -> Self {
        let Request { origin, protocol, method } = request;
        let origin = origin.as_str();
        let outcome = |outcome: &Outcome| {
            let labels = [target, origin, protocol, method, outcome.as_str()];
            all.requests.with_label_values(&labels).local()
        };
        Self {
            outcomes: Outcome::ALL.iter().map(outcome).collect(),
            turnaround: all.turnaround.series(&[target, origin, protocol, method]),
        }
    }

    fn flush(&mut self) {
        self.outcomes.iter().for_each(LocalCounter::flush);
        self.turnaround.flush();
    }
}

#[derive(Debug)]
struct StreamSeries {
    items: LocalCounter,
    duration: Timing,
}

impl StreamSeries {
    fn new(all: &Catalogue, target: &str, request: Request<'_>) -> Self {
        let labels = [target, request.origin.as_str(), request.protocol, request.method];
        Self {
            items: all.stream_items.with_label_values(&labels).local(),
            duration: all.stream_duration.series(&labels),
        }
    }

    fn flush(&mut self) {
        self.items.flush();
        self.duration.flush();
    }
}
