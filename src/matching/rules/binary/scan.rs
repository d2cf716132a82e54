//! One walk over a message of values that say how long they are, for a few wanted fields.
//!
//! It is the walk of `json::scan` for MessagePack, CBOR and Erlang's terms: a field is reported where its value
//! begins, the sink may stop it, what is not wanted is hopped over without a look inside of texts, and a
//! message that was cut still yields every field before the cut.

use std::marker::PhantomData;

use super::head::{Format, Head, Scalar};
use super::report::Report;
use super::token::Tokens;
use crate::matching::rules::json::field::{End, JsonType, Sink};
use crate::matching::rules::json::wanted::{Entry, Need, Node, Wanted};

/// Deepest nesting of arrays and maps that do not say their length, where they are hopped over.
const MAX_OPEN: usize = 32;

/// Longest text that is put together of several pieces.
const MAX_PIECES_BYTES: usize = 1 << 10;

/// Reads `bytes` from their start and reports to `sink` what is wanted.
pub(super) fn scan<'a, F: Format>(
    wanted: &Wanted,
    bytes: &'a [u8],
    tokens: Tokens<'a>,
    sink: &mut impl Sink<'a>,
) -> End {
    let report = Report::new(tokens, sink);
    let mut scan = Scan { bytes, at: 0, report, format: PhantomData::<F> };
    scan.message(&wanted.root).err().unwrap_or(End::Complete)
}

struct Scan<'a, 's, F, S> {
    bytes: &'a [u8],
    /// Bytes that were read.
    at: usize,
    report: Report<'a, 's, S>,
    format: PhantomData<F>,
}

impl<'a, F: Format, S: Sink<'a>> Scan<'a, '_, F, S> {
    fn message(&mut self, root: &Node) -> Result<(), End> {
        self.at = F::front(self.bytes)?;
        let head = self.value_head()?;
        self.inside(head, root)
    }

    /// Looks for what `node` wants in the value that begins with `head`.
    fn inside(&mut self, head: Head, node: &Node) -> Result<(), End> {
        match head {
            Head::Map(count) => self.map(count, node),
            Head::Array(count) => self.array(count, node),
            Head::List(count) => {
                self.array(Some(count), node)?;
                let end = self.value_head()?;
                self.hop_over(end)
            }
            Head::Octets(count) => self.octets(count, node),
            _ => Err(End::Malformed),
        }
    }

    fn map(&mut self, count: Option<u64>, node: &Node) -> Result<(), End> {
        let mut left = count;
        while let Some(head) = self.next_of(&mut left)? {
            let entry = self.entry_of_key(head, node)?;
            self.value(entry)?;
        }
        self.report.nothing_more(node, self.at)
    }

    fn array(&mut self, count: Option<u64>, node: &Node) -> Result<(), End> {
        let mut left = count;
        let mut index = 0_u32;
        while let Some(head) = self.next_of(&mut left)? {
            self.value_after(head, node.by_index(index))?;
            index = index.saturating_add(1);
        }
        self.report.nothing_more(node, self.at)
    }

    fn octets(&mut self, count: u64, node: &Node) -> Result<(), End> {
        for index in (0..=u32::MAX).take_while(|&index| u64::from(index) < count) {
            let octet = self.take(1)?.first().copied().unwrap_or_default();
            let head = Head::Scalar(Scalar::Unsigned(octet.into()));
            self.value_after(head, node.by_index(index))?;
        }
        self.report.nothing_more(node, self.at)
    }

    /// The head of the next of `left` elements or keys; `None` where there is none.
    fn next_of(&mut self, left: &mut Option<u64>) -> Result<Option<Head>, End> {
        match left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None => {}
        }
        match self.value_head()? {
            Head::Break if left.is_none() => Ok(None),
            Head::Break => Err(End::Malformed),
            head => Ok(Some(head)),
        }
    }

    /// What is wanted of the value whose key begins with `head`. A key may be a number, which a
    /// path writes as it would write a name.
    fn entry_of_key<'n>(&mut self, head: Head, node: &'n Node) -> Result<Option<&'n Entry>, End> {
        match head {
            Head::Text(Some(length)) => Ok(node.by_name(self.take(length)?)),
            Head::Scalar(Scalar::Unsigned(number)) => {
                let mut digits = [0; 20];
                Ok(node.by_name(decimal(number, &mut digits)))
            }
            head => {
                self.hop_over(head)?;
                Ok(None)
            }
        }
    }

    fn value(&mut self, entry: Option<&Entry>) -> Result<(), End> {
        match self.value_head()? {
            Head::Break => Err(End::Malformed),
            head => self.value_after(head, entry),
        }
    }

    /// Reads the value that begins with `head`. Reports it if it is wanted, and enters it if
    /// something below it is.
    fn value_after(&mut self, head: Head, entry: Option<&Entry>) -> Result<(), End> {
        let Some(entry) = entry else { return self.hop_over(head) };
        match head {
            Head::Array(_) | Head::List(_) | Head::Octets(_) => {
                self.container(JsonType::Array, head, entry)?;
            }
            Head::Map(_) => self.container(JsonType::Object, head, entry)?,
            Head::Scalar(scalar) => {
                self.report
                    .tell(entry, scalar.json_type(), self.at, |tokens| tokens.scalar(scalar))?;
            }
            Head::Text(_) | Head::Bytes(_) if entry.need == Need::Presence => {
                self.report.tell(entry, JsonType::String, self.at, |_| &[])?;
                self.report.nothing_below(entry, self.at)?;
                return self.hop_over(head);
            }
            Head::Text(Some(length)) => {
                let text = self.take(length)?;
                self.report.tell(entry, JsonType::String, self.at, |tokens| tokens.text(text))?;
            }
            Head::Bytes(Some(length)) => {
                let bytes = self.take(length)?;
                self.report.tell(entry, JsonType::String, self.at, |tokens| tokens.bytes(bytes))?;
            }
            Head::Text(None) => {
                let text = self.pieces()?;
                self.report.tell(entry, JsonType::String, self.at, |tokens| tokens.text(&text))?;
            }
            Head::Bytes(None) => {
                let bytes = self.pieces()?;
                self.report
                    .tell(entry, JsonType::String, self.at, |tokens| tokens.bytes(&bytes))?;
            }
            Head::Tag | Head::Break => return Err(End::Malformed),
        }
        self.report.nothing_below(entry, self.at)
    }

    fn container(&mut self, json_type: JsonType, head: Head, entry: &Entry) -> Result<(), End> {
        self.report.tell(entry, json_type, self.at, |_| &[])?;
        let has_wanted = |node: &Node| match json_type {
            JsonType::Object => !node.keys.is_empty(),
            _ => !node.indexes.is_empty(),
        };
        match &entry.below {
            Some(node) if has_wanted(node) => self.inside(head, node),
            _ => self.hop_over(head),
        }
    }

    /// Hops over the value whose head was read. It keeps numbers instead of calling itself, so
    /// nesting costs nothing but the bytes that say so.
    fn hop_over(&mut self, head: Head) -> Result<(), End> {
        let mut open = Open::default();
        open.enter(Some(1))?;
        let mut head = head;
        loop {
            open.read_one(head)?;
            match head {
                Head::Text(Some(length)) | Head::Bytes(Some(length)) => {
                    self.take(length)?;
                }
                Head::Octets(length) => {
                    self.take(length)?;
                }
                Head::Array(count) => open.enter(count)?,
                Head::List(count) => open.enter(Some(count.saturating_add(1)))?,
                Head::Map(count) => open.enter(match count {
                    Some(pairs) => Some(pairs.checked_mul(2).ok_or(End::Malformed)?),
                    None => None,
                })?,
                // Its pieces are values, and a break ends them.
                Head::Text(None) | Head::Bytes(None) => open.enter(None)?,
                Head::Scalar(_) | Head::Break | Head::Tag => {}
            }
            if open.is_done() {
                return Ok(());
            }
            head = self.value_head()?;
        }
    }

    /// The pieces of a text that did not say its length; beyond a bound they are not kept.
    fn pieces(&mut self) -> Result<Vec<u8>, End> {
        let mut all = Vec::new();
        loop {
            match self.value_head()? {
                Head::Break => return Ok(all),
                Head::Text(Some(length)) | Head::Bytes(Some(length)) => {
                    let piece = self.take(length)?;
                    if all.len() <= MAX_PIECES_BYTES {
                        all.extend_from_slice(piece);
                    }
                }
                _ => return Err(End::Malformed),
            }
        }
    }

    /// The next head that is not a tag.
    #[inline]
    fn value_head(&mut self) -> Result<Head, End> {
        loop {
            let rest = self.bytes.get(self.at..).ok_or(End::Cut)?;
            let (head, length) = F::head(rest)?;
            self.at += length;
            if head != Head::Tag {
                return Ok(head);
            }
        }
    }

    /// The next `length` bytes.
    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], End> {
        let rest = self.bytes.get(self.at..).ok_or(End::Cut)?;
        let length = usize::try_from(length).map_err(|_| End::Cut)?;
        let taken = rest.get(..length).ok_or(End::Cut)?;
        self.at += length;
        Ok(taken)
    }
}

/// How many values are still to be hopped over. Where all lengths are known, one number will do.
#[derive(Default)]
struct Open {
    /// `None`: until a break.
    left: Option<u64>,
    /// What is left of those around.
    around: [Option<u64>; MAX_OPEN],
    depth: usize,
}

impl Open {
    fn enter(&mut self, count: Option<u64>) -> Result<(), End> {
        if let (Some(left), Some(count)) = (self.left, count)
            && self.depth > 0
        {
            self.left = Some(left.checked_add(count).ok_or(End::Malformed)?);
            return Ok(());
        }
        *self.around.get_mut(self.depth).ok_or(End::Malformed)? = self.left;
        self.depth += 1;
        self.left = count;
        Ok(())
    }

    /// A value begins with `head`, or a break is read.
    fn read_one(&mut self, head: Head) -> Result<(), End> {
        match (head, &mut self.left) {
            (Head::Break, None) => self.leave(),
            (Head::Break, Some(_)) => return Err(End::Malformed),
            (_, Some(left)) => *left = left.checked_sub(1).ok_or(End::Malformed)?,
            (_, None) => {}
        }
        Ok(())
    }

    /// Whether all was hopped over; leaves what is at its end.
    fn is_done(&mut self) -> bool {
        while self.depth > 0 && self.left == Some(0) {
            self.leave();
        }
        self.depth == 0
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.left = self.around[self.depth];
    }
}

/// `number` in decimal digits, at the end of `digits`.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        // A digit fits.
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}
