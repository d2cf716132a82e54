//! Values of AMQP's type system (AMQP 1.0, part 1): just what performatives need.
//!
//! A value is read in place. Arrays, maps and lists say their size, so they are hopped over, and
//! nothing here calls itself deeper than a described value has a value.

/// A value that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// Any unsigned integer.
    Number(u64),
    /// A string or a symbol.
    Text(&'a [u8]),
    /// Binary data or a UUID.
    Bytes(&'a [u8]),
    List(List<'a>),
    /// Anything else: a map, an array, a signed or a broken number.
    Other,
    /// By the number of its descriptor; what is described behind it is read by itself.
    Described(u64),
}

/// A list, as the bytes of its elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct List<'a> {
    bytes: &'a [u8],
    left: u32,
}

/// The bytes end inside of a value, or are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// What stands behind a described value's zero in front of its number.
const SMALL_ULONG: u8 = 0x53;
const ULONG: u8 = 0x80;

/// Reads values one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is behind the values that were read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next value. A described one is read whole, and known by its descriptor only.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Unreadable> {
        match self.described()? {
            Some(code) => {
                self.primitive()?;
                Ok(Value::Described(code))
            }
            None => self.primitive(),
        }
    }

    /// The descriptor of the next value, if that is described: what it describes comes next.
    pub(super) fn described(&mut self) -> Result<Option<u64>, Unreadable> {
        let Some(rest) = self.rest.strip_prefix(b"\0") else { return Ok(None) };
        self.rest = rest;
        match rest.first() {
            Some(&(SMALL_ULONG | ULONG)) => match self.primitive()? {
                Value::Number(code) => Ok(Some(code)),
                _ => Err(Unreadable),
            },
            // Descriptors may be symbols, too, which nobody writes where numbers are known.
            _ => {
                self.primitive()?;
                Ok(Some(u64::MAX))
            }
        }
    }

    /// The next value, which is not described.
    pub(super) fn primitive(&mut self) -> Result<Value<'a>, Unreadable> {
        let code = *self.take(1)?.first().ok_or(Unreadable)?;
        // The high half says how long the value is (part 1, section 1.2).
        let data = match code >> 4 {
            0x4 => &[][..],
            0x5 => self.take(1)?,
            0x6 => self.take(2)?,
            0x7 => self.take(4)?,
            0x8 => self.take(8)?,
            0x9 => self.take(16)?,
            0xa | 0xc | 0xe => {
                let size = number(self.take(1)?);
                self.take(size)?
            }
            0xb | 0xd | 0xf => {
                let size = number(self.take(4)?);
                self.take(size)?
            }
            _ => return Err(Unreadable),
        };
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x56 => Value::Bool(data != [0]),
            0x43 | 0x44 => Value::Number(0),
            0x50 | 0x52 | 0x53 | 0x60 | 0x70 | 0x80 => Value::Number(number(data)),
            0xa1 | 0xa3 | 0xb1 | 0xb3 => Value::Text(data),
            0x98 | 0xa0 | 0xb0 => Value::Bytes(data),
            0x45 => Value::List(List { bytes: &[], left: 0 }),
            0xc0 => list(data, 1)?,
            0xd0 => list(data, 4)?,
            _ => Value::Other,
        })
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Unreadable> {
        let count = usize::try_from(count).map_err(|_| Unreadable)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unreadable)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> List<'a> {
    /// The fields up to the `N`th, of which those that are left out are null.
    pub(super) fn fields<const N: usize>(self) -> Result<[Value<'a>; N], Unreadable> {
        let mut fields = [Value::Null; N];
        let mut reader = Reader::new(self.bytes);
        for field in fields.iter_mut().take(self.left as usize) {
            *field = reader.value()?;
        }
        Ok(fields)
    }
}

fn list(data: &[u8], width: usize) -> Result<Value<'_>, Unreadable> {
    let (count, bytes) = data.split_at_checked(width).ok_or(Unreadable)?;
    let left = u32::try_from(number(count)).map_err(|_| Unreadable)?;
    Ok(Value::List(List { bytes, left }))
}

/// A big-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl<'a> Value<'a> {
    pub(super) fn number(self) -> Option<u32> {
        match self {
            Self::Number(number) => number.try_into().ok(),
            _ => None,
        }
    }

    pub(super) fn is_true(self) -> bool {
        self == Self::Bool(true)
    }

    pub(super) fn is_null(self) -> bool {
        self == Self::Null
    }
}
