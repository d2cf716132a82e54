//! Probes on a process's own zlib, while a compressed connection of it waits for the plaintext
//! before its next message.

use super::supervise::Supervisor;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::planner::BRIEF;
use crate::capture::procfs::process;

impl Supervisor<'_, '_> {
    /// Places the probes on the zlib of process `pid`, or removes them. Where there is no zlib, or no
    /// power is left to attach, nothing is placed: then the decoder waits in vain, and says so.
    pub fn look_for_windows(&mut self, pid: u32, is_wanted: bool) {
        if !is_wanted {
            tracing::debug!("pid {pid}: zlib is left alone");
            return self.probes.leave_zlib(pid);
        }
        if self.members.get_mut(pid).is_none_or(|it| !it.up) {
            return;
        }
        if self.powers == Powers::None {
            tracing::warn!(
                "pid {pid}: its zlib cannot be asked for what compressed connections have said \
                 before, because no capability was kept; --keep-caps keeps them"
            );
            return;
        }
        let _raised = self.powers.raise();
        let Ok(mappings) = process::executable_files(pid) else { return };
        let mut found = 0;
        for mapping in mappings {
            let Ok(image) = self.planner.image(pid, &mapping, BRIEF) else { continue };
            let Some(zlib) = &image.plan.zlib else { continue };
            let (version, path) = (zlib.version.as_deref().unwrap_or("?"), image.path.display());
            if let Some(library) = zlib.refusal {
                tracing::warn!(
                    "pid {pid}: what its compressed connections have said before cannot be read \
                     from {path}: it is {library}, and wstap reads the state of zlib only"
                );
            }
            if zlib.probes.is_empty() {
                continue;
            }
            match self.probes.place_on_zlib(self.tap, &image, pid) {
                Ok(()) => {
                    found += 1;
                    tracing::debug!("pid {pid}: zlib {version} in {path} is looked at");
                }
                Err(error) => tracing::debug!("pid {pid}: {error}"),
            }
        }
        if found == 0 {
            tracing::debug!("pid {pid}: it has no zlib that could be looked at");
        }
    }
}
