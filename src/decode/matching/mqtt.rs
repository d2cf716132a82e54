//! MQTT.
use super::rules::{Reading, Text};

/// Names of the queues.
pub(super) const QUEUES: [&str; 0] = [];

/// What is kept from message to message.
#[derive(Debug, Default)]
pub(super) struct Stream {}

impl Stream {
    pub(super) fn lose(&mut self, _direction: crate::decode::event::Direction) {}
    pub(super) fn read(&mut self, _text: Text<'_>, _found: &mut dyn FnMut(Reading<'_>)) {}
}
