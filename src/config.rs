//! What the command line and the configuration file mean together.
//!
//! Flags win over the file, the file over the defaults, and every default stands here. Nothing is
//! attached or opened for business before all of it has been found valid.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::bytes::RegexBuilder;
use serde::Deserialize;
use wstap_symbols::{Options, SitePreference, UserOffset, known_functions};

use crate::capture::bpf::{Settings, Wakeup};
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::cgroup::CgroupPath;
use crate::capture::procfs::image::UserLibrary;
use crate::capture::procfs::selector::{Children, Rule, Wanted};
use crate::capture::supervisor::plain::Plain;
use crate::cli::{MonitorArgs, PlainArg, ProbeSite, TapArgs};
use crate::decode::decoder::Limits;
use crate::matching::{ID_PATTERN_NAME, IdPatterns, MatchLimits, Protocols};

/// Something that was typed makes no sense; exit code 2.
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
    /// Whether they bring their children along.
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
    /// Targets that were given a protocol: the target's name, then the protocol's.
    pub target_protocols: Vec<(String, String)>,
}

/// Settings of the main job, checked.
#[derive(Debug)]
pub struct MonitorConfig {
    /// The tap.
    pub tap: TapConfig,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// End with the last target.
    pub exit_with_target: bool,
    /// Attach, print, end.
    pub check: bool,
}

/// The configuration file: every flag has a key of its name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    pid: Vec<u32>,
    comm: Vec<String>,
    exe: Vec<String>,
    cgroup: Vec<String>,
    command: Vec<String>,
    target: Vec<FileTarget>,
    library: Vec<FileLibrary>,
    children: Option<bool>,
    keep_caps: Option<bool>,
    sandbox: Option<bool>,
    listen: Option<SocketAddr>,
    protocol: Option<String>,
    rules: Vec<PathBuf>,
    id_pattern: Option<String>,
    response_pattern: Option<String>,
    timeout: Option<u32>,
    wait: bool,
    ring_size: Option<u64>,
    window: Option<u64>,
    plain: Option<PlainArg>,
    probe_site: Option<FileProbeSite>,
    exit_with_target: bool,
}

/// `[[target]]`: processes under a name of the user's choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileTarget {
    name: String,
    #[serde(default)]
    pid: Vec<u32>,
    #[serde(default)]
    comm: Vec<String>,
    #[serde(default)]
    exe: Vec<String>,
    #[serde(default)]
    cgroup: Vec<String>,
    protocol: Option<String>,
}

/// `[[library]]`: where functions are in one build of a program or library, in case its symbols
/// are stripped and nothing else leads to them.
#[derive(Debug, Deserialize)]
struct FileLibrary {
    build_id: String,
    /// Names of functions, and their offsets in the file.
    #[serde(flatten)]
    functions: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileProbeSite {
    Cheapest,
    Symbol,
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_RING_BYTES: u64 = 8 << 20;
const DEFAULT_WINDOW_BYTES: u64 = 64 << 10;
const DEFAULT_TIMEOUT_SECONDS: u32 = 60;
const DEFAULT_CONNECTIONS: u32 = 32_768;

impl MonitorConfig {
    /// Checks what was typed for the main job.
    ///
    /// # Errors
    ///
    /// A [`UsageError`] that names the flag, or the file and its key, and the reason.
    pub fn new(args: &MonitorArgs) -> Result<Self, UsageError> {
        let file = File::of(&args.tap)?;
        Ok(Self {
            listen: args.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            exit_with_target: args.exit_with_target || file.exit_with_target,
            check: args.check,
            tap: TapConfig::merge(&args.tap, &file, Wakeup::Batched)?,
        })
    }
}

impl TapConfig {
    /// Checks what was typed for an interactive view.
    ///
    /// # Errors
    ///
    /// As [`MonitorConfig::new`].
    pub fn interactive(args: &TapArgs) -> Result<Self, UsageError> {
        Self::merge(args, &File::of(args)?, Wakeup::Immediate)
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
        let window = args.window.or(file.window).unwrap_or(DEFAULT_WINDOW_BYTES);
        let window_bytes = bounded("window", window, 256, 16 << 20)?;
        let timeout = args.timeout.or(file.timeout).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let timeout_ns = Duration::from_secs(timeout.into()).as_nanos() as u64;
        Ok(Self {
            wait: args.wait || file.wait,
            children: children(args, file),
            powers: powers(args, file, &wanted),
            sandbox: !args.no_sandbox && file.sandbox.unwrap_or(true),
            wanted,
            command,
            plain: plain(args, file),
            probes: Options { site: site(args, file) },
            user_libraries: file.user_libraries()?,
            kernel: Settings {
                ring_bytes: ring_bytes(args.ring_size.or(file.ring_size))?,
                window_bytes,
                connections: DEFAULT_CONNECTIONS,
                wakeup,
                watch_execs: false,
            },
            limits: Limits {
                window_bytes: window_bytes as usize,
                // Who watches wants to see what passes, and who names a window wants that one.
                narrows: wakeup == Wakeup::Batched && args.window.or(file.window).is_none(),
                connections: DEFAULT_CONNECTIONS as usize,
                ..Limits::default()
            },
            match_limits: MatchLimits { timeout_ns, ..MatchLimits::default() },
            protocols: protocols(args, file)?,
            target_protocols: target_protocols(args, file),
        })
    }
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
    pids: &[u32],
    comms: &[String],
    exes: &[String],
    cgroups: &[String],
) -> Result<Vec<Rule>, UsageError> {
    let pids: BTreeSet<u32> = pids.iter().copied().collect();
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

/// Capabilities are kept where something may come that needs them.
fn powers(args: &TapArgs, file: &File, wanted: &[Wanted]) -> Powers {
    let typed = if args.drop_caps { Some(false) } else { args.keep_caps.then_some(true) };
    let may_come = args.wait
        || file.wait
        || !args.command.is_empty()
        || !file.command.is_empty()
        || children(args, file) == Children::Follow
        || wanted.iter().any(|wanted| wanted.rule.is_open());
    if typed.or(file.keep_caps).unwrap_or(may_come) { Powers::Attaching } else { Powers::None }
}

fn children(args: &TapArgs, file: &File) -> Children {
    let follow = if args.no_children { Some(false) } else { args.children.then_some(true) };
    match follow.or(file.children) {
        Some(false) => Children::Leave,
        _ => Children::Follow,
    }
}

impl File {
    fn of(args: &TapArgs) -> Result<Self, UsageError> {
        args.config.as_deref().map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// The functions that the user has found. Whether they are there is for the planner to say.
    fn user_libraries(&self) -> Result<Vec<UserLibrary>, UsageError> {
        self.library.iter().map(FileLibrary::parse).collect()
    }

    fn read(path: &Path) -> Result<Self, UsageError> {
        let complain =
            |error: &dyn std::fmt::Display| UsageError(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| complain(&error))?;
        toml::from_str(&text).map_err(|error| complain(&error))
    }
}

fn plain(args: &TapArgs, file: &File) -> Plain {
    match args.plain.or(file.plain) {
        Some(PlainArg::On) => Plain::On,
        Some(PlainArg::Off) => Plain::Off,
        Some(PlainArg::Auto) | None => Plain::Auto,
    }
}

impl FileLibrary {
    fn parse(&self) -> Result<UserLibrary, UsageError> {
        let complain = |what: String| UsageError(format!("library `{}`: {what}", self.build_id));
        let build_id = self.build_id.to_ascii_lowercase();
        if build_id.is_empty() || !build_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(complain("its build_id is not hexadecimal".into()));
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
        Ok(UserLibrary { build_id, functions: functions.collect() })
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
    match (args.probe_site, file.probe_site) {
        (Some(ProbeSite::Symbol), _) | (None, Some(FileProbeSite::Symbol)) => {
            SitePreference::Symbol
        }
        _ => SitePreference::Cheapest,
    }
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
    let mut protocols = Protocols::builtin();
    for path in files {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsageError(format!("rules: {name}: {error}")))?;
        protocols.add_toml(&name, &text).map_err(|error| UsageError(error.to_string()))?;
    }
    Ok(protocols)
}

/// Built-in protocols, the user's rules, then whatever is forced: a name, or patterns for ids.
fn protocols(args: &TapArgs, file: &File) -> Result<Protocols, UsageError> {
    let mut protocols = with_rules(if args.rules.is_empty() { &file.rules } else { &args.rules })?;
    if let Some(request) = args.id_pattern.as_ref().or(file.id_pattern.as_ref()) {
        let response = args.response_pattern.as_ref().or(file.response_pattern.as_ref());
        let patterns = IdPatterns {
            name: ID_PATTERN_NAME,
            request,
            response: response.map(String::as_str),
            error: None,
        };
        protocols
            .force_id_patterns(patterns)
            .map_err(|error| UsageError(format!("id-pattern: {error}")))?;
    }
    if let Some(name) = args.protocol.as_ref().or(file.protocol.as_ref()) {
        protocols.force(name).map_err(|error| UsageError(format!("protocol: {error}")))?;
    }
    Ok(protocols)
}
