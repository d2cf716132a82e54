//! What is probably wrong with rules: the language allows it, and nobody can mean it.
//!
//! `shadow` and `quotes` look at rules when they are loaded; `watch` looks at what they find in
//! messages. Built-in rules are only looked at by tests. What is said goes to people with the file and
//! the key; nothing is refused.

mod doubt;
mod quotes;
mod shadow;
#[cfg(test)]
mod tests;
mod watch;

pub(in crate::matching) use doubt::Doubt;
pub(super) use doubt::Placed;
pub(super) use watch::Watch;

/// What is probably wrong with the rules of a protocol, and what will tell more.
#[derive(Debug)]
pub(in crate::matching) struct Advice {
    pub(super) doubts: Vec<Doubt>,
    pub(super) watch: Watch,
}

/// What is probably wrong with these rules.
pub(super) fn doubts(rules: &Placed<'_>) -> Vec<Doubt> {
    let mut doubts = shadow::doubts(rules);
    doubts.extend(quotes::doubt(rules));
    doubts
}
