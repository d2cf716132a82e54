//! The same message in other forms: its fields in another order where the form allows that, and
//! long stretches before, between and behind them. For tests.

/// How a message is written anew.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Bytes before, between and behind the fields.
    pub(super) paddings: Vec<usize>,
    pub(super) rotation: usize,
    pub(super) reversed: bool,
}

/// Quotes, brackets and something like an id, inside of a JSON string.
const JSON_FILLING: &str = r#"\",{\"id\":9"#;
/// Something like a field, inside of a value.
const TEXT_FILLING: &str = " id 9 receipt ";

impl Form {
    /// The text in this form; `None` if it has none: it is too short to have fields.
    pub(super) fn of(&self, text: &str) -> Option<Vec<u8>> {
        let parts: Vec<&str> = text.split('\u{1e}').collect();
        let (last, first) = parts.split_last()?;
        if !first.is_empty() && last.is_empty() {
            let parts: Option<Vec<_>> = first.iter().map(|part| self.one(part)).collect();
            return Some(parts?.into_iter().map(|part| part + "\u{1e}").collect::<String>().into());
        }
        self.one(text).map(String::into_bytes)
    }

    fn one(&self, text: &str) -> Option<String> {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::Object(members)) => self.object(&members),
            Ok(serde_json::Value::Array(elements)) => Some(self.array(&elements)),
            Ok(_) => None,
            Err(_) if text.trim_start().starts_with('<') => self.element(text),
            Err(_) if text.trim_start().contains('\n') => self.lines(text),
            Err(_) => self.arguments(text),
        }
    }

    /// Positions of the paddings among `count` fields, last first, and their lengths.
    fn places(&self, count: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        [count, count / 2, 0].into_iter().zip(self.paddings.iter().copied())
    }

    fn ordered(&self, mut fields: Vec<String>) -> Vec<String> {
        if !fields.is_empty() {
            let by = self.rotation % fields.len();
            fields.rotate_left(by);
        }
        if self.reversed {
            fields.reverse();
        }
        fields
    }

    fn object(&self, members: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
        if members.is_empty() {
            return None;
        }
        let written =
            members.iter().map(|(key, value)| format!("{}:{value}", serde_json::json!(key)));
        let mut members = self.ordered(written.collect());
        for (at, padding) in self.places(members.len()) {
            let filling = JSON_FILLING.repeat(padding / JSON_FILLING.len());
            members.insert(at, format!(r#""zz{at}":"{filling}""#));
        }
        Some(format!("{{{}}}", members.join(",")))
    }

    /// Elements have their places, so spaces stand between them; objects among them are padded.
    fn array(&self, elements: &[serde_json::Value]) -> String {
        let mut written: Vec<String> = elements
            .iter()
            .map(|element| {
                let padded = element.as_object().and_then(|members| self.object(members));
                padded.unwrap_or_else(|| element.to_string())
            })
            .collect();
        let (mut before, mut behind) = (String::new(), String::new());
        for (at, padding) in self.places(written.len()) {
            let spaces = " ".repeat(padding);
            match written.get_mut(at) {
                Some(element) => element.insert_str(0, &spaces),
                None => behind = spaces,
            }
            before = " ".repeat(padding / 8);
        }
        format!("{before}[{}{behind}]", written.join(","))
    }

    /// A first line, header lines in any order, a blank line, a body.
    fn lines(&self, text: &str) -> Option<String> {
        let start = text.len() - text.trim_start().len();
        let end_of_line = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let (head, body) = text[start..].split_once(&end_of_line.repeat(2))?;
        let mut lines = head.split(end_of_line).map(str::to_owned);
        let first = lines.next()?;
        let mut lines = self.ordered(lines.collect());
        for (at, padding) in self.places(lines.len()) {
            let filling = TEXT_FILLING.repeat(padding / TEXT_FILLING.len());
            lines.insert(at, format!("zz{at}:{filling}"));
        }
        lines.insert(0, first);
        let lines = lines.join(end_of_line);
        Some(format!("{}{lines}{end_of_line}{end_of_line}{body}", &text[..start]))
    }

    /// An XML element with its attributes in any order.
    fn element(&self, text: &str) -> Option<String> {
        let (tag, rest) = text.split_once(' ')?;
        let end = rest.find('>')?;
        let end = if rest[..end].ends_with('/') { end - 1 } else { end };
        let (attributes, rest) = rest.split_at(end);
        let halves: Vec<&str> = attributes.split_inclusive(['"', '\'']).collect();
        let written = halves.chunks(2).map(|halves| halves.concat().trim().to_owned());
        let mut attributes = self.ordered(written.collect());
        for (at, padding) in self.places(attributes.len()) {
            let filling = TEXT_FILLING.repeat(padding / TEXT_FILLING.len());
            attributes.insert(at, format!(r#"zz{at}="{filling}""#));
        }
        Some(format!("{tag} {}{rest}", attributes.join(" ")))
    }

    /// What stands in front of an array says what it is: only the array can grow.
    fn arguments(&self, text: &str) -> Option<String> {
        let (front, array) = text.split_at(text.find(['[', '{'])?);
        match serde_json::from_str(array).ok()? {
            serde_json::Value::Array(elements) if !elements.is_empty() => {
                let padding = self.paddings.iter().sum::<usize>();
                let filling = JSON_FILLING.repeat(padding / JSON_FILLING.len());
                let inside = array.strip_suffix(']')?;
                Some(format!(r#"{front}{inside},"{filling}"]"#))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Option<String> {
        let form = Form { paddings: vec![14; 3], rotation: 1, reversed: false };
        form.of(text).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn each_form_is_written_in_its_own_way() {
        assert_eq!(
            form(r#"[1,"a"]"#).as_deref(),
            Some(r#" [              1,              "a"              ]"#)
        );
        let lines = form("SEND\na:1\nb:2\n\nbody\0").unwrap();
        assert_eq!(
            lines,
            "SEND\nzz0: id 9 receipt \nb:2\nzz1: id 9 receipt \na:1\nzz2: id 9 receipt \n\nbody\0"
        );
        let element = form(r#"<iq type="get" id="a"><ping/></iq>"#).unwrap();
        assert_eq!(
            element,
            r#"<iq zz0=" id 9 receipt " id="a" zz1=" id 9 receipt " type="get" zz2=" id 9 receipt "><ping/></iq>"#
        );
        assert!(form(r#"42["a"]"#).unwrap().starts_with(r#"42["a",""#));
        assert_eq!(form("ping"), None);
    }
}
