//! The configuration file: every flag has a key of its name, with the same meaning and the same
//! values. What can be given several times may be one value or a list.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use wstap_symbols::{UserOffset, known_functions};

use super::UsageError;
use crate::capture::procfs::image::UserLibrary;
use crate::cli::values::{Labels, Listen, MetricsPath, Pid, Size, Span};
use crate::cli::{PlainArg, ProbeSite, TapArgs};
use crate::matching::toml_mistake;

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    #[serde(deserialize_with = "several")]
    pub(super) pid: Vec<Pid>,
    #[serde(deserialize_with = "several")]
    pub(super) comm: Vec<String>,
    #[serde(deserialize_with = "several")]
    pub(super) exe: Vec<String>,
    #[serde(deserialize_with = "several")]
    pub(super) cgroup: Vec<String>,
    #[serde(deserialize_with = "several")]
    pub(super) command: Vec<String>,
    pub(super) target: Vec<FileTarget>,
    library: Vec<FileLibrary>,
    pub(super) children: Option<bool>,
    pub(super) no_children: Option<bool>,
    pub(super) keep_caps: Option<bool>,
    pub(super) drop_caps: Option<bool>,
    pub(super) sandbox: Option<bool>,
    pub(super) no_sandbox: Option<bool>,
    pub(super) windows: Option<bool>,
    pub(super) no_windows: Option<bool>,
    #[serde(deserialize_with = "several")]
    pub(super) listen: Vec<Listen>,
    pub(super) systemd_socket: bool,
    pub(super) web_config: Option<PathBuf>,
    #[serde(deserialize_with = "one")]
    pub(super) metrics_path: Option<MetricsPath>,
    pub(super) protocol: Option<String>,
    #[serde(deserialize_with = "several")]
    pub(super) rules: Vec<PathBuf>,
    pub(super) id_pattern: Option<String>,
    pub(super) response_pattern: Option<String>,
    #[serde(deserialize_with = "one")]
    pub(super) timeout: Option<Span>,
    #[serde(deserialize_with = "one")]
    pub(super) quiet_after: Option<Span>,
    pub(super) wait: bool,
    #[serde(deserialize_with = "one")]
    pub(super) ring_size: Option<Size>,
    pub(super) connections: Option<u32>,
    #[serde(deserialize_with = "one")]
    pub(super) window: Option<Size>,
    pub(super) plain: Option<PlainArg>,
    pub(super) probe_site: Option<ProbeSite>,
    #[serde(deserialize_with = "several")]
    pub(super) label: Vec<Labels>,
    pub(super) exit_with_target: bool,
    pub(super) check: bool,
    pub(super) record: Option<PathBuf>,
    pub(super) record_http2: bool,
}

/// `[[target]]`: processes under a name of the user's choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FileTarget {
    pub(super) name: String,
    #[serde(default, deserialize_with = "several")]
    pub(super) pid: Vec<Pid>,
    #[serde(default, deserialize_with = "several")]
    pub(super) comm: Vec<String>,
    #[serde(default, deserialize_with = "several")]
    pub(super) exe: Vec<String>,
    #[serde(default, deserialize_with = "several")]
    pub(super) cgroup: Vec<String>,
    pub(super) protocol: Option<String>,
}

/// `[[library]]`: where functions are in one build of a program or library, in case its symbols
/// are stripped and nothing else leads to them.
#[derive(Debug, Deserialize)]
struct FileLibrary {
    build_id: Option<String>,
    /// Of an image without a build id.
    sha1: Option<String>,
    /// Names of functions, and their offsets in the file.
    #[serde(flatten)]
    functions: BTreeMap<String, u64>,
}

/// A value as TOML has it, before it is read like a flag's.
#[derive(Deserialize)]
#[serde(untagged)]
enum Typed {
    Number(i64),
    Text(String),
}

impl Typed {
    fn read<T: FromStr<Err: Display>, E: Error>(self) -> Result<T, E> {
        let text = match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        };
        text.parse().map_err(E::custom)
    }
}

/// One value, as text or as a number.
fn one<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    Typed::deserialize(from)?.read().map(Some)
}

/// One value or a list of them.
fn several<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Typed),
        Many(Vec<Typed>),
    }
    match OneOrMany::deserialize(from)? {
        OneOrMany::One(value) => Ok(vec![value.read()?]),
        OneOrMany::Many(values) => values.into_iter().map(Typed::read).collect(),
    }
}

impl File {
    /// The file that `--config` names; an empty one where it names none.
    pub(super) fn of(args: &TapArgs) -> Result<Self, UsageError> {
        args.config.as_deref().map_or_else(|| Ok(Self::default()), Self::read)
    }

    pub(super) fn read(path: &Path) -> Result<Self, UsageError> {
        let complain = |error: &dyn Display| UsageError(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| complain(&error))?;
        toml::from_str(&text).map_err(|error| complain(&toml_mistake(&text, &error)))
    }

    /// The functions that the user has found. The planner says whether they are there.
    pub(super) fn user_libraries(&self) -> Result<Vec<UserLibrary>, UsageError> {
        self.library.iter().map(FileLibrary::parse).collect()
    }
}

impl FileLibrary {
    fn parse(&self) -> Result<UserLibrary, UsageError> {
        let build = match (&self.build_id, &self.sha1) {
            (Some(build), None) | (None, Some(build)) => build.to_ascii_lowercase(),
            _ => {
                let text = "a [[library]] needs a build_id, or the sha1 of a file that has none";
                return Err(UsageError(text.into()));
            }
        };
        let complain = |what: String| UsageError(format!("library `{build}`: {what}"));
        if build.is_empty() || !build.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(complain("its build_id or sha1 is not hexadecimal".into()));
        }
        if let Some(name) = self.functions.keys().find(|&it| !known_functions().any(|f| f == it)) {
            let known: Vec<&str> = known_functions().collect();
            return Err(complain(format!("`{name}` is none of {}", known.join(", "))));
        }
        if self.functions.is_empty() {
            return Err(complain("give it a function, such as SSL_write = 0x1234".into()));
        }
        let functions = self.functions.iter();
        let functions = functions.map(|(name, &offset)| UserOffset { name: name.clone(), offset });
        Ok(UserLibrary { build, functions: functions.collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(text: &str) -> File {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_key_takes_what_its_flag_takes() {
        let read = file(
            "pid = 4168\ncomm = \"node\"\nring-size = \"8m\"\nwindow = 4096\n\
             timeout = \"5s\"\nlisten = \":9090\"\nrules = \"mine.toml\"\n",
        );
        assert_eq!(read.pid, [Pid(4168)]);
        assert_eq!(read.comm, ["node"]);
        assert_eq!(read.ring_size, Some(Size(8 << 20)));
        assert_eq!(read.window, Some(Size(4096)));
        assert_eq!(read.timeout, Some(Span(Duration::from_secs(5))));
        assert_eq!(read.listen, [":9090".parse().expect("an address")]);
        assert_eq!(read.rules, [PathBuf::from("mine.toml")]);
        let labels = |text: &str| file(text).label.into_iter().flat_map(|it| it.0).count();
        assert_eq!(labels("label = [\"unit\", \"host,path\"]"), 3);
        assert_eq!(labels("label = \"none\""), 0);
        let read = file("pid = [1, \"2\"]\nlisten = 8080\ntimeout = 60\ncheck = true\n");
        assert_eq!(read.pid, [Pid(1), Pid(2)]);
        assert_eq!(read.listen, ["8080".parse().expect("an address")]);
        assert!(read.check);
    }

    #[test]
    fn a_wrong_value_is_answered_with_what_was_expected() {
        for text in [
            "pid = \"abc\"",
            "ring-size = \"8x\"",
            "timeout = \"soon\"",
            "listen = \"here\"",
            "label = \"unit,hosts\"",
        ] {
            let error = toml::from_str::<File>(text).expect_err(text).to_string();
            assert!(error.contains("such as"), "{error}");
        }
        assert!(toml::from_str::<File>("pids = 1").is_err());
    }

    /// A flag without a key would have to be found out by trying.
    #[test]
    fn every_flag_has_a_key() {
        use clap::CommandFactory;
        let flags = crate::cli::Cli::command();
        for flag in flags.get_arguments().filter_map(clap::Arg::get_long) {
            // They are about this call of wstap, or lead to the file itself.
            if ["config", "verbose", "quiet", "log-level", "log-format", "version"].contains(&flag)
            {
                continue;
            }
            let values =
                ["true", "4242", "\"x\"", "\"auto\"", "\"symbol\"", "\"8m\"", "\"/x\"", "\"none\""];
            let known = values
                .iter()
                .any(|value| toml::from_str::<File>(&format!("{flag} = {value}")).is_ok());
            assert!(known, "--{flag} has no key");
        }
    }
}
