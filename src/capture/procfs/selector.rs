//! Which processes are meant: the selectors of the command line and the configuration file.

use std::path::Path;
use std::sync::Arc;

use regex::bytes::Regex;

use super::cgroup::CgroupPath;
use super::process::{self, Process};
use crate::capture::Error;
use crate::event::TargetId;

/// A condition that selects processes.
#[derive(Clone, Debug)]
pub enum Rule {
    /// It is this process.
    Pid(u32),
    /// Its name is this one, compared as the kernel keeps it: the first 15 bytes.
    Comm(String),
    /// The path of its executable, as the process itself sees it, matches this pattern.
    Exe(Regex),
    /// It runs in this control group or in one below it.
    Cgroup(CgroupPath),
}

impl Rule {
    /// Whether processes that do not exist yet may match.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Pid(_))
    }

    fn matches(&self, process: &Process) -> bool {
        match self {
            Self::Pid(pid) => process.pid == *pid,
            Self::Comm(comm) => process.comm.as_bytes() == kept_by_kernel(comm),
            Self::Exe(exe) => process.exe.as_ref().is_some_and(|path| exe.is_match(bytes(path))),
            Self::Cgroup(cgroup) => cgroup.holds(process.pid),
        }
    }
}

/// `TASK_COMM_LEN` of `include/linux/sched.h`, less the NUL.
fn kept_by_kernel(comm: &str) -> &[u8] {
    let bytes = comm.as_bytes();
    &bytes[..bytes.len().min(15)]
}

fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

/// Whether the children of a target's processes are tapped, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Children {
    /// They are, whatever program they run.
    #[default]
    Follow,
    /// Only processes that match a rule themselves are tapped.
    Leave,
}

/// A rule as it was given, perhaps with a name.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The target's name; by default it is made from the rule.
    pub name: Option<String>,
    /// Which processes.
    pub rule: Rule,
}

impl Wanted {
    /// A rule alone.
    #[must_use]
    pub fn rule(rule: Rule) -> Self {
        Self { name: None, rule }
    }
}

/// A rule that knows its target.
#[derive(Clone, Debug)]
struct Selector {
    target: TargetId,
    rule: Rule,
    /// Start time of the process that was given by its pid. A later process may get the same pid,
    /// and is not meant.
    start_ticks: Option<u64>,
}

impl Selector {
    fn new(target: TargetId, rule: Rule) -> Result<Self, Error> {
        let start_ticks = match rule {
            Rule::Pid(pid) => Some(read(pid)?.start_ticks),
            _ => None,
        };
        Ok(Self { target, rule, start_ticks })
    }

    fn matches(&self, process: &Process) -> bool {
        self.rule.matches(process)
            && self.start_ticks.is_none_or(|start_ticks| start_ticks == process.start_ticks)
    }
}

/// All selectors together: which processes are to be tapped, and for which target.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    names: Vec<Arc<str>>,
    selectors: Vec<Selector>,
    children: Children,
    held: Option<u32>,
}

impl Selection {
    /// Gives every rule its target. Rules with the same name share one target. Without a name, a
    /// process that is given by its pid is called by its `comm`.
    ///
    /// # Errors
    ///
    /// There is no process of a given pid, or there are more than 65,535 targets.
    pub fn resolve(wanted: Vec<Wanted>, children: Children) -> Result<Self, Error> {
        let mut selection = Self { children, ..Self::default() };
        for Wanted { name, rule } in wanted {
            let rule = of_process(rule);
            let name = match name {
                Some(name) => name,
                None => default_name(&rule)?,
            };
            let target = selection.target(&name)?;
            selection.selectors.push(Selector::new(target, rule)?);
        }
        Ok(selection)
    }

    /// Adds the process that wstap itself starts. wstap may stop it while it places probes.
    ///
    /// # Errors
    ///
    /// There is no such process, or there are more than 65,535 targets.
    pub fn launch(&mut self, pid: u32, name: &str) -> Result<(), Error> {
        let target = self.target(name)?;
        self.selectors.push(Selector::new(target, Rule::Pid(pid))?);
        self.held = Some(pid);
        Ok(())
    }

    /// Whether process `pid` was started by wstap.
    #[must_use]
    pub fn holds(&self, pid: u32) -> bool {
        self.held == Some(pid)
    }

    /// The target with this name, if there is one.
    #[must_use]
    pub fn target_named(&self, name: &str) -> Option<TargetId> {
        let index = self.names.iter().position(|known| **known == *name)?;
        u16::try_from(index).ok().map(TargetId)
    }

    fn target(&mut self, name: &str) -> Result<TargetId, Error> {
        if let Some(known) = self.target_named(name) {
            return Ok(known);
        }
        let next = u16::try_from(self.names.len());
        let next = next.map_err(|_| Error::Other("there are more than 65,535 targets".into()))?;
        self.names.push(name.into());
        Ok(TargetId(next))
    }

    /// The targets' names, in the order of their ids.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether processes bring their children along.
    #[must_use]
    pub fn children(&self) -> Children {
        self.children
    }

    /// Whether processes that do not exist yet may match.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.selectors.iter().any(|selector| selector.rule.is_open())
    }

    /// Whether processes that do not exist yet may match for this target: they may run in several
    /// places.
    #[must_use]
    pub fn is_open_for(&self, target: TargetId) -> bool {
        self.selectors.iter().any(|it| it.target == target && it.rule.is_open())
    }

    /// The processes that were given by pid.
    pub fn pids(&self) -> impl Iterator<Item = (u32, TargetId)> {
        self.selectors.iter().filter_map(|selector| match selector.rule {
            Rule::Pid(pid) => Some((pid, selector.target)),
            _ => None,
        })
    }

    /// Names that decide alone whether a process is selected, in the 15 bytes that the kernel
    /// keeps of them.
    pub fn comms(&self) -> impl Iterator<Item = (&[u8], TargetId)> {
        let decided = |selector: &&Selector| matches!(selector.rule, Rule::Pid(_) | Rule::Comm(_));
        self.selectors.iter().take_while(decided).filter_map(|selector| match &selector.rule {
            Rule::Comm(comm) => Some((kept_by_kernel(comm), selector.target)),
            _ => None,
        })
    }

    /// Whether a new process must be inspected because its name alone does not decide.
    #[must_use]
    pub fn is_undecided_by_comm(&self) -> bool {
        let open = self.selectors.iter().filter(|selector| selector.rule.is_open()).count();
        open > self.comms().count()
    }

    /// The target of the first selector that matches `process`.
    #[must_use]
    pub fn matching(&self, process: &Process) -> Option<TargetId> {
        let selector = self.selectors.iter().find(|selector| selector.matches(process))?;
        Some(selector.target)
    }
}

/// A thread that was given by its id means its process.
fn of_process(rule: Rule) -> Rule {
    match rule {
        Rule::Pid(id) => Rule::Pid(process::of_thread(id).unwrap_or(id)),
        rule => rule,
    }
}

fn default_name(rule: &Rule) -> Result<String, Error> {
    Ok(match rule {
        Rule::Pid(pid) => read(*pid)?.comm,
        Rule::Comm(comm) => comm.clone(),
        Rule::Exe(exe) => exe.as_str().to_owned(),
        Rule::Cgroup(cgroup) => cgroup.name().to_owned(),
    })
}

fn read(pid: u32) -> Result<Process, Error> {
    Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(comm: &str, exe: &str) -> Process {
        Process { pid: 7, parent: 1, comm: comm.into(), exe: Some(exe.into()), start_ticks: 1 }
    }

    fn selection(rules: Vec<Rule>) -> Selection {
        let wanted = rules.into_iter().map(Wanted::rule).collect();
        Selection::resolve(wanted, Children::Follow).expect("no pid to look up")
    }

    #[test]
    fn a_name_longer_than_the_kernel_keeps_matches_what_it_keeps() {
        let selection = selection(vec![Rule::Comm("a-name-of-more-than-15".into())]);
        assert!(selection.matching(&process("a-name-of-more-", "/x")).is_some());
        assert!(selection.matching(&process("a-name-of-more", "/x")).is_none());
    }

    #[test]
    fn an_exe_is_searched_for_the_pattern_and_the_first_selector_wins() {
        let exe = |pattern| Rule::Exe(Regex::new(pattern).unwrap());
        let selection = selection(vec![exe("^/opt/feed"), exe("feed$"), Rule::Comm("x".into())]);
        assert_eq!(selection.matching(&process("x", "/opt/feed")), Some(TargetId(0)));
        assert_eq!(selection.matching(&process("x", "/usr/feed")), Some(TargetId(1)));
        assert_eq!(selection.matching(&process("x", "/usr/y")), Some(TargetId(2)));
        assert_eq!(selection.matching(&process("y", "/usr/y")), None);
        assert_eq!(selection.names().len(), 3);
    }

    #[test]
    fn a_pid_means_the_process_that_has_it_now_and_none_that_gets_it_later() {
        let me = read(std::process::id()).unwrap();
        let selection = selection(vec![Rule::Pid(me.pid)]);
        let later = Process { start_ticks: me.start_ticks + 1, ..me.clone() };
        assert_eq!(selection.matching(&me), Some(TargetId(0)));
        assert_eq!(selection.matching(&later), None);
    }

    #[test]
    fn the_id_of_any_thread_means_its_process() {
        let (sender, thread_id) = std::sync::mpsc::channel();
        let (_end, ends) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = ends.recv();
        });
        let thread = thread_id.recv().unwrap().unsigned_abs();
        assert_ne!(thread, std::process::id());
        let pids: Vec<_> = selection(vec![Rule::Pid(thread)]).pids().map(|(pid, _)| pid).collect();
        assert_eq!(pids, [std::process::id()]);
    }

    #[test]
    fn rules_of_one_name_are_one_target() {
        let wanted = |rule| Wanted { name: Some("feed".into()), ..Wanted::rule(rule) };
        let rules = vec![wanted(Rule::Comm("a".into())), wanted(Rule::Comm("b".into()))];
        let selection = Selection::resolve(rules, Children::Leave).unwrap();
        assert_eq!(selection.names().len(), 1);
        assert_eq!(selection.matching(&process("b", "/x")), Some(TargetId(0)));
        assert!(selection.is_open());
    }
}
