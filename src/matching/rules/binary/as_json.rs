//! A whole message in a binary encoding as JSON text: the same values, in the same words, as rules find
//! them. For whoever does not know yet which fields are wanted.

use std::io::Write;

use super::head::{Format, Head, Scalar};
use super::token::write_scalar;
use crate::matching::rules::json::field::End;

/// Deepest nesting that is written.
const MAX_DEPTH: usize = 64;

/// An array or a map that is not over.
#[derive(Clone, Copy)]
struct Open {
    is_map: bool,
    /// Values and keys still to come; `None`: until a break.
    left: Option<u64>,
    /// Values and keys that were written.
    written: u64,
}

/// Writes `bytes` behind `out` as far as they go. Returns whether they are one array or map from the first
/// byte to the last.
pub(super) fn write<F: Format>(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut writer = Writer { bytes, at: 0, open: Vec::new(), out };
    writer.message::<F>().is_ok() && writer.at == bytes.len()
}

struct Writer<'a, 'o> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Open>,
    out: &'o mut Vec<u8>,
}

impl Writer<'_, '_> {
    fn message<F: Format>(&mut self) -> Result<(), End> {
        match self.head::<F>()? {
            head @ (Head::Array(_) | Head::Map(_)) => self.begin(head)?,
            _ => return Err(End::Malformed),
        }
        while !self.open.is_empty() {
            let head = self.head::<F>()?;
            if head == Head::Break {
                self.close_open_one()?;
            } else {
                self.value::<F>(head)?;
            }
        }
        Ok(())
    }

    fn value<F: Format>(&mut self, head: Head) -> Result<(), End> {
        let is_key = self.next_is_key();
        self.separate()?;
        match head {
            Head::Array(_) | Head::Map(_) if is_key => return Err(End::Malformed),
            Head::Array(_) | Head::Map(_) => return self.begin(head),
            Head::Text(length) => {
                let text = self.text::<F>(length)?;
                self.string(&text);
            }
            Head::Bytes(length) => {
                let bytes = self.text::<F>(length)?;
                self.out.push(b'"');
                // Writing into memory cannot fail.
                bytes.iter().for_each(|byte| drop(write!(self.out, "{byte:02x}")));
                self.out.push(b'"');
            }
            // A path names numbers only.
            Head::Scalar(Scalar::Unsigned(number)) if is_key => {
                self.string(number.to_string().as_bytes())
            }
            Head::Scalar(_) if is_key => self.string(b""),
            Head::Scalar(Scalar::Float(number)) if !number.is_finite() => {
                self.out.extend_from_slice(b"null");
            }
            Head::Scalar(scalar) => drop(write_scalar(scalar, self.out)),
            Head::Tag | Head::Break => return Err(End::Malformed),
        }
        self.close_full_ones();
        Ok(())
    }

    fn next_is_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_map && open.written.is_multiple_of(2))
    }

    /// What stands in front of the next value or key, which is counted.
    fn separate(&mut self) -> Result<(), End> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        if let Some(left) = &mut open.left {
            *left = left.checked_sub(1).ok_or(End::Malformed)?;
        }
        match open.written {
            0 => {}
            written if open.is_map && written % 2 == 1 => self.out.push(b':'),
            _ => self.out.push(b','),
        }
        open.written += 1;
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Result<(), End> {
        let (is_map, left) = match head {
            Head::Map(Some(pairs)) => (true, Some(pairs.checked_mul(2).ok_or(End::Malformed)?)),
            Head::Map(None) => (true, None),
            Head::Array(count) => (false, count),
            _ => return Err(End::Malformed),
        };
        if self.open.len() >= MAX_DEPTH {
            return Err(End::Malformed);
        }
        self.out.push(if is_map { b'{' } else { b'[' });
        self.open.push(Open { is_map, left, written: 0 });
        self.close_full_ones();
        Ok(())
    }

    /// A break ends what did not say its length.
    fn close_open_one(&mut self) -> Result<(), End> {
        let open = self.open.last().copied().ok_or(End::Malformed)?;
        let has_half_a_pair = open.is_map && !open.written.is_multiple_of(2);
        if open.left.is_some() || has_half_a_pair {
            return Err(End::Malformed);
        }
        self.close();
        self.close_full_ones();
        Ok(())
    }

    fn close_full_ones(&mut self) {
        while self.open.last().is_some_and(|open| open.left == Some(0)) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.out.push(if open.is_map { b'}' } else { b']' });
        }
    }

    fn string(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        drop(write!(self.out, "{}", serde_json::Value::from(&*text)));
    }

    /// A text of this length, or its pieces until a break.
    fn text<F: Format>(&mut self, length: Option<u64>) -> Result<Vec<u8>, End> {
        let Some(length) = length else { return self.pieces::<F>() };
        self.take(length).map(<[u8]>::to_vec)
    }

    fn pieces<F: Format>(&mut self) -> Result<Vec<u8>, End> {
        let mut all = Vec::new();
        loop {
            match self.head::<F>()? {
                Head::Break => return Ok(all),
                Head::Text(Some(length)) | Head::Bytes(Some(length)) => {
                    all.extend_from_slice(self.take(length)?);
                }
                _ => return Err(End::Malformed),
            }
        }
    }

    /// The next head that is not a tag.
    fn head<F: Format>(&mut self) -> Result<Head, End> {
        loop {
            let rest = self.bytes.get(self.at..).ok_or(End::Cut)?;
            let (head, length) = F::head(rest)?;
            self.at += length;
            if head != Head::Tag {
                return Ok(head);
            }
        }
    }

    fn take(&mut self, length: u64) -> Result<&[u8], End> {
        let rest = self.bytes.get(self.at..).ok_or(End::Cut)?;
        let length = usize::try_from(length).map_err(|_| End::Cut)?;
        let taken = rest.get(..length).ok_or(End::Cut)?;
        self.at += length;
        Ok(taken)
    }
}
