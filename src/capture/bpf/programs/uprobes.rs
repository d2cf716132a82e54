//! The programs on functions of TLS libraries: which one belongs to which action of a probe plan, and
//! with which attach cookie.

use libbpf_rs::{OpenProgramMut, ProgramAttachType, ProgramMut};
use wstap_symbols::{Action, Handles, Library, Plan, Probe};

use crate::capture::bpf::settings::Flavour;
use crate::capture::bpf::skeleton::{OpenTracerProgs, TracerProgs};
use crate::capture::bpf::wire;

/// `include/uapi/linux/bpf.h`
const BPF_F_SLEEPABLE: u32 = 1 << 4;

/// Writes what follows from the table below. A program is one row of it: its name in `bpf/`, and the
/// actions that it serves, each with its cookie. `release` is the cookie of a function that ends
/// connections of the library at hand.
macro_rules! programs {
    ($release:ident; $($name:ident { $($action:pat => $cookie:expr),* $(,)? })+) => {
        /// The programs, in the order in which they are attached.
        #[expect(non_camel_case_types, reason = "they have the names that bpf/ gives them")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::capture::bpf) enum Uprobe {
            $($name),+
        }

        impl Uprobe {
            const ALL: &[Self] = &[$(Self::$name),+];

            fn opened<'a, 'obj>(
                self,
                progs: &'a mut OpenTracerProgs<'obj>,
            ) -> &'a mut OpenProgramMut<'obj> {
                match self { $(Self::$name => &mut progs.$name),+ }
            }

            /// The program, once it is loaded.
            pub(in crate::capture::bpf) fn loaded<'a, 'obj>(
                self,
                progs: &'a TracerProgs<'obj>,
            ) -> &'a ProgramMut<'obj> {
                match self { $(Self::$name => &progs.$name),+ }
            }

            /// The program of an action, and the attach cookie.
            fn of(action: &Action, $release: u64) -> (Self, u64) {
                match action { $($($action => (Self::$name, $cookie),)*)+ }
            }
        }
    };
}

// Returns come before entries: a return without its entry is ignored, but an entry whose return is
// not yet probed would be kept as a call in flight.
programs! { release;
    // The only return probe. It goes with `tap_entry`, to the same function.
    tap_return {}
    tap_return_site { Action::TransferReturn(site) => wire::return_cookie(site) }
    tap_read { Action::Read(read) => wire::read_cookie(read) }
    tap_entry { Action::Transfer(transfer) => wire::transfer_cookie(transfer) }
    tap_release {
        Action::Release => release,
        Action::Handshake => wire::HANDSHAKE_COOKIE,
    }
    go_return { Action::GoReturn(direction) => wire::direction_cookie(*direction) }
    go_enter { Action::GoEnter(direction) => wire::direction_cookie(*direction) }
    go_release { Action::GoRelease => wire::NO_COOKIE }
    rustls_sent { Action::RustlsSent => wire::NO_COOKIE }
    rustls_send { Action::RustlsSend(identity) => identity.offset.into() }
    rustls_write { Action::RustlsWrite(identity) => identity.offset.into() }
    rustls_read_done { Action::RustlsReadDone => wire::NO_COOKIE }
    // The kernel side adds the cookie to an address, so a negative distance wraps.
    rustls_read { Action::RustlsRead(distance) => i64::from(distance.bytes).cast_unsigned() }
    rustls_received { Action::RustlsReceived(identity) => identity.offset.into() }
    rustls_release { Action::RustlsRelease(identity) => identity.offset.into() }
    // On zlib, which is no TLS library: see `Tap::attach_zlib`.
    zlib_call {}
}

/// Prepares all programs on functions for loading.
pub(in crate::capture::bpf) fn prepare(progs: &mut OpenTracerProgs<'_>, flavour: Flavour) {
    for uprobe in Uprobe::ALL {
        let program = uprobe.opened(progs);
        if flavour.multi {
            program.set_attach_type(ProgramAttachType::TraceUprobeMulti);
        }
        if flavour.sleepable {
            program.set_flags(BPF_F_SLEEPABLE);
        }
    }
    // It is on the dynamic loader, and reads no memory that could be paged out.
    if flavour.multi {
        progs.loader_changed.set_attach_type(ProgramAttachType::TraceUprobeMulti);
    }
}

/// A place in a file, and the attach cookie of the program there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture::bpf) struct Site {
    /// File offset, bytes.
    pub(in crate::capture::bpf) offset: u64,
    pub(in crate::capture::bpf) cookie: u64,
}

/// The sites of one program in one file.
#[derive(Debug)]
pub(in crate::capture::bpf) struct Placement {
    pub(in crate::capture::bpf) uprobe: Uprobe,
    pub(in crate::capture::bpf) sites: Vec<Site>,
}

impl Placement {
    /// Where the programs go in an image with this plan, in the order in which they are to be
    /// attached. Some have no site.
    pub(in crate::capture::bpf) fn all(plan: &Plan) -> Vec<Self> {
        let none = |&uprobe| Self { uprobe, sites: Vec::new() };
        let mut all: Vec<Self> = Uprobe::ALL.iter().map(none).collect();
        for library in &plan.libraries {
            let release = release_cookie(library);
            for Probe { offset, action, .. } in &library.probes {
                let (uprobe, cookie) = Uprobe::of(action, release);
                let site = Site { offset: *offset, cookie };
                all[uprobe as usize].sites.push(site);
                if needs_return_probe(action) {
                    all[Uprobe::tap_return as usize].sites.push(site);
                }
            }
        }
        all
    }

    /// Whether the program runs when the function returns, and not when it is entered.
    pub(in crate::capture::bpf) fn is_at_return(&self) -> bool {
        self.uprobe == Uprobe::tap_return
    }
}

fn needs_return_probe(action: &Action) -> bool {
    matches!(action, Action::Transfer(transfer) if transfer.return_probe)
}

/// Functions of one library take the same kind of handle.
fn release_cookie(library: &Library) -> u64 {
    let has_layers = |probe: &Probe| matches!(&probe.action, Action::Transfer(transfer) if transfer.handles == Handles::Layers);
    if library.probes.iter().any(has_layers) { wire::LAYERS_COOKIE } else { wire::NO_COOKIE }
}
