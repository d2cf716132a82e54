//! Messages sorted by shape: which keys they have at the top, and what the few fields say that have
//! few values, such as a type or an operation.

use rustc_hash::FxHashMap;

use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{Field, PlaceId, Row, Side, Table};

/// Index into [`Classes::list`].
pub(in crate::learning) type ClassId = u16;

/// Most classes; messages of further shapes are of one class that nothing is said about.
const MAX_CLASSES: usize = 512;

/// Most values of a field that says what a message is.
const MAX_TAG_VALUES: usize = 24;

/// Most such fields of one side.
const MAX_TAGS: usize = 10;

/// Names that such fields often have.
const TAG_NAMES: [&str; 27] = [
    "type", "kind", "op", "event", "msg", "action", "cmd", "command", "method", "status", "state",
    "success", "ok", "error", "code", "t", "e", "name", "response", "request", "result", "retCode",
    "ret_code", "janus", "errno", "errcode", "sCode",
];

/// Pieces of values that say that something went wrong.
const WRONG: [&str; 16] = [
    "error",
    "fail",
    "reject",
    "exception",
    "denied",
    "nack",
    "invalid",
    "refused",
    "abort",
    "fault",
    "notsupported",
    "notimplemented",
    "unsupported",
    "violation",
    "forbidden",
    "unauthorized",
];

/// Messages of one side and one shape.
#[derive(Debug)]
pub(in crate::learning) struct Class {
    pub(in crate::learning) side: Side,
    /// Places at the top and those that are asked about below, with null told apart, in order.
    pub(in crate::learning) has: Vec<(PlaceId, Shape)>,
    /// What the fields with few values say.
    pub(in crate::learning) tags: Vec<(PlaceId, u64)>,
    pub(in crate::learning) rows: usize,
}

/// What is known of a field of every message of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::learning) enum Shape {
    Null,
    Value,
}

impl Class {
    pub(in crate::learning) fn has(&self, place: PlaceId) -> bool {
        self.has.iter().any(|(known, _)| *known == place)
    }

    /// There, and not null.
    pub(in crate::learning) fn has_value(&self, place: PlaceId) -> bool {
        self.has.contains(&(place, Shape::Value))
    }

    pub(in crate::learning) fn tag(&self, place: PlaceId) -> Option<u64> {
        self.tags.iter().find(|(known, _)| *known == place).map(|(_, value)| *value)
    }
}

/// The classes of a table, and of which each row is.
#[derive(Debug)]
pub(in crate::learning) struct Classes {
    pub(in crate::learning) list: Vec<Class>,
    /// By row.
    pub(in crate::learning) of_row: Vec<Option<ClassId>>,
}

/// What a class is found by.
type Signature = (Side, Vec<(PlaceId, Shape)>, Vec<(PlaceId, u64)>);

impl Classes {
    pub(in crate::learning) fn new(table: &Table) -> Self {
        let tags = Side::ALL.map(|side| tags(table, side));
        let mut known: FxHashMap<Signature, ClassId> = FxHashMap::default();
        let mut classes = Self { list: Vec::new(), of_row: Vec::new() };
        for row in &table.rows {
            let signature = signature(table, row, &tags[row.side as usize]);
            let class = match known.get(&signature) {
                Some(&class) => Some(class),
                None => classes.add(signature, &mut known),
            };
            if let Some(class) = class.filter(|_| row.is_read) {
                classes.list[usize::from(class)].rows += 1;
            }
            classes.of_row.push(class.filter(|_| row.is_read));
        }
        classes
    }

    fn add(
        &mut self,
        signature: Signature,
        known: &mut FxHashMap<Signature, ClassId>,
    ) -> Option<ClassId> {
        if self.list.len() >= MAX_CLASSES {
            return None;
        }
        let id = ClassId::try_from(self.list.len()).ok()?;
        let (side, has, tags) = signature.clone();
        self.list.push(Class { side, has, tags, rows: 0 });
        known.insert(signature, id);
        Some(id)
    }

    pub(in crate::learning) fn get(&self, id: ClassId) -> &Class {
        &self.list[usize::from(id)]
    }
}

fn signature(table: &Table, row: &Row, tags: &[PlaceId]) -> Signature {
    let is_asked = |field: &&Field| {
        let place = table.place(field.place);
        place.depth == 1 || is_telling(&place.name)
    };
    let shape = |field: &Field| {
        (field.place, if field.kind == Kind::Null { Shape::Null } else { Shape::Value })
    };
    let mut has: Vec<_> = row.fields.iter().filter(is_asked).map(shape).collect();
    has.sort_unstable();
    has.dedup_by_key(|(place, _)| *place);
    let is_tag = |field: &&Field| tags.contains(&field.place) && is_scalar(field.kind);
    let mut said: Vec<_> =
        row.fields.iter().filter(is_tag).map(|field| (field.place, field.value)).collect();
    said.sort_unstable();
    said.dedup_by_key(|(place, _)| *place);
    (row.side, has, said)
}

fn is_scalar(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Number | Kind::Bool)
}

/// A name that says what a message is, or how it went.
pub(in crate::learning) fn is_telling(name: &str) -> bool {
    TAG_NAMES.contains(&name) || is_about_errors(name)
}

/// A name that fields have where something went wrong.
pub(in crate::learning) fn is_about_errors(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["error", "errors", "err", "exception", "fault", "errorcode", "error_code"]
        .contains(&name.as_str())
}

/// A value that fields have where something went wrong.
pub(in crate::learning) fn is_wrong(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.len() <= 32 && WRONG.iter().any(|word| text.contains(word))
}

/// The fields that say what messages of `side` are: they have few values, each again and again.
fn tags(table: &Table, side: Side) -> Vec<PlaceId> {
    let index = side as usize;
    let mut found: Vec<(bool, usize, PlaceId)> = Vec::new();
    for (id, place) in (0..).zip(&table.places) {
        let values = place.values[index].len();
        let is_few = !place.overflows[index]
            && (1..=MAX_TAG_VALUES).contains(&values)
            && place.rows[index] >= 4 * values;
        let is_wrong = |text: &String| is_wrong(text);
        let telling = is_telling(&place.name) || place.values[index].values().any(is_wrong);
        // The first elements of an array say as much as a type does.
        let is_near = place.depth == 1 || (place.depth <= 3 && telling);
        let is_word = |text: &String| text.len() <= 48;
        if is_few && is_near && place.values[index].values().all(is_word) {
            found.push((!telling, usize::MAX - place.rows[index], id));
        }
    }
    found.sort_unstable();
    found.into_iter().take(MAX_TAGS).map(|(_, _, id)| id).collect()
}
