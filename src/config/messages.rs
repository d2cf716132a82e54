//! What is meant by the flags that choose among lines.

use crate::cli::messages::{DirectionArg, FilterArgs, OpcodeArg};
use crate::event::Direction;
use crate::observation::Opcode;
use crate::views::messages::Filter;

/// The filter that was asked for.
#[must_use]
pub fn filter(args: &FilterArgs) -> Filter {
    Filter {
        methods: args.methods.clone(),
        slow: args.slow.map(|slow| slow.0),
        errors: args.errors,
        connections: args.conns.iter().map(|conn| (conn.pid, conn.number)).collect(),
        opcodes: args.opcodes.iter().map(|&it| opcode(it)).collect(),
        direction: args.direction.map(direction),
    }
}

fn opcode(arg: OpcodeArg) -> Opcode {
    match arg {
        OpcodeArg::Text => Opcode::Text,
        OpcodeArg::Binary => Opcode::Binary,
        OpcodeArg::Continuation => Opcode::Continuation,
        OpcodeArg::Close => Opcode::Close,
        OpcodeArg::Ping => Opcode::Ping,
        OpcodeArg::Pong => Opcode::Pong,
        OpcodeArg::Reserved => Opcode::Reserved,
    }
}

fn direction(arg: DirectionArg) -> Direction {
    match arg {
        DirectionArg::Sent => Direction::Sent,
        DirectionArg::Received => Direction::Received,
    }
}
