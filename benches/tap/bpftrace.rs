//! What one would type without wstap: a bpftrace script that counts the calls and their bytes at
//! the exported symbols.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use wstap::capture::procfs::planner::Planner;
use wstap::capture::procfs::target::Target;
use wstap_symbols::Library;

/// A running script.
pub(crate) struct Bpftrace {
    child: Child,
}

impl Bpftrace {
    /// Counts in process `pid`; `None` without bpftrace.
    pub(crate) fn attach(pid: u32) -> Option<Self> {
        Command::new("bpftrace").arg("--version").output().ok()?;
        let target = Target::resolve(&mut Planner::default(), Default::default(), pid).unwrap();
        let has_probes = |library: &Library| !library.probes.is_empty();
        let image = target.images.iter().find(|image| image.plan.libraries.iter().any(has_probes));
        let image = image.expect("a library");
        let file = image.attach_path.display();
        let count = |function: &str| {
            format!(
                "uprobe:{file}:{function} {{ @calls[probe] = count(); }} \
                 uretprobe:{file}:{function} {{ @bytes[probe] = sum(retval); }} "
            )
        };
        let functions = ["SSL_write", "SSL_write_ex", "SSL_read", "SSL_read_ex"];
        let mut script: String = functions.map(count).concat();
        // Probes are attached in order.
        script += "interval:ms:10 { if (!@ready) { printf(\"ready\\n\"); @ready = 1; } }";
        let mut child = Command::new("bpftrace")
            .args(["-B", "line", "-p", &pid.to_string(), "-e", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.any(|line| line.is_ok_and(|line| line == "ready"));
        assert!(ready, "bpftrace attaches");
        Some(Self { child })
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
