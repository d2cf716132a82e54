//! Control groups for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A group of its own in any hierarchy that there is, removed at the end.
pub(crate) struct Group {
    folder: PathBuf,
}

impl Group {
    /// Tests run side by side, so each gives a name of its own. `None` where none can be made.
    pub(crate) fn new(name: &str) -> Option<Self> {
        Self::named(format!("wstap-test-{}-{name}", std::process::id()))
    }

    /// One that is called as container engines call theirs, and the id of the container.
    pub(crate) fn of_container(number: u32) -> Option<(Self, String)> {
        let id = format!("{:032x}{number:032x}", std::process::id());
        Some((Self::named(format!("docker-{id}.scope"))?, id))
    }

    fn named(name: String) -> Option<Self> {
        let hierarchies = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let folder = hierarchies.iter().find_map(|hierarchy| {
            let folder = Path::new(hierarchy).join(&name);
            fs::create_dir(&folder).ok().map(|()| folder)
        });
        if folder.is_none() {
            eprintln!("skipped: no control group can be made here");
        }
        Some(Self { folder: folder? })
    }

    pub(crate) fn name(&self) -> String {
        self.folder.file_name().expect("a name").to_string_lossy().into_owned()
    }

    /// What runs a program in it.
    pub(crate) fn command(&self, program: &Path, arguments: &str) -> Command {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec {} {arguments}",
            self.folder.display(),
            program.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
