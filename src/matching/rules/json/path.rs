//! Paths into a JSON document, as rules write them: `$.id`, `$[1]`, `$.d.requestId`, `$.subs[*]`.

use thiserror::Error;

/// Deepest path that a rule may ask for. The scan keeps no stack beyond it.
pub(in crate::matching::rules) const MAX_DEPTH: usize = 3;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum Step {
    /// Into an object, by key (unescaped).
    Key(Box<str>),
    /// Into an array, by position from 0.
    Index(u32),
}

/// Where in a document a field stands: one to [`MAX_DEPTH`] steps from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) struct Path {
    /// From the top down; never empty.
    pub(in crate::matching::rules) steps: Vec<Step>,
    /// Ended in `[*]`: the path names an array, and each of its elements is meant.
    pub(in crate::matching::rules) each: bool,
}

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(in crate::matching::rules) enum PathError {
    #[error("a path begins with $")]
    NoRoot,
    #[error("a path names at least one field, as in $.id or $[1]")]
    Empty,
    #[error("expected .name or [index] after each step")]
    Step,
    #[error("a name between dots may not be empty")]
    EmptyName,
    #[error("an index is a number from 0 to 65535")]
    Index,
    #[error("a path has at most {MAX_DEPTH} steps")]
    TooDeep,
    #[error("[*] stands only at the end of a path")]
    EachInside,
}

impl Path {
    /// Reads a path such as `$.d.requestId`.
    pub(in crate::matching::rules) fn parse(text: &str) -> Result<Self, PathError> {
        let mut rest = text.strip_prefix('$').ok_or(PathError::NoRoot)?;
        let mut path = Self { steps: Vec::new(), each: false };
        while !rest.is_empty() {
            if path.each {
                return Err(PathError::EachInside);
            }
            rest = path.step(rest)?;
        }
        match path.steps.len() {
            0 => Err(PathError::Empty),
            1..=MAX_DEPTH => Ok(path),
            _ => Err(PathError::TooDeep),
        }
    }

    /// Takes one step off the front of `text` and returns what follows it.
    fn step<'t>(&mut self, text: &'t str) -> Result<&'t str, PathError> {
        if let Some(name) = text.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, rest) = name.split_at(end);
            if name.is_empty() {
                return Err(PathError::EmptyName);
            }
            self.steps.push(Step::Key(name.into()));
            return Ok(rest);
        }
        let (index, rest) = text
            .strip_prefix('[')
            .and_then(|inside| inside.split_once(']'))
            .ok_or(PathError::Step)?;
        if index == "*" {
            self.each = true;
            return Ok(rest);
        }
        let index: u16 = index.parse().map_err(|_| PathError::Index)?;
        self.steps.push(Step::Index(u32::from(index)));
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    #[test]
    fn keys_and_indexes_mix() {
        let path = Path::parse("$.args[0].channel").unwrap();
        assert_eq!(path.steps, [key("args"), Step::Index(0), key("channel")]);
        assert_eq!(Path::parse("$[1]").unwrap().steps, [Step::Index(1)]);
    }

    #[test]
    fn a_trailing_star_means_each_element() {
        let path = Path::parse("$.subs[*]").unwrap();
        assert!(path.each);
        assert_eq!(path.steps, [key("subs")]);
    }

    #[test]
    fn a_mistake_is_named() {
        let error = |text| Path::parse(text).unwrap_err();
        assert_eq!(error("id"), PathError::NoRoot);
        assert_eq!(error("$"), PathError::Empty);
        assert_eq!(error("$[*]"), PathError::Empty);
        assert_eq!(error("$id"), PathError::Step);
        assert_eq!(error("$[1"), PathError::Step);
        assert_eq!(error("$..id"), PathError::EmptyName);
        assert_eq!(error("$[-1]"), PathError::Index);
        assert_eq!(error("$[65536]"), PathError::Index);
        assert_eq!(error("$.a.b.c.d"), PathError::TooDeep);
        assert_eq!(error("$.a[*].b"), PathError::EachInside);
    }
}
