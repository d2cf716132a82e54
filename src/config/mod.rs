//! Combines the command line, the configuration file and the defaults.
//!
//! Flags win over the file, the file over the defaults, and every default stands here. Nothing is
//! attached or opened before all of it has been found valid.

mod file;
pub mod messages;
mod protocols;
mod recording;
mod web;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::file::File;
use regex::bytes::RegexBuilder;
use wstap_symbols::{Options, SitePreference};

use crate::capture::bpf::{Settings, Wakeup};
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::cgroup::CgroupPath;
use crate::capture::procfs::image::UserLibrary;
use crate::capture::procfs::selector::{Children, Rule, Wanted};
use crate::capture::supervisor::plain::Plain;
use crate::cli::values::{Labels, Pid, Size};
use crate::cli::{MonitorArgs, PlainArg, ProbeSite, TapArgs};
use crate::decode::decoder::Limits;
use crate::export::metrics::InstanceLabel;
use crate::matching::{MatchLimits, Protocols};

pub use self::protocols::ProtocolSources;
pub use self::recording::RecordConfig;
pub use self::web::WebSettings;

/// The command line or the configuration file makes no sense; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Settings of a tap, checked.
#[derive(Debug)]
pub struct TapConfig {
    /// Which processes to tap; empty only where there is a command.
    pub wanted: Vec<Wanted>,
    /// A command to run and tap, with its arguments; empty where there is none.
    pub command: Vec<OsString>,
    /// Whether their children are tapped, too.
    pub children: Children,
    /// Wait for a TLS library to be loaded.
    pub wait: bool,
    /// What is kept of capabilities once attached: [`Powers::Attaching`] or [`Powers::None`].
    pub powers: Powers,
    /// Enter a sandbox once attached.
    pub sandbox: bool,
    /// Whether TCP sockets are tapped, too.
    pub plain: Plain,
    /// How probe sites are chosen.
    pub probes: Options,
    /// Functions that the user has found.
    pub user_libraries: Vec<UserLibrary>,
    /// Sizes of the kernel side.
    pub kernel: Settings,
    /// Bounds of the decoder.
    pub limits: Limits,
    /// Bounds of the matching.
    pub match_limits: MatchLimits,
    /// The protocols whose message ids are matched.
    pub protocols: Protocols,
    /// The user's rules, patterns and choices that they were made from.
    pub sources: ProtocolSources,
    /// Where to record, if that was asked for.
    pub record: Option<RecordConfig>,
    /// Targets that were given a protocol: the target's name, then the protocol's.
    pub target_protocols: Vec<(String, String)>,
}

/// Settings of the main job, checked.
#[derive(Debug)]
pub struct MonitorConfig {
    /// The tap.
    pub tap: TapConfig,
    /// Where HTTP is served, and what is asked of clients.
    pub web: WebSettings,
    /// Labels that tell processes and connections of a target apart; `None` where nothing was said.
    pub labels: Option<Vec<InstanceLabel>>,
    /// End with the last target.
    pub exit_with_target: bool,
    /// Only attach, print the probes, and end.
    pub check: bool,
}

const DEFAULT_RING_BYTES: u64 = 8 << 20;
const DEFAULT_WINDOW_BYTES: u64 = 64 << 10;
/// With this window messages are whole, unless they are longer still.
const WINDOW_MAX_BYTES: u32 = 16 << 20;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections that are followed at the same time where nobody asks for another number.
pub const DEFAULT_CONNECTIONS: u32 = 32_768;

impl MonitorConfig {
    /// Checks what was typed for the main job.
    ///
    /// # Errors
    ///
    /// A [`UsageError`] that names the flag, or the file and its key, and the reason.
    pub fn new(args: &MonitorArgs) -> Result<Self, UsageError> {
        let file = File::of(&args.tap)?;
        let tap = TapConfig::merge(&args.tap, &file, Wakeup::Batched)?;
        let http2 = args.record_http2 || file.record_http2;
        let record = args.record.clone().or(file.record.clone());
        let record = record.map(|path| RecordConfig::beside(path, http2));
        if http2 && record.is_none() {
            return Err(UsageError("record-http2: nothing is recorded: give a --record".into()));
        }
        if record.is_some() {
            tap.sources.refuse_to_learn()?;
        }
        let check = args.check || file.check;
        if check && !tap.command.is_empty() {
            return Err(UsageError(
                "check: a command is not started only to look at it: give the --pid or --comm of one \
                 that runs"
                    .into(),
            ));
        }
        Ok(Self {
            web: WebSettings::merge(args, &file)?,
            labels: labels(if args.labels.is_empty() { &file.label } else { &args.labels }),
            exit_with_target: args.exit_with_target || file.exit_with_target,
            check,
            tap: TapConfig { record, ..tap },
        })
    }
}

impl TapConfig {
    /// The tapped process's own zlib is asked for what compressed connections have said before. Not
    /// while recording: a recording holds no windows, and replays to the same numbers.
    #[must_use]
    pub const fn finds_windows(&self) -> bool {
        self.limits.finds_windows && self.record.is_none()
    }

    /// Checks what was typed for an interactive view. It needs every message `whole`, or not.
    ///
    /// # Errors
    ///
    /// As [`MonitorConfig::new`].
    pub fn interactive(
        args: &TapArgs,
        record: Option<RecordConfig>,
        whole: bool,
    ) -> Result<Self, UsageError> {
        let mut file = File::of(args)?;
        if whole {
            file.window = file.window.or(Some(Size(WINDOW_MAX_BYTES.into())));
        }
        let config = Self::merge(args, &file, Wakeup::Immediate)?;
        config.sources.refuse_to_learn()?;
        Ok(Self { record, ..config })
    }

    /// Checks what was typed for a recording, with the window that was asked for by another name.
    fn recorded(args: &TapArgs, window: Option<u64>) -> Result<Self, UsageError> {
        let mut file = File::of(args)?;
        file.window = window.map(Size).or(file.window);
        let config = Self::merge(args, &file, Wakeup::Batched)?;
        config.sources.refuse_to_learn()?;
        Ok(config)
    }

    fn merge(args: &TapArgs, file: &File, wakeup: Wakeup) -> Result<Self, UsageError> {
        let wanted = wanted(args, file)?;
        let command = if args.command.is_empty() {
            file.command.iter().map(OsString::from).collect()
        } else {
            args.command.clone()
        };
        if wanted.is_empty() && command.is_empty() {
            return Err(UsageError(
                "nothing to tap: give a --pid, --comm, --exe or --cgroup, or `-- COMMAND`".into(),
            ));
        }
        let window = args.window.or(file.window).map_or(DEFAULT_WINDOW_BYTES, |size| size.0);
        let window_bytes = bounded("window", window, 256, WINDOW_MAX_BYTES)?;
        let connections = connections(args.connections.or(file.connections))?;
        let timeout = args.timeout.or(file.timeout).map_or(DEFAULT_TIMEOUT, |span| span.0);
        let timeout_ns = timeout.as_nanos() as u64;
        let quiet_after = args.quiet_after.or(file.quiet_after);
        let quiet_after_ns = quiet_after.map_or(0, |span| span.0.as_nanos() as u64);
        let sources = protocols(args, file)?;
        Ok(Self {
            wait: args.wait || file.wait,
            children: children(args, file),
            powers: powers(args, file, &wanted)?,
            sandbox: !args.no_sandbox && file.sandbox.unwrap_or(!file.no_sandbox.unwrap_or(false)),
            wanted,
            command,
            plain: plain(args, file),
            probes: Options { site: site(args, file) },
            user_libraries: file.user_libraries()?,
            kernel: Settings {
                ring_bytes: ring_bytes(args.ring_size.or(file.ring_size).map(|size| size.0))?,
                window_bytes,
                connections,
                wakeup,
                watch_execs: false,
            },
            limits: Limits {
                window_bytes: window_bytes as usize,
                // An interactive view shows all that passes, and a window that was asked for is
                // kept.
                narrows: wakeup == Wakeup::Batched && args.window.or(file.window).is_none(),
                connections: connections as usize,
                finds_windows: !args.no_windows
                    && file.windows.unwrap_or(!file.no_windows.unwrap_or(false)),
                ..Limits::default()
            },
            match_limits: MatchLimits { timeout_ns, quiet_after_ns, ..MatchLimits::default() },
            protocols: sources.compile()?,
            sources,
            record: None,
            target_protocols: target_protocols(args, file),
        })
    }
}

/// `None` where nothing was said, which is something else than none.
fn labels(given: &[Labels]) -> Option<Vec<InstanceLabel>> {
    let all = given.iter().flat_map(|labels| labels.0.iter().copied());
    let all: BTreeSet<InstanceLabel> = all.collect();
    (!given.is_empty()).then(|| all.into_iter().collect())
}

/// The selectors of the command line; where there are none, those of the file.
fn wanted(args: &TapArgs, file: &File) -> Result<Vec<Wanted>, UsageError> {
    if selects(args) {
        let typed = rules(&args.pids, &args.comms, &args.exes, &args.cgroups)?;
        return Ok(typed.into_iter().map(Wanted::rule).collect());
    }
    let plain = rules(&file.pid, &file.comm, &file.exe, &file.cgroup)?;
    let mut wanted: Vec<Wanted> = plain.into_iter().map(Wanted::rule).collect();
    for target in &file.target {
        let rules = rules(&target.pid, &target.comm, &target.exe, &target.cgroup)?;
        if rules.is_empty() {
            let name = &target.name;
            return Err(UsageError(format!("target `{name}`: give it a pid, comm, exe or cgroup")));
        }
        wanted
            .extend(rules.into_iter().map(|rule| Wanted { name: Some(target.name.clone()), rule }));
    }
    Ok(wanted)
}

/// Whether the command line names a target. Then those of the file do not count.
fn selects(args: &TapArgs) -> bool {
    !(args.pids.is_empty()
        && args.comms.is_empty()
        && args.exes.is_empty()
        && args.cgroups.is_empty()
        && args.command.is_empty())
}

fn target_protocols(args: &TapArgs, file: &File) -> Vec<(String, String)> {
    if selects(args) {
        return Vec::new();
    }
    let named = file.target.iter();
    named.filter_map(|target| Some((target.name.clone(), target.protocol.clone()?))).collect()
}

fn rules(
    pids: &[Pid],
    comms: &[String],
    exes: &[String],
    cgroups: &[String],
) -> Result<Vec<Rule>, UsageError> {
    let pids: BTreeSet<u32> = pids.iter().map(|pid| pid.0).collect();
    let mut rules: Vec<Rule> = pids.into_iter().map(Rule::Pid).collect();
    rules.extend(comms.iter().cloned().map(Rule::Comm));
    for exe in exes {
        let pattern = RegexBuilder::new(exe).unicode(false).build();
        rules.push(Rule::Exe(pattern.map_err(|error| UsageError(format!("exe: {error}")))?));
    }
    for cgroup in cgroups {
        let path = CgroupPath::parse(cgroup).ok_or_else(|| {
            UsageError(format!("cgroup: `{cgroup}` is the root, which holds every process"))
        })?;
        rules.push(Rule::Cgroup(path));
    }
    Ok(rules)
}

/// Probes are placed in each process by itself, and that takes capabilities.
const NO_POWER_LATER: &str = "--drop-caps leaves no capability to probe processes and libraries that \
    come later, and here some may come: give it with --pid and --no-children and nothing else, or \
    leave it out: capabilities are then in effect only while a probe is placed";

/// Capabilities are kept where something may come that needs them.
fn powers(args: &TapArgs, file: &File, wanted: &[Wanted]) -> Result<Powers, UsageError> {
    let typed = if args.drop_caps { Some(false) } else { args.keep_caps.then_some(true) };
    let may_come = args.wait
        || file.wait
        || !args.command.is_empty()
        || !file.command.is_empty()
        || children(args, file) == Children::Follow
        || wanted.iter().any(|wanted| wanted.rule.is_open());
    let in_file = file.keep_caps.or(file.drop_caps.map(|drop| !drop));
    match typed.or(in_file).unwrap_or(may_come) {
        true => Ok(Powers::Attaching),
        false if may_come => Err(UsageError(NO_POWER_LATER.into())),
        false => Ok(Powers::None),
    }
}

fn children(args: &TapArgs, file: &File) -> Children {
    let follow = if args.no_children { Some(false) } else { args.children.then_some(true) };
    let in_file = file.children.or(file.no_children.map(|leave| !leave));
    match follow.or(in_file) {
        Some(false) => Children::Leave,
        _ => Children::Follow,
    }
}

fn plain(args: &TapArgs, file: &File) -> Plain {
    match args.plain.or(file.plain) {
        Some(PlainArg::On) => Plain::On,
        Some(PlainArg::Off) => Plain::Off,
        Some(PlainArg::Auto) | None => Plain::Auto,
    }
}

/// The functions that the `[[library]]` tables of a configuration file give.
///
/// # Errors
///
/// The file cannot be read or makes no sense.
pub fn user_libraries(path: Option<&Path>) -> Result<Vec<UserLibrary>, UsageError> {
    path.map_or_else(|| Ok(Vec::new()), |path| File::read(path)?.user_libraries())
}

fn site(args: &TapArgs, file: &File) -> SitePreference {
    match args.probe_site.or(file.probe_site) {
        Some(ProbeSite::Symbol) => SitePreference::Symbol,
        _ => SitePreference::Cheapest,
    }
}

/// The kernel takes the memory for all of them at once: some 300 bytes for each.
fn connections(number: Option<u32>) -> Result<u32, UsageError> {
    bounded("connections", number.unwrap_or(DEFAULT_CONNECTIONS).into(), 16, 4 << 20)
}

/// The kernel wants a power of two that is a multiple of the page size.
fn ring_bytes(size: Option<u64>) -> Result<u32, UsageError> {
    let size = bounded("ring-size", size.unwrap_or(DEFAULT_RING_BYTES), 64 << 10, 1 << 30)?;
    if !size.is_power_of_two() {
        return Err(UsageError(format!("ring-size: {size} is not a power of two")));
    }
    Ok(size)
}

fn bounded(key: &str, value: u64, least: u32, most: u32) -> Result<u32, UsageError> {
    match u32::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(UsageError(format!("{key}: {value} is not between {least} and {most} bytes"))),
    }
}

/// The built-in protocols, and before them those of the user's files.
///
/// # Errors
///
/// A file cannot be read, or a rule in it makes no sense.
pub fn with_rules(files: &[PathBuf]) -> Result<Protocols, UsageError> {
    let mut sources = ProtocolSources::default();
    sources.read_rules(files)?;
    sources.compile()
}

/// What the user says about protocols: not yet compiled.
fn protocols(args: &TapArgs, file: &File) -> Result<ProtocolSources, UsageError> {
    let mut sources = ProtocolSources::default();
    sources.read_rules(if args.rules.is_empty() { &file.rules } else { &args.rules })?;
    sources.id_pattern = args.id_pattern.clone().or(file.id_pattern.clone());
    sources.response_pattern = args.response_pattern.clone().or(file.response_pattern.clone());
    sources.protocol = args.protocol.clone().or(file.protocol.clone());
    Ok(sources)
}
