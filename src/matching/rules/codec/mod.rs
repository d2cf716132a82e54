//! Protocols that rules cannot read: streams of bytes in which a message may be cut anywhere, and whose
//! meaning depends on what was said before.
//!
//! `mqtt` and `amqp` each read one. [`Memory`] is what they keep of a connection.

pub(super) mod amqp;
pub(super) mod mqtt;

use crate::event::Direction;

/// What the decoders keep of a connection from message to message; nothing until one has read a message.
#[derive(Debug, Default)]
pub(in crate::matching) struct Memory(Option<Box<Kept>>);

/// A connection speaks one of them; of the other nothing is kept that takes memory of its own.
#[derive(Debug, Default)]
struct Kept {
    mqtt: mqtt::Stream,
    amqp: amqp::Stream,
}

impl Memory {
    pub(super) fn mqtt(&mut self) -> &mut mqtt::Stream {
        &mut self.0.get_or_insert_default().mqtt
    }

    pub(super) fn amqp(&mut self) -> &mut amqp::Stream {
        &mut self.0.get_or_insert_default().amqp
    }

    /// Bytes of this direction are missing.
    pub(in crate::matching) fn lose(&mut self, direction: Direction) {
        if let Some(kept) = &mut self.0 {
            kept.mqtt.lose(direction);
            kept.amqp.lose(direction);
        }
    }
}
