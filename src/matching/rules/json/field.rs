//! The fields that a scan of JSON text reports, and the [`Sink`] that takes them.

use super::slots::{Slot, Slots};

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum JsonType {
    String,
    Number,
    Bool,
    Null,
    Object,
    Array,
}

impl JsonType {
    /// All, in index order.
    pub(super) const ALL: [Self; 6] =
        [Self::String, Self::Number, Self::Bool, Self::Null, Self::Object, Self::Array];
}

/// A value that was found.
#[derive(Clone, Copy, Debug)]
pub(in crate::matching::rules) struct Field<'a> {
    pub(in crate::matching::rules) json_type: JsonType,
    /// The value as it stands in the text, quotes included. Of an object or an array, and of a
    /// field of which only the presence is wanted, everything from its first byte on.
    pub(in crate::matching::rules) raw: &'a [u8],
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum Next {
    /// Look further.
    Continue,
    /// Enough is known.
    Stop,
}

/// Who wants the fields.
pub(in crate::matching::rules) trait Sink<'a> {
    /// The field is there. Told once per occurrence of a key; where a document repeats a key, the
    /// first counts.
    fn present(&mut self, slot: Slot, field: Field<'a>) -> Next;

    /// Of these, the ones that were not told before are not in the document.
    fn absent(&mut self, slots: Slots) -> Next;
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum End {
    /// The sink knew enough, having seen this many bytes of the text: whatever follows them would
    /// not have changed it.
    Stopped(usize),
    /// The document was read to its end.
    Complete,
    /// The text ended inside the document.
    Cut,
    /// Not a JSON object or array, or not well-formed where it was looked at.
    Malformed,
    /// What the document says is written in a way that is not read.
    Unreadable,
}
