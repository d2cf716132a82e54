//! What `--check` prints: one line for each function, however many places of it are probed.

use std::collections::BTreeMap;

use crate::export::status::Probe;

/// The lines for one process, sorted by library and function.
pub(super) fn lines(pid: u32, probes: &[Probe]) -> Vec<String> {
    let mut places: BTreeMap<(&str, &str, &str), Places> = BTreeMap::new();
    for probe in probes {
        let function = (&*probe.library, &*probe.function, &*probe.technique);
        let places = places.entry(function).or_default();
        places.all += 1;
        places.attached += usize::from(probe.attached > 0);
    }
    let line = |((library, function, technique), places): (_, Places)| {
        format!("pid {pid}: {function} in {library} {}", places.describe(technique))
    };
    places.into_iter().map(line).collect()
}

/// How many places of one function are to be probed, and at how many of them a probe is.
#[derive(Default)]
struct Places {
    all: usize,
    attached: usize,
}

impl Places {
    fn describe(&self, technique: &str) -> String {
        match (self.attached, self.all) {
            (0, _) => "not attached".to_owned(),
            (1, 1) => format!("attached ({technique})"),
            (attached, all) if attached == all => format!("attached at {all} places ({technique})"),
            (attached, all) => format!("attached at {attached} of {all} places ({technique})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(function: &str, attached: u32) -> Probe {
        Probe {
            library: "libssl.so.3".into(),
            function: function.into(),
            technique: "uprobe_multi".into(),
            attached,
            ..Probe::default()
        }
    }

    #[test]
    fn each_function_has_one_line() {
        let probes = [
            probe("SSL_write", 1),
            probe("SSL_free", 1),
            probe("SSL_write", 1),
            probe("SSL_read", 0),
            probe("SSL_clear", 0),
            probe("SSL_clear", 1),
        ];
        assert_eq!(
            lines(7, &probes),
            [
                "pid 7: SSL_clear in libssl.so.3 attached at 1 of 2 places (uprobe_multi)",
                "pid 7: SSL_free in libssl.so.3 attached (uprobe_multi)",
                "pid 7: SSL_read in libssl.so.3 not attached",
                "pid 7: SSL_write in libssl.so.3 attached at 2 places (uprobe_multi)",
            ]
        );
    }
}
