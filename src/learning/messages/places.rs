//! Where in a message values stand: messages taken apart into fields, before anybody knows which
//! of them are ids.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use crate::event::Direction;
use crate::learning::messages::json::{self, Kind};
use crate::learning::messages::packing::Packing;
use crate::learning::messages::sample::{Group, Kept, Passed};
use crate::learning::messages::texts::{self, LEAD, Spot};
use crate::matching::own_time_ns;
use crate::observation::Role;

/// Which end of a connection sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::learning) enum Side {
    Client,
    Server,
}

impl Side {
    pub(in crate::learning) const ALL: [Self; 2] = [Self::Client, Self::Server];

    pub(in crate::learning) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// As in `from` of a rule.
    pub(in crate::learning) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Index into [`Table::places`].
pub(in crate::learning) type PlaceId = u16;

/// Most places of all messages of a group; fields in further ones are left out.
const MAX_PLACES: usize = 1_024;

/// Most different values of a place whose texts are remembered.
pub(in crate::learning) const MAX_VALUES: usize = 128;

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::learning) struct Field {
    pub(in crate::learning) place: PlaceId,
    pub(in crate::learning) kind: Kind,
    /// A hash of kind and text.
    pub(in crate::learning) value: u64,
    pub(in crate::learning) traits: Traits,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::learning) struct Traits {
    /// Could be an id: short, and one word.
    pub(in crate::learning) is_token: bool,
    /// The number at its end, if it has one.
    pub(in crate::learning) number: Option<i64>,
    /// A hash of what stands before that number.
    pub(in crate::learning) stem: u64,
    /// A decimal fraction.
    pub(in crate::learning) is_decimal: bool,
    /// A date, or as large as the seconds (or parts of them) since 1970 are now.
    pub(in crate::learning) unit_ns: Option<u64>,
    /// A whole number, all of it, with a sign or without.
    pub(in crate::learning) whole: Option<i64>,
    /// As a time, in nanoseconds since 1970.
    pub(in crate::learning) time_ns: Option<i64>,
}

/// A place, and what stood there.
#[derive(Debug)]
pub(in crate::learning) struct Place {
    /// As a path of the rule language.
    pub(in crate::learning) path: String,
    /// The last key; empty for a place in an array.
    pub(in crate::learning) name: String,
    pub(in crate::learning) depth: usize,
    /// By side: texts of values by their hashes.
    pub(in crate::learning) values: [FxHashMap<u64, String>; 2],
    /// By side: there were more values than are remembered.
    pub(in crate::learning) overflows: [bool; 2],
    /// By side.
    pub(in crate::learning) rows: [usize; 2],
    /// Where it is in a text that is not JSON.
    pub(in crate::learning) spot: Option<Spot>,
    /// By side: the kinds of values.
    pub(in crate::learning) kinds: [BTreeSet<Kind>; 2],
}

/// Which place it is.
struct At {
    path: String,
    name: String,
    depth: usize,
    spot: Option<Spot>,
}

/// Depth of the places in texts but the first word, which alone says what a text is.
const IN_TEXT: usize = 9;

impl From<Spot> for At {
    fn from(spot: Spot) -> Self {
        let name = match &spot {
            Spot::Lead => LEAD.to_owned(),
            Spot::Header(name) | Spot::Attribute(name) => name.clone(),
            Spot::Number | Spot::Word(_) => String::new(),
        };
        let depth = if spot == Spot::Lead { 1 } else { IN_TEXT };
        Self { path: spot.describe(), name, depth, spot: Some(spot) }
    }
}

/// A message taken apart.
#[derive(Debug)]
pub(in crate::learning) struct Row {
    pub(in crate::learning) conn: u32,
    pub(in crate::learning) side: Side,
    pub(in crate::learning) at_ns: u64,
    pub(in crate::learning) fields: Vec<Field>,
    /// It is JSON or a text, of which the fields were read.
    pub(in crate::learning) is_read: bool,
}

impl Row {
    pub(in crate::learning) fn field(&self, place: PlaceId) -> Option<Field> {
        self.fields.iter().find(|field| field.place == place).copied()
    }
}

/// All messages of a group, taken apart.
#[derive(Debug)]
pub(in crate::learning) struct Table {
    pub(in crate::learning) places: Vec<Place>,
    known: FxHashMap<String, PlaceId>,
    pub(in crate::learning) rows: Vec<Row>,
    /// When each connection was last heard of, in nanoseconds.
    pub(in crate::learning) last_ns: Vec<u64>,
    /// Connections that were not seen from their start.
    pub(in crate::learning) mid_stream: Vec<bool>,
    /// By connection: wall clock minus the clock of `at_ns`, in nanoseconds.
    pub(in crate::learning) wall_offsets_ns: Vec<i64>,
    /// Who is the client is known of every connection.
    pub(in crate::learning) sides_known: bool,
    pub(in crate::learning) packing: Packing,
}

impl Table {
    /// Takes the messages of a group apart.
    pub(in crate::learning) fn new(group: &Group) -> Self {
        let roles = group.connections.iter();
        let mut table = Self {
            places: Vec::new(),
            known: FxHashMap::default(),
            rows: Vec::new(),
            last_ns: vec![0; group.connections.len()],
            mid_stream: roles.clone().map(|it| it.mid_stream).collect(),
            wall_offsets_ns: roles.clone().map(|it| it.wall_offset_ns).collect(),
            sides_known: roles.clone().all(|it| it.role != Role::Unknown),
            packing: Packing::of(group),
        };
        for entry in &group.entries {
            if let Some(last_ns) = table.last_ns.get_mut(entry.conn as usize) {
                *last_ns = entry.at_ns;
            }
            let Passed::Message(kept) = &entry.what else { continue };
            let role = group.connections.get(entry.conn as usize).map(|it| it.role);
            let side = side(role.unwrap_or_default(), kept.direction);
            table.message(entry.conn, side, entry.at_ns, kept);
        }
        table
    }

    fn message(&mut self, conn: u32, side: Side, at_ns: u64, kept: &Kept) {
        let packing = self.packing;
        packing.each(kept, &mut |text| {
            let mut row = Row { conn, side, at_ns, fields: Vec::new(), is_read: false };
            row.is_read = json::fields(text, &mut |path, kind, value| {
                let at = At {
                    path: path.to_string(),
                    name: path.name(),
                    depth: path.depth(),
                    spot: None,
                };
                row.fields.extend(self.field(side, at, kind, value));
            }) || texts::fields(text, &mut |spot, kind, value| {
                row.fields.extend(self.field(side, At::from(spot), kind, value));
            });
            self.rows.push(row);
        });
    }

    fn field(&mut self, side: Side, at: At, kind: Kind, text: &str) -> Option<Field> {
        let id = match self.known.get(&at.path) {
            Some(&id) => id,
            None if self.places.len() < MAX_PLACES => {
                let id = PlaceId::try_from(self.places.len()).ok()?;
                self.known.insert(at.path.clone(), id);
                let At { path, name, depth, spot } = at;
                self.places.push(Place {
                    path,
                    name,
                    depth,
                    spot,
                    values: Default::default(),
                    overflows: [false; 2],
                    rows: [0; 2],
                    kinds: Default::default(),
                });
                id
            }
            None => return None,
        };
        let value = hash(kind, text);
        let place = &mut self.places[usize::from(id)];
        place.rows[side as usize] += 1;
        place.kinds[side as usize].insert(kind);
        if !matches!(kind, Kind::Object | Kind::Array) {
            let values = &mut place.values[side as usize];
            if values.len() < MAX_VALUES && text.len() <= 64 {
                values.entry(value).or_insert_with(|| text.to_owned());
            } else if !values.contains_key(&value) {
                place.overflows[side as usize] = true;
            }
        }
        Some(Field { place: id, kind, value, traits: traits(kind, text) })
    }

    /// The place of the first word of texts.
    pub(in crate::learning) fn lead(&self) -> Option<PlaceId> {
        self.known.get(LEAD).copied()
    }

    /// The kind of what stands at a place, where it may be null, too, and is else of one kind only.
    pub(in crate::learning) fn only_kind_but_null(&self, id: PlaceId, side: Side) -> Option<Kind> {
        let kinds = &self.place(id).kinds[side as usize];
        let mut others = kinds.iter().filter(|kind| **kind != Kind::Null);
        let only = others.next().filter(|_| kinds.contains(&Kind::Null));
        only.filter(|_| others.next().is_none()).copied()
    }

    pub(in crate::learning) fn place(&self, id: PlaceId) -> &Place {
        &self.places[usize::from(id)]
    }
}

fn side(role: Role, direction: Direction) -> Side {
    match (role, direction) {
        (Role::Server, Direction::Sent) | (Role::Client | Role::Unknown, Direction::Received) => {
            Side::Server
        }
        _ => Side::Client,
    }
}

fn hash(kind: Kind, text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    kind.hash(&mut hasher);
    text.hash(&mut hasher);
    hasher.finish()
}

/// Longest value that could be an id.
const MAX_TOKEN: usize = 64;

fn traits(kind: Kind, text: &str) -> Traits {
    let is_word = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>');
    let is_decimal = is_decimal(text);
    let is_token = match kind {
        Kind::Text => (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(is_word),
        Kind::Number => !text.is_empty() && text.len() <= MAX_TOKEN,
        _ => false,
    };
    if !is_token {
        return Traits::default();
    }
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let number = text.get(text.len() - digits..).and_then(|digits| digits.parse().ok());
    let is_whole = digits == text.len();
    let stem = hash(kind, text.get(..text.len() - digits).unwrap_or_default());
    let unit_ns = if is_whole { number.and_then(epoch_unit) } else { date_unit(text) };
    let whole = text.parse().ok();
    let time_ns = own_time_ns(text.as_bytes());
    Traits { is_token, number, stem, is_decimal, unit_ns, whole, time_ns }
}

fn is_decimal(text: &str) -> bool {
    let Some((whole, part)) = text.trim_start_matches('-').split_once('.') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(part)
}

/// The unit of a number that may be a time since 1970, between 2017 and 2039.
fn epoch_unit(number: i64) -> Option<u64> {
    const SINCE: i64 = 1_500_000_000;
    const UNTIL: i64 = 2_200_000_000;
    let units = [(1, 1_000_000_000), (1_000, 1_000_000), (1_000_000, 1_000), (1_000_000_000, 1)];
    let fits = |scale: i64| (SINCE..UNTIL).contains(&(number / scale));
    units.into_iter().find(|(scale, _)| fits(*scale)).map(|(_, unit_ns)| unit_ns)
}

/// The unit of a date as in RFC 3339.
fn date_unit(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let is_date = bytes.len() >= 19
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':';
    is_date.then_some(if bytes.get(19) == Some(&b'.') { 1_000_000 } else { 1_000_000_000 })
}
