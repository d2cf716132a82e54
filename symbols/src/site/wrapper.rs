//! Functions that hand their work to another one.
//!
//! A wrapper is proven by walking all its paths: each must return either a constant that is not
//! positive, or what one and the same callee produced, which got the wrapper's own arguments. The
//! two forms of an interface lead to the same callee and so confirm each other:
//!
//! - [`Form::Status`]: the callee's result is returned as it is (or made 0), and the pointer to the
//!   count is the wrapper's own argument, passed on;
//! - [`Form::Count`]: the callee gets the address of a local variable, and the wrapper returns that
//!   variable where the callee's result was positive.
//!
//! Either way the walk shows which of the callee's arguments points to the count.

use super::state::{Call, State};
use super::value::Value;
use super::walk::Walk;
use super::{Roles, Text};
use crate::plan::ArgIndex;

/// Longest chain of wrappers that is followed.
const MAX_DEPTH: usize = 3;

/// How a wrapper reports the number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It returns the number.
    Count,
    /// It returns a status, and stores the number through an argument.
    Status,
}

/// A function that does the work of a wrapper, and what its arguments mean. It always has the form
/// [`Form::Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Callee {
    pub(crate) address: u64,
    pub(crate) roles: Roles,
}

/// The functions that the one at `entry` leads to, the nearest first; none if it is no wrapper.
pub(crate) fn callees(
    text: &dyn Text,
    entry: u64,
    end: Option<u64>,
    roles: Roles,
    form: Form,
) -> Vec<Callee> {
    let mut chain: Vec<Callee> = Vec::new();
    let mut next = wrapped(text, entry, end, roles, form);
    while let Some(callee) = next {
        let repeated = callee.address == entry || chain.iter().any(|c| c.address == callee.address);
        if repeated || chain.len() == MAX_DEPTH {
            break;
        }
        chain.push(callee);
        next = wrapped(text, callee.address, None, callee.roles, Form::Status);
    }
    chain
}

/// Whether one function leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It jumps to the other or calls it.
    Yes,
    /// It does not, directly.
    No,
    /// Its code cannot be followed.
    Unknown,
}

/// Whether the function at `entry` itself jumps to or calls `target`.
pub(crate) fn reach(text: &dyn Text, entry: u64, end: Option<u64>, target: u64) -> Reach {
    let mut found = entry == target;
    let walked = Walk::new(text, entry, end)
        .targets(|address| found |= address == target || text.callee(address) == target);
    match (found, walked) {
        (true, _) => Reach::Yes,
        (false, Ok(())) => Reach::No,
        (false, Err(_)) => Reach::Unknown,
    }
}

/// What a path's return value says.
enum Outcome {
    /// Nothing passed.
    Nothing,
    /// What this callee says.
    Of(Callee),
    /// It cannot be told.
    Unknown,
}

fn wrapped(
    text: &dyn Text,
    entry: u64,
    end: Option<u64>,
    roles: Roles,
    form: Form,
) -> Option<Callee> {
    let mut found = None;
    let mut sound = true;
    let walk = Walk::new(text, entry, end);
    let walked = walk.paths(|state| match outcome(text, state, roles, form) {
        Outcome::Nothing => {}
        Outcome::Of(callee) => sound &= *found.get_or_insert(callee) == callee,
        Outcome::Unknown => sound = false,
    });
    found.filter(|_| sound && walked.is_ok())
}

fn outcome(text: &dyn Text, state: &State, roles: Roles, form: Form) -> Outcome {
    let callee = match (form, state.return_value()) {
        (_, Value::NotPositive) => return Outcome::Nothing,
        (Form::Count, Value::Count { call, arg }) => {
            state.call(call).and_then(|call| callee(text, call, roles, arg))
        }
        (Form::Status, Value::Result(call)) => state.call(call).and_then(|call| {
            let count = roles.count?.get();
            callee(text, call, roles, only(&call.arguments, |value| value == Value::Arg(count))?)
        }),
        _ => None,
    };
    callee.map_or(Outcome::Unknown, Outcome::Of)
}

/// The function called, if it got the connection, the buffer and the length.
fn callee(text: &dyn Text, call: &Call, roles: Roles, count: u8) -> Option<Callee> {
    let whole = |role: ArgIndex| {
        ArgIndex::new(only(&call.arguments, |value| value == Value::Arg(role.get()))?)
    };
    let length = |value| match value {
        Value::Arg(index) | Value::ArgLow(index) => index == roles.length.get(),
        _ => false,
    };
    Some(Callee {
        address: text.callee(call.target?),
        roles: Roles {
            handle: whole(roles.handle)?,
            buffer: whole(roles.buffer)?,
            length: ArgIndex::new(only(&call.arguments, length)?)?,
            count: Some(ArgIndex::new(count)?),
        },
    })
}

/// The index of the only argument that `wanted` accepts: with two, a guess would be needed.
fn only(arguments: &[Value; 6], wanted: impl Fn(Value) -> bool) -> Option<u8> {
    let mut found = (0_u8..).zip(arguments).filter(|(_, value)| wanted(**value));
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}
