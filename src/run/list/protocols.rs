//! `wstap protocols` lists the message protocols that wstap recognises, and how it recognises each.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use tracing::Level;

use crate::config;
use crate::matching::Description;
use crate::run::Failure;
use crate::terminal::{self, Page};

/// One protocol.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    subprotocols: Vec<&'a str>,
    paths: Vec<&'a str>,
    about: &'a str,
}

impl<'a> Row<'a> {
    fn new(protocol: Description<'a>) -> Self {
        let texts = |texts: &'a [Box<str>]| texts.iter().map(|text| &**text).collect();
        Self {
            name: protocol.name,
            subprotocols: texts(protocol.subprotocols),
            paths: texts(protocol.paths),
            about: protocol.about,
        }
    }
}

/// Prints the built-in protocols, and before them those of `rules`, in order of precedence.
///
/// # Errors
///
/// A file of rules cannot be read or makes no sense, or standard output cannot be written.
pub(in crate::run) fn protocols(rules: &[PathBuf], json: bool) -> Result<(), Failure> {
    let protocols = config::with_rules(rules)?;
    protocols.doubts().iter().for_each(|doubt| terminal::complain(Level::WARN, doubt));
    let mut out = Page::new(!json);
    for row in protocols.descriptions().map(Row::new) {
        if json {
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        } else {
            print(&mut out, &row)?;
        }
    }
    Ok(out.show()?)
}

fn print(out: &mut impl Write, row: &Row<'_>) -> io::Result<()> {
    writeln!(out, "{}", row.name)?;
    let lines = [
        ("subprotocols", row.subprotocols.join(", ")),
        ("paths", row.paths.join(", ")),
        ("messages", row.about.to_owned()),
    ];
    for (what, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        writeln!(out, "  {what:12}  {text}")?;
    }
    Ok(())
}
