//! From the functions found to the probes that cover them.
//!
//! Chooses between the sites that [`crate::site`] can prove, and writes down why.

mod read;
mod returns;
mod write;

use crate::elf::{Image, Machine};
use crate::plan::{Action, CallResult, Direction, Probe, SitePreference, Technique, Transfer};
use crate::search::Definition;
use crate::site::{self, Callee, Emulation, Form, Reach, ReturnSite, Roles, Text, TransferSite};
use crate::stacks::{Role, Scope};

impl Text for Image<'_> {
    fn bytes(&self, address: u64) -> Option<&[u8]> {
        self.code(address)
    }

    fn function_end(&self, address: u64) -> Option<u64> {
        self.next_function(address)
    }

    fn function_start(&self, address: u64) -> Option<u64> {
        Image::function_start(self, address)
    }

    fn callee(&self, target: u64) -> u64 {
        Image::callee(self, target)
    }

    fn step(&self) -> bool {
        Image::step(self)
    }
}

/// The probes that see every byte once, by rising offset; `None` if the kernel takes no probe on a function in which
/// bytes pass.
pub(crate) fn probes(
    image: &Image<'_>,
    definitions: &[Definition],
    preference: SitePreference,
) -> Option<Vec<Probe>> {
    let mut probes = Vec::new();
    for direction in [Direction::Received, Direction::Sent] {
        let movers = movers(image, definitions, direction);
        let below = match (strategy(image, preference), direction) {
            (Strategy::Symbols(_), _) => None,
            (Strategy::Prove, Direction::Received) => read::probes(image, definitions, &movers),
            (Strategy::Prove, Direction::Sent) => write::probes(image, definitions, &movers),
        };
        if let Some(found) = below {
            probes.extend(found);
            continue;
        }
        let at_internal = match strategy(image, preference) {
            Strategy::Prove => at_internal(image, definitions, &movers),
            Strategy::Symbols(_) => None,
        };
        let at_functions = || -> Option<Vec<Probe>> {
            let each = movers.iter().map(|mover| at_function(image, mover, preference));
            Some(each.collect::<Option<Vec<_>>>()?.concat())
        };
        // One probe for all is cheaper, but no return probe is safer.
        probes.extend(match at_internal {
            Some(found) if !found.iter().any(has_return_probe) => found,
            Some(found) => {
                at_functions().filter(|it| !it.iter().any(has_return_probe)).unwrap_or(found)
            }
            None => at_functions()?,
        });
    }
    for (role, action) in [(Role::Release, Action::Release), (Role::Handshake, Action::Handshake)] {
        let found = definitions.iter().filter(|definition| definition.row.role == role);
        probes.extend(found.filter_map(|it| at_release(image, it, action, preference)));
    }
    probes.sort_by_key(|probe| probe.offset);
    // Aliases: two names, one instruction, and the kernel would run the program twice.
    probes.dedup_by(|a, b| a.offset == b.offset && a.action == b.action);
    Some(probes)
}

fn has_return_probe(probe: &Probe) -> bool {
    matches!(probe.action, Action::Transfer(transfer) if transfer.return_probe)
}

/// What may be done to find a site.
enum Strategy {
    /// Follow the code.
    Prove,
    /// Take the symbols, for this reason.
    Symbols(&'static str),
}

impl Strategy {
    /// Why a probe is at the symbol.
    fn reason(self) -> &'static str {
        match self {
            Self::Prove => NOTHING_PROVEN,
            Self::Symbols(reason) => reason,
        }
    }
}

fn strategy(image: &Image<'_>, preference: SitePreference) -> Strategy {
    match (preference, image.machine()) {
        (SitePreference::Symbol, _) => Strategy::Symbols("symbols were asked for"),
        (SitePreference::Cheapest, Machine::X86_64) => Strategy::Prove,
        (SitePreference::Cheapest, _) => Strategy::Symbols(NO_RULES),
    }
}

/// An exported function that moves plaintext.
struct Mover {
    definition: Definition,
    transfer: Transfer,
    /// Its name, and those of the functions that do their work by calling it.
    covers: Vec<&'static str>,
}

impl Mover {
    fn entry(&self) -> u64 {
        self.definition.function.address
    }

    fn end(&self) -> Option<u64> {
        self.definition.function.end()
    }

    /// The functions that it hands its work to.
    fn callees(&self, image: &Image<'_>) -> Vec<Callee> {
        let Transfer { result, .. } = self.transfer;
        site::callees(image, self.entry(), self.end(), roles(self.transfer), form(result))
    }
}

/// The functions of one direction, without those that only call another one.
///
/// In some libraries one form of a function calls the other (LibreSSL's and AWS-LC's `SSL_read_ex`
/// calls `SSL_read`); with probes at both, every byte would be seen twice.
fn movers(image: &Image<'_>, definitions: &[Definition], direction: Direction) -> Vec<Mover> {
    let mut movers: Vec<Mover> = definitions
        .iter()
        .filter_map(|&definition| match definition.row.role {
            Role::Transfer(transfer) if transfer.direction == direction => {
                Some(Mover { definition, transfer, covers: vec![definition.row.name] })
            }
            _ => None,
        })
        .collect();
    if image.machine() != Machine::X86_64 {
        return movers;
    }
    let calls = |outer: &Mover, inner: &Mover| {
        outer.entry() != inner.entry()
            && site::reach(image, outer.entry(), outer.end(), inner.entry()) == Reach::Yes
    };
    let mut at = 0;
    while let Some(outer) = movers.get(at) {
        let Some(inner) = movers.iter().position(|inner| calls(outer, inner)) else {
            at += 1;
            continue;
        };
        let covers = movers[at].covers.clone();
        movers[inner].covers.extend(covers);
        movers.remove(at);
    }
    movers
}

/// One probe at the internal function to which all of `movers` hand their work.
///
/// For OpenSSL this is `ssl_read_internal` or `ssl_write_internal`, and nothing is lost or added by
/// it. The walk proves that SSL_read and SSL_write report bytes only when that function did; what
/// it does inside (hand over to the protocol's method, to an asynchronous job on a stack of its
/// own, since 3.2 to QUIC) happens before it returns on the caller's stack. Others that call it
/// move plaintext as well: early data, `SSL_write_ex2`, and the filter BIO.
fn at_internal(
    image: &Image<'_>,
    definitions: &[Definition],
    movers: &[Mover],
) -> Option<Vec<Probe>> {
    let (first, others) = movers.split_first()?;
    let other_callees: Vec<_> = others.iter().map(|mover| mover.callees(image)).collect();
    let callee = first.callees(image).into_iter().find(|callee| {
        other_callees.iter().all(|callees| callees.contains(callee))
            && is_confirmed(image, movers, callee)
            && !may_peek(image, definitions, callee)
    })?;
    let site = site::transfer_site(image, callee.address, None, callee.roles)?;
    let covers: Vec<_> = movers.iter().flat_map(|mover| &mover.covers).copied().collect();
    let verb = if covers.len() == 1 { "hands its" } else { "hand their" };
    let reason = format!(
        "{} {verb} arguments on to the function at {:#x} in the file, which reaches a {} that the \
         kernel emulates",
        covers.join(" and "),
        image.code_offset(callee.address)?,
        site.emulation.name()
    );
    let returns = returns::internal(image, callee.address, None);
    let mut probe =
        transfer_probe(image, covers, first.transfer, &site, Technique::Internal, reason)?;
    Some(returns::attached(image, &mut probe, returns))
}

/// Whether there are two proofs of what the callee's arguments mean. The wrapper that returns a
/// count is one; the other is a wrapper that returns the status, or what the callee itself does
/// with the pointer to the count.
fn is_confirmed(image: &Image<'_>, movers: &[Mover], callee: &Callee) -> bool {
    movers.iter().any(|mover| form(mover.transfer.result) == Form::Status)
        || site::count_argument(image, callee.address) == callee.roles.count
}

/// Whether a peek may lead to `callee`: what it shows comes again with the next read.
fn may_peek(image: &Image<'_>, definitions: &[Definition], callee: &Callee) -> bool {
    definitions.iter().any(|&definition| {
        let Role::Peek(transfer) = definition.row.role else { return false };
        let peek = Mover { definition, transfer, covers: Vec::new() };
        let inner = peek.callees(image).into_iter().map(|inner| (inner.address, None));
        let mut steps = inner.chain([(peek.entry(), peek.end())]);
        steps.any(|(entry, end)| site::reach(image, entry, end, callee.address) != Reach::No)
    })
}

/// The cheapest site in the exported function itself; `None` where the kernel takes no probe on it that would see
/// each call once.
fn at_function(image: &Image<'_>, mover: &Mover, preference: SitePreference) -> Option<Vec<Probe>> {
    let (mut entered, stack_change) = entered(image, mover, preference)?;
    let Mover { definition, .. } = mover;
    let returns = match (image.machine(), definition.row.scope) {
        (Machine::X86_64, Scope::Exported) => site::own_returns(image, mover.entry(), mover.end()),
        (Machine::X86_64, Scope::Internal) => returns::internal(image, mover.entry(), mover.end()),
        _ => Err(NO_RULES),
    };
    if stack_change == 0 {
        return Some(returns::attached(image, &mut entered, returns));
    }
    // A return probe would take something else for the return address.
    let from_there = |site: ReturnSite| {
        Some(ReturnSite { distance: site.distance.checked_sub(stack_change)?, ..site })
    };
    let returns = returns.ok()?.into_iter().map(from_there).collect::<Option<Vec<_>>>()?;
    Some(returns::attached(image, &mut entered, Ok(returns)))
}

/// The probe at the entry of an exported function, and how far the stack pointer is above the one at entry there,
/// in bytes.
fn entered(image: &Image<'_>, mover: &Mover, preference: SitePreference) -> Option<(Probe, i32)> {
    let Mover { definition, transfer, covers } = mover;
    let (entry, end) = (mover.entry(), mover.end());
    let site = match strategy(image, preference) {
        Strategy::Symbols(_) => None,
        Strategy::Prove => site::transfer_site(image, entry, end, roles(*transfer)),
    };
    if let Some(site) = site {
        let (technique, reason) = chosen(definition, site.address, site.emulation.name());
        let probe = transfer_probe(image, covers.clone(), *transfer, &site, technique, reason);
        return probe.map(|probe| (probe, site.stack_change));
    }
    if takes_probe(image, entry) {
        let reason = strategy(image, preference).reason();
        let action = Action::Transfer(*transfer);
        let probe = at_symbol(image, definition, covers.clone(), action, reason);
        return probe.map(|probe| (probe, 0));
    }
    let site = site::later_transfer_site(image, entry, end, roles(*transfer))?;
    let (technique, reason) = later(definition, site.address, site.emulation);
    let probe = transfer_probe(image, covers.clone(), *transfer, &site, technique, reason)?;
    Some((probe, site.stack_change))
}

/// Whether the kernel takes a probe there, as far as is known.
pub(crate) fn takes_probe(image: &Image<'_>, address: u64) -> bool {
    image.machine() != Machine::X86_64 || site::takes_probe_at(image, address)
}

/// The probe on a function that ends connections; `None` where the kernel takes none on it. Plaintext is seen all
/// the same.
fn at_release(
    image: &Image<'_>,
    definition: &Definition,
    action: Action,
    preference: SitePreference,
) -> Option<Probe> {
    let covers = vec![definition.row.name];
    let (entry, end) = (definition.function.address, definition.function.end());
    let site = match strategy(image, preference) {
        Strategy::Symbols(_) => None,
        Strategy::Prove => site::release_site(image, entry, end),
    };
    let (site, (technique, reason)) = match site {
        Some(site) => (site, chosen(definition, site.address, site.emulation.name())),
        None if takes_probe(image, entry) => {
            let reason = strategy(image, preference).reason();
            return at_symbol(image, definition, covers, action, reason);
        }
        None => {
            let site = site::later_release_site(image, entry, end)?;
            (site, later(definition, site.address, site.emulation))
        }
    };
    let offset = image.code_offset(site.address)?;
    Some(Probe { covers, offset, action, technique, reason })
}

const NO_RULES: &str = "there are no rules for this machine's instructions";
const NOTHING_PROVEN: &str = "no cheaper site could be proven";

fn at_symbol(
    image: &Image<'_>,
    definition: &Definition,
    covers: Vec<&'static str>,
    action: Action,
    reason: &str,
) -> Option<Probe> {
    Some(Probe {
        covers,
        offset: image.code_offset(definition.function.address)?,
        action,
        technique: technique(definition, definition.function.address),
        reason: reason.to_owned(),
    })
}

/// What to say of an emulated instruction at `site` in a function.
fn chosen(definition: &Definition, site: u64, instruction: &str) -> (Technique, String) {
    let reason = match site.saturating_sub(definition.function.address) {
        0 => format!("its first instruction is a {instruction}: emulated"),
        into => format!("the kernel emulates the {instruction} at +{into}"),
    };
    (technique(definition, site), reason)
}

/// What to say of an instruction at `site` in a function whose first one takes no probe.
fn later(definition: &Definition, site: u64, emulation: Emulation) -> (Technique, String) {
    let how = match emulation {
        Emulation::Stepped => "single-stepped",
        _ => "emulated",
    };
    let reason = format!(
        "the kernel takes no probe on the first instruction; every call passes the {} at +{}, which is {how}",
        emulation.name(),
        site.saturating_sub(definition.function.address),
    );
    (technique(definition, site), reason)
}

fn technique(definition: &Definition, site: u64) -> Technique {
    match definition.row.scope {
        Scope::Internal => Technique::Internal,
        Scope::Exported if site == definition.function.address => Technique::Symbol,
        Scope::Exported => Technique::Prologue,
    }
}

fn transfer_probe(
    image: &Image<'_>,
    covers: Vec<&'static str>,
    transfer: Transfer,
    site: &TransferSite,
    technique: Technique,
    reason: String,
) -> Option<Probe> {
    let Roles { handle, buffer, length, count } = site.roles;
    let result = count.map_or(transfer.result, |count| CallResult::Status { count });
    let Transfer { direction, passes_all_of_few, handles, return_probe, .. } = transfer;
    Some(Probe {
        covers,
        offset: image.code_offset(site.address)?,
        action: Action::Transfer(Transfer {
            direction,
            handle,
            buffer,
            length,
            result,
            passes_all_of_few,
            handles,
            return_probe,
        }),
        technique,
        reason,
    })
}

fn roles(transfer: Transfer) -> Roles {
    Roles {
        handle: transfer.handle,
        buffer: transfer.buffer,
        length: transfer.length,
        count: match transfer.result {
            CallResult::Count | CallResult::LongCount => None,
            CallResult::Status { count } => Some(count),
        },
    }
}

fn form(result: CallResult) -> Form {
    match result {
        CallResult::Count | CallResult::LongCount => Form::Count,
        CallResult::Status { .. } => Form::Status,
    }
}
