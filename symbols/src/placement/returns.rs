//! How the end of a call is seen: at instructions where they are known, else by a return probe.

use crate::elf::Image;
use crate::error_messages::callers;
use crate::plan::{Action, Probe, Technique, TransferReturn};
use crate::site::{self, ReturnSite, UnknownReturns};

/// Where calls of a function return that only the image itself may call: behind the calls, if all
/// of them are known, or in the function.
pub(super) fn internal(
    image: &Image<'_>,
    entry: u64,
    end: Option<u64>,
) -> Result<Vec<ReturnSite>, UnknownReturns> {
    let behind = |calls: Vec<u64>| {
        calls.into_iter().map(|next| site::after_call(image, next, &[])).collect::<Option<Vec<_>>>()
    };
    match callers(image, entry).and_then(behind) {
        Some(sites) => Ok(sites),
        None => site::own_returns(image, entry, end),
    }
}

/// The probe at a function's entry, and those for its returns.
pub(super) fn attached(
    image: &Image<'_>,
    entered: &mut Probe,
    returns: Result<Vec<ReturnSite>, UnknownReturns>,
) -> Vec<Probe> {
    let probes = returns.and_then(|sites| {
        let probes = sites.iter().map(|site| probe(image, entered, site));
        probes.collect::<Option<Vec<Probe>>>().ok_or("it returns outside the image's code")
    });
    let mut probes = probes.unwrap_or_else(|why| {
        if let Action::Transfer(transfer) = &mut entered.action {
            transfer.return_probe = true;
        }
        entered.reason += "; its end is seen by a return probe, because ";
        entered.reason += why;
        Vec::new()
    });
    probes.push(entered.clone());
    probes
}

fn probe(image: &Image<'_>, entered: &Probe, site: &ReturnSite) -> Option<Probe> {
    let Action::Transfer(transfer) = entered.action else { return None };
    let (technique, how) = match site.emulated {
        Some(name) => (Technique::ReturnJump, format!("this {name}, which is emulated")),
        None => (Technique::Return, "this instruction, which is single-stepped".to_owned()),
    };
    let reason = match (site.condition, site.register) {
        (Some(_), _) => format!("it may return by way of {how}; the jump's condition tells"),
        (None, None) => format!("it returns by way of {how}, where it has failed"),
        (None, Some(_)) => format!("it returns by way of {how}"),
    };
    Some(Probe {
        covers: entered.covers.clone(),
        offset: image.code_offset(site.address)?,
        action: Action::TransferReturn(TransferReturn {
            direction: transfer.direction,
            result: transfer.result,
            register: site.register,
            distance: site.distance,
            condition: site.condition,
            is_shared: site.is_shared,
        }),
        technique,
        reason,
    })
}
