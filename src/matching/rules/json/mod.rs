//! JSON messages: where the wanted fields stand in a text, and which rule they make hold.

pub(super) mod field;
pub(super) mod found;
pub(super) mod path;
pub(super) mod rules;
pub(super) mod scan;
pub(super) mod slots;
mod tail;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod token;
pub(super) mod wanted;
