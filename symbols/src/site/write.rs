//! The function in OpenSSL through which every write of a TLS connection goes.
//!
//! `ssl3_write(s, buf, len, written)` in ssl/s3_lib.c ends by calling a method of the protocol with
//! what it was given: `s->method->ssl_write_bytes(s, 23, buf, len, written)`. It is itself a method:
//! what applications call (`SSL_write`, `SSL_write_ex`) hands its arguments on to
//! `s->method->ssl_write(s, buf, len, written)`. Which functions the methods are stands in the tables
//! of the image, where [`crate::placement`] looks.

use iced_x86::{FlowControl, Instruction};

use super::Text;
use super::state::State;
use super::value::{Method, Value};
use super::walk::Walk;

/// The method to which the function at `entry` hands a write, if it is the one through which all
/// writes go.
pub(crate) fn writer(text: &impl Text, entry: u64) -> Option<Method> {
    let mut found = Vec::new();
    let walked = Walk::new(text, entry, None).instructions(|instruction, state| {
        found.extend(called_method(instruction, state).filter(|_| hands_on_write(state)));
    });
    found.sort_unstable();
    found.dedup();
    walked.ok()?;
    (found.len() == 1).then(|| found.pop())?
}

/// The first four arguments come from those of `ssl3_write`, behind the type of the record.
fn hands_on_write(state: &State) -> bool {
    matches!(
        state.arguments(),
        [Value::Arg(0), Value::Unknown, Value::Arg(1), Value::Arg(2), Value::Arg(3), _]
    )
}

/// The methods of its first argument to which the function at `entry` hands its first three
/// arguments as they are.
pub(crate) fn handed_on(text: &impl Text, entry: u64, end: Option<u64>) -> Vec<Method> {
    let mut found = Vec::new();
    // What was found before the code could not be followed any more is true as well.
    let _ = Walk::new(text, entry, end).instructions(|instruction, state| {
        let is_handed = matches!(
            state.arguments(),
            [Value::Arg(0), Value::Arg(1), Value::Arg(2) | Value::ArgLow(2), ..]
        );
        found.extend(called_method(instruction, state).filter(|_| is_handed));
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// The method that this instruction calls, or jumps to with the stack as it was at entry.
fn called_method(instruction: &Instruction, state: &State) -> Option<Method> {
    let is_call = match instruction.flow_control() {
        FlowControl::IndirectCall => true,
        FlowControl::IndirectBranch => state.stack_is_as_at_entry(),
        _ => false,
    };
    is_call.then(|| state.method(instruction))?
}
