//! Recognises a stream of which nothing else is known as TLS, by its records.
//!
//! A socket may carry the TLS whose plaintext is tapped elsewhere, and TLS may carry TLS. Such bytes
//! would be searched for frames in vain, and by chance not in vain.
//!
//! A record begins with five bytes of which few are possible, and tells where the next one begins
//! (RFC 8446, section 5.1; RFC 5246, section 6.2). Of random bytes, five pass for its header with a
//! chance of 4/256 (type) x 1/256 x 5/256 (version) x 18433/65536 (length) = 3.4e-7. So there is one
//! somewhere in 256 KiB with a chance of 9 %, but it has another three behind it, each exactly where
//! the one before says, with one of 3e-21. [`PROOF`] records are proof, wherever the stream was met
//! and however it is cut; the hello that a stream begins with is proof by itself.
//!
//! Bytes that repeat themselves are not random: as many zeroes under a mask may be a chain of equal
//! "records". So a record counts only if its body begins like none of those before it, as encrypted
//! bodies do.

/// Records in a row, at the exact offsets and with different bodies, that are proof.
const PROOF: usize = 4;

/// Of a record.
const HEADER: u64 = 5;

/// The second byte of a header: all versions begin with it.
const MAJOR: u8 = 3;

/// Bytes of a body that are compared.
const BODY: u64 = size_of::<u64>() as u64;

/// Nothing encrypted is shorter: the tags of RFC 8446 and of RFC 5288 take so many bytes.
const ENCRYPTED_MIN: u64 = 16;

/// "The length MUST NOT exceed 2^14 + 2048" (RFC 5246, section 6.2.3).
const LENGTH_MAX: u16 = (1 << 14) + 2048;

/// Chains that are followed at a time: by chance there are hardly two.
const CHAINS_MAX: usize = 4;

/// One direction of a stream.
#[derive(Debug)]
pub(in crate::decode) struct TlsRecords {
    /// Offset of the next byte.
    at: u64,
    /// Offset of the first byte behind the last hole.
    from: u64,
    /// The eight bytes before `at`, the last one lowest.
    window: u64,
    chains: Vec<Chain>,
    /// Bytes among which a chain may still begin.
    left: u64,
}

/// Records that follow one another.
#[derive(Debug)]
struct Chain {
    /// Offset of the next header.
    next: u64,
    /// Offset behind what it waits for: that header, or the first bytes of the body before.
    due: u64,
    /// How the first `records` bodies begin, no two of them alike.
    bodies: [u64; PROOF],
    records: usize,
}

impl TlsRecords {
    /// A stream that goes on at offset `at`; chains begin among its next `search_bytes`.
    pub(in crate::decode) fn new(at: u64, search_bytes: u64) -> Self {
        Self { at, from: at, window: 0, chains: Vec::new(), left: search_bytes }
    }

    /// The stream goes on with `bytes`. Returns how many of them it takes to prove that they are
    /// TLS, or to prove it once more; what is behind them has not been looked at.
    pub(in crate::decode) fn look(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if self.left == 0 && self.chains.is_empty() {
                self.at += rest.len() as u64;
                return None;
            }
            let quiet = self.quiet(rest);
            if quiet > 0 {
                self.pass(&rest[..quiet]);
                rest = &rest[quiet..];
                continue;
            }
            self.at += 1;
            self.window = self.window << 8 | u64::from(byte);
            rest = &rest[1..];
            if self.is_hello() || self.follow() {
                return Some(bytes.len() - rest.len());
            }
        }
        None
    }

    /// How many of these bytes change nothing: no chain waits for one of them, and no header ends
    /// with one.
    fn quiet(&self, bytes: &[u8]) -> usize {
        // Of a header, the byte that is always the same stands so far before its end.
        const BEHIND: usize = 3;
        let recent = self.window.to_le_bytes();
        if self.from == 0 && self.at <= HEADER || recent[..BEHIND].contains(&MAJOR) {
            return 0;
        }
        let waited_for =
            self.chains.iter().map(|chain| chain.due.saturating_sub(self.at + 1)).min();
        let most = waited_for.unwrap_or(u64::MAX).min(bytes.len() as u64) as usize;
        let kind = |at: usize| at.checked_sub(1).map_or(recent[0], |before| bytes[before]);
        let header = memchr::memchr_iter(MAJOR, &bytes[..most]).find(|&at| is_kind(kind(at)));
        header.map_or(most, |at| most.min(at + BEHIND))
    }

    /// Goes on behind bytes that change nothing.
    fn pass(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let recent = &bytes[bytes.len().saturating_sub(size_of::<u64>())..];
        self.window =
            recent.iter().fold(self.window, |window, &byte| window << 8 | u64::from(byte));
    }

    /// The stream goes on with `n` bytes that are not here. Only what stands in a body is certain
    /// of the next header.
    pub(in crate::decode) fn absent(&mut self, n: u64) {
        self.at = self.at.saturating_add(n);
        self.from = self.at;
        self.chains.retain_mut(|chain| {
            // The beginning of a body that it waits for has been missed.
            chain.due = chain.next + HEADER;
            chain.next >= self.from
        });
    }

    /// The byte before `at` makes a chain longer, or begins one. True if that is proof.
    fn follow(&mut self) -> bool {
        let (at, window) = (self.at, self.window);
        let length = (at - self.from >= HEADER).then(|| length(window)).flatten();
        let mut proven = false;
        let mut known = false;
        self.chains.retain_mut(|chain| {
            if chain.due != at {
                return true;
            }
            if at != chain.next + HEADER {
                proven |= chain.body(window);
                return true;
            }
            known = true;
            length.inspect(|&length| chain.record(at, length)).is_some()
        });
        self.begin(length.filter(|_| !known));
        proven
    }

    fn begin(&mut self, length: Option<u64>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let Some(length) = length.filter(|_| self.chains.len() < CHAINS_MAX) else { return };
        let mut chain = Chain { next: 0, due: 0, bodies: [0; PROOF], records: 0 };
        chain.record(self.at, length);
        self.chains.push(chain);
    }

    /// The stream begins with a handshake record, and that with the hello of a client or a server
    /// (RFC 8446, section 4).
    fn is_hello(&self) -> bool {
        const HANDSHAKE: u8 = 22;
        let [_, _, kind, .., message] = self.window.to_be_bytes();
        self.from == 0
            && self.at == HEADER + 1
            && kind == HANDSHAKE
            && matches!(message, 1 | 2)
            && length(self.window >> 8).is_some()
    }
}

impl Chain {
    /// A header ends at `at`.
    fn record(&mut self, at: u64, length: u64) {
        self.next = at + length;
        self.due = if length < ENCRYPTED_MIN { self.next + HEADER } else { at + BODY };
    }

    /// A body begins with `first`. True if the chain needs no more proof.
    fn body(&mut self, first: u64) -> bool {
        self.due = self.next + HEADER;
        let counted = self.bodies.get_mut(..self.records).unwrap_or_default().contains(&first);
        if !counted && let Some(free) = self.bodies.get_mut(self.records) {
            *free = first;
            self.records += 1;
        }
        self.records == PROOF
    }
}

/// The length of the body, if the last five bytes are the header of a record.
fn length(window: u64) -> Option<u64> {
    let [_, _, _, kind, major, minor, high, low] = window.to_be_bytes();
    let length = u16::from_be_bytes([high, low]);
    let is_header = is_kind(kind) && major == MAJOR && minor <= 4 && length <= LENGTH_MAX;
    is_header.then_some(length.into())
}

/// Whether a header may begin with it.
fn is_kind(byte: u8) -> bool {
    matches!(byte, 20..=23)
}
