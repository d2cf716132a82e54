//! A whole message of a binary encoding as the JSON text that rules would see in it.
//!
//! It is for whoever looks for rules: to read a message by rules, nothing is written but what they ask for.

use super::head::{Format, Head, Scalar};
use super::token::write_scalar;

/// Deepest nesting that is written.
const MAX_DEPTH: usize = 32;

/// The JSON text of `bytes`, if they are one array or map and nothing else.
pub(super) fn as_json<F: Format>(bytes: &[u8]) -> Option<Vec<u8>> {
    let out = Vec::with_capacity(2 * bytes.len());
    let mut writer = Writer { bytes, at: F::front(bytes).ok()?, out };
    let head = writer.head::<F>()?;
    if matches!(head, Head::Scalar(_) | Head::Text(_) | Head::Bytes(_)) {
        return None;
    }
    writer.value::<F>(head, 0)?;
    (writer.at == bytes.len()).then_some(writer.out)
}

struct Writer<'a> {
    bytes: &'a [u8],
    /// Bytes that were read.
    at: usize,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// Writes the value that begins with `head`, which has `depth` others around it.
    fn value<F: Format>(&mut self, head: Head, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match head {
            // JSON has no word for them.
            Head::Scalar(Scalar::Float(number)) if !number.is_finite() => {
                self.out.extend_from_slice(b"null");
            }
            Head::Scalar(scalar) => write_scalar(scalar, &mut self.out).ok()?,
            Head::Text(length) => {
                let text = self.text::<F>(length)?;
                self.quoted(&text)?;
            }
            Head::Bytes(length) => {
                let bytes = self.text::<F>(length)?;
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                self.quoted(digits.as_bytes())?;
            }
            Head::Array(count) => self.array::<F>(count, depth)?,
            Head::List(count) => {
                self.array::<F>(Some(count), depth)?;
                // What ends it is not part of it.
                let (end, written) = (self.head::<F>()?, self.out.len());
                self.value::<F>(end, depth + 1)?;
                self.out.truncate(written);
            }
            Head::Octets(count) => {
                let numbers: Vec<u8> = self.take(count)?.to_vec();
                serde_json::to_writer(&mut self.out, &numbers).ok()?;
            }
            Head::Map(count) => self.map::<F>(count, depth)?,
            Head::Tag | Head::Break => return None,
        }
        Some(())
    }

    fn array<F: Format>(&mut self, count: Option<u64>, depth: usize) -> Option<()> {
        self.enclosed::<F>(count, *b"[]", |writer, head| writer.value::<F>(head, depth + 1))
    }

    fn map<F: Format>(&mut self, count: Option<u64>, depth: usize) -> Option<()> {
        self.enclosed::<F>(count, *b"{}", |writer, head| {
            writer.key::<F>(head)?;
            writer.out.push(b':');
            let value = writer.head::<F>()?;
            writer.value::<F>(value, depth + 1)
        })
    }

    fn key<F: Format>(&mut self, head: Head) -> Option<()> {
        match head {
            Head::Text(length) => {
                let text = self.text::<F>(length)?;
                self.quoted(&text)
            }
            // A path writes a number as it writes a name.
            Head::Scalar(Scalar::Unsigned(number)) => self.quoted(number.to_string().as_bytes()),
            _ => None,
        }
    }

    /// Writes `count` elements between brackets. `write` gets the first head of each.
    fn enclosed<F: Format>(
        &mut self,
        count: Option<u64>,
        [open, close]: [u8; 2],
        mut write: impl FnMut(&mut Self, Head) -> Option<()>,
    ) -> Option<()> {
        let (mut left, mut is_first) = (count, true);
        self.out.push(open);
        while let Some(head) = self.next_of::<F>(&mut left)? {
            if !std::mem::replace(&mut is_first, false) {
                self.out.push(b',');
            }
            write(self, head)?;
        }
        self.out.push(close);
        Some(())
    }

    /// The head of the next of `left` elements; the inner `None` where there is none.
    fn next_of<F: Format>(&mut self, left: &mut Option<u64>) -> Option<Option<Head>> {
        match left {
            Some(0) => return Some(None),
            Some(left) => *left -= 1,
            None => {}
        }
        match self.head::<F>()? {
            Head::Break if left.is_none() => Some(None),
            Head::Break => None,
            head => Some(Some(head)),
        }
    }

    /// The next head that is not a tag.
    fn head<F: Format>(&mut self) -> Option<Head> {
        loop {
            let (head, length) = F::head(self.bytes.get(self.at..)?).ok()?;
            self.at += length;
            if head != Head::Tag {
                return Some(head);
            }
        }
    }

    /// A text of this length, or the pieces of one that does not say it.
    fn text<F: Format>(&mut self, length: Option<u64>) -> Option<Vec<u8>> {
        if let Some(length) = length {
            return Some(self.take(length)?.to_vec());
        }
        let mut all = Vec::new();
        loop {
            match self.head::<F>()? {
                Head::Break => return Some(all),
                Head::Text(Some(length)) | Head::Bytes(Some(length)) => {
                    all.extend_from_slice(self.take(length)?);
                }
                _ => return None,
            }
        }
    }

    fn take(&mut self, length: u64) -> Option<&[u8]> {
        let rest = self.bytes.get(self.at..)?;
        let taken = rest.get(..usize::try_from(length).ok()?)?;
        self.at += taken.len();
        Some(taken)
    }

    fn quoted(&mut self, text: &[u8]) -> Option<()> {
        serde_json::to_writer(&mut self.out, &*String::from_utf8_lossy(text)).ok()
    }
}
