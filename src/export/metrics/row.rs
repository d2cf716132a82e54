//! What a row of the table in `rows` becomes.
//!
//! [`metrics!`] makes two structs of the rows. `Catalogue` has the registered metric of each row,
//! which any thread may read. `Series` has one owner's part of each: plain numbers of the decode
//! thread, moved by observations and added to the catalogue by a flush.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{Registry, Result};

use super::by_protocol::Protocol;
use super::by_request::Request;
use crate::event::{HttpVersion, Transport};
use crate::observation::{Role, What};

/// One observation, as the rows see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) what: &'a What<'a>,
    /// When, in nanoseconds since 1970.
    pub(super) wall_ns: i64,
    pub(super) transport: Transport,
    pub(super) http: HttpVersion,
    pub(super) role: Role,
    /// The kind of request that it is about, for those observations that are about one.
    pub(super) request: Option<Request<'a>>,
    /// The protocol, for messages.
    pub(super) protocol: Option<Protocol<'a>>,
}

/// A type of metric: how it is registered, and what the decode thread keeps for one owner.
pub(super) trait Shape: Sized {
    /// What one owner moves.
    type Series: Flush;

    /// Registers the metric. Fails where the name is not a legal one or is taken.
    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self>;

    /// The series of one owner. Those that are known in advance exist from now on.
    fn of(&self, owner: &Owner) -> Self::Series;

    /// Takes the series of one owner away.
    fn forget(&self, owner: &Owner);
}

/// Whose series they are: the values of `target` and of the labels of instances, in this order.
pub(super) type Owner = Arc<[Box<str>]>;

/// The label values of a series: those of its owner, then its own.
pub(super) fn owned<'a>(
    owner: &'a [Box<str>],
    own: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    owner.iter().map(|value| &**value).chain(own).collect()
}

/// The label names of a metric: those of instances stand behind `target`.
pub(super) fn with_instance<'a>(labels: &[&'a str], instance: &[&'a str]) -> Vec<&'a str> {
    match labels.split_first() {
        Some((&"target", own)) => ["target"].iter().chain(instance).chain(own).copied().collect(),
        _ => labels.to_vec(),
    }
}

/// Removes the series of one owner from a metric whose first labels are those of owners.
pub(super) fn forget<B: MetricVecBuilder>(metrics: &MetricVec<B>, owner: &Owner) {
    let Some(names) = metrics.desc().first().map(|desc| &desc.variable_labels) else { return };
    for metric in metrics.collect().iter().flat_map(|family| family.get_metric()) {
        let labels: HashMap<&str, &str> =
            metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
        let mut owned = names.iter().zip(owner.iter());
        if owned.all(|(name, value)| labels.get(name.as_str()) == Some(&&**value)) {
            // It was collected just now.
            let _ = metrics.remove(&labels);
        }
    }
}

/// Registers the metric of a row. Nothing if that fails: then `failure` says why. The rows share this, for
/// each would get a copy; and none returns early, for each would get its own copy of what drops all others.
#[inline(never)]
pub(super) fn registered<S: Shape>(
    (to, failure): (&Registry, &mut Result<()>),
    (name, help): (&str, &str),
    labels: &[&str],
    instance: &[&str],
) -> Option<S> {
    let registered = S::register(to, name, help, &with_instance(labels, instance));
    registered.map_err(|error| *failure = Err(error)).ok()
}

/// What holds numbers back until a flush.
pub(super) trait Flush {
    /// Makes them visible to scrapes.
    fn flush(&mut self);
}

/// Makes `Catalogue` and `Series` of a table of rows.
macro_rules! metrics {
    ($seen:ident => $(
        $field:ident: $shape:ty = $name:literal [$($label:literal),*],
            $help:literal,
            $(at_zero [$($zero:literal),*],)?
            on { $($pattern:pat => $change:expr,)+ };
    )+) => {
        /// The metrics that observations move, registered. Clones share them.
        #[derive(Clone, Debug)]
        pub(in crate::export) struct Catalogue {
            $(#[doc = $help] pub(in crate::export) $field: $shape,)+
        }

        impl Catalogue {
            /// Registers all, with these labels of instances. Fails where one of the metrics is
            /// registered already.
            pub(super) fn register(
                to: &prometheus::Registry,
                instance: &[&str],
            ) -> prometheus::Result<Self> {
                use $crate::export::metrics::row::registered;
                let mut failure = Ok(());
                $(let $field = registered(
                    (to, &mut failure), ($name, $help), &[$($label),*], instance,
                );)+
                failure?;
                let ($(Some($field),)+) = ($($field,)+) else {
                    unreachable!("what fails says why")
                };
                Ok(Self { $($field,)+ })
            }

            /// Takes the series of one owner away.
            pub(super) fn forget(&self, owner: &$crate::export::metrics::row::Owner) {
                use $crate::export::metrics::row::Shape;
                $(self.$field.forget(owner);)+
            }
        }

        /// One owner's part of every metric.
        #[derive(Debug)]
        pub(super) struct Series {
            $($field: <$shape as $crate::export::metrics::row::Shape>::Series,)+
        }

        impl Series {
            /// Makes every series of the owner that is known in advance exist at 0.
            pub(super) fn new(
                all: &Catalogue,
                owner: &$crate::export::metrics::row::Owner,
            ) -> Self {
                use $crate::export::metrics::row::Shape;
                $($(all.$field.of(owner).announce(&[$($zero),*]);)?)+
                Self { $($field: all.$field.of(owner),)+ }
            }

            /// Lets one observation move the rows that wait for its kind.
            pub(super) fn record(&mut self, $seen: &Seen<'_>) {
                $(
                    let $field = &mut self.$field;
                    match $seen.what {
                        $($pattern => { $change; })+
                        _ => {}
                    }
                )+
            }

            /// Makes everything recorded so far visible to scrapes.
            pub(super) fn flush(&mut self) {
                use $crate::export::metrics::row::Flush;
                $(self.$field.flush();)+
            }
        }
    };
}
pub(super) use metrics;
