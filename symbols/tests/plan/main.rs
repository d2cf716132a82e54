//! The planner from outside: image in, plan out.
//!
//! - [`small`]: images of a few kilobytes, one for each place where symbols can be
//! - [`installed`]: libraries and programs of the machine that runs the tests
//! - [`sites`]: where probes go on real and on devious code
//! - [`golang`]: Go programs
//! - [`evidence`]: what is beside an image
//! - [`bounded`]: images that are made to be slow to read
//! - [`hostile`]: damaged and invented images
//! - [`invented`]: invented code in a sound image

mod bounded;
mod evidence;
mod golang;
mod hostile;
mod installed;
mod invented;
mod labels;
mod sites;
mod small;

use wstap_symbols::{Library, Options, Plan, Probe, SitePreference, plan};

/// Attach at the symbols, whatever it costs.
const AT_SYMBOLS: Options = Options { site: SitePreference::Symbol };

fn planned(image: &[u8], options: &Options) -> Plan {
    plan(image, options).expect("a readable image")
}

fn only_library(image: &[u8], options: &Options) -> Library {
    let mut libraries = planned(image, options).libraries;
    assert_eq!(libraries.len(), 1, "{libraries:?}");
    libraries.remove(0)
}

/// Probes where calls begin.
fn entries(library: &Library) -> impl Iterator<Item = &Probe> {
    library.probes.iter().filter(|probe| !probe.is_return())
}

/// The probe at the entry of a function.
fn probe<'a>(library: &'a Library, function: &str) -> &'a Probe {
    let covering = |probe: &&Probe| !probe.is_return() && probe.covers.contains(&function);
    library.probes.iter().find(covering).unwrap_or_else(|| panic!("no probe covers {function}"))
}
