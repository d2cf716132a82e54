//! What a row of the table in `rows` becomes.
//!
//! [`metrics!`] makes two structs of the rows. `Catalogue` has the registered metric of each row,
//! which any thread may read. `Series` has one target's part of each: plain numbers of the decode
//! thread, moved by observations and added to the catalogue by a flush.

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

/// A type of metric: how it is registered, and what the decode thread keeps for one target.
pub(super) trait Shape: Sized {
    /// What one target moves.
    type Series: Flush;

    /// Registers the metric. Fails where the name is not a legal one or is taken.
    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self>;

    /// The series of one target. Those that are known in advance exist from now on.
    fn of(&self, target: &str) -> Self::Series;
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
            /// Fails where one of the metrics is registered already.
            pub(super) fn register(to: &prometheus::Registry) -> prometheus::Result<Self> {
                use $crate::export::metrics::row::Shape;
                Ok(Self { $($field: Shape::register(to, $name, $help, &[$($label),*])?,)+ })
            }
        }

        /// One target's part of every metric.
        #[derive(Debug)]
        pub(super) struct Series {
            $($field: <$shape as $crate::export::metrics::row::Shape>::Series,)+
        }

        impl Series {
            /// Makes every series of the target that is known in advance exist at 0.
            pub(super) fn new(all: &Catalogue, target: &str) -> Self {
                use $crate::export::metrics::row::Shape;
                $($(all.$field.of(target).announce(&[$($zero),*]);)?)+
                Self { $($field: all.$field.of(target),)+ }
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
