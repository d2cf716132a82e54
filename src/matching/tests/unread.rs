//! Messages that could not be read in full.

use super::*;

/// A message of which the beginning and the end are known.
fn cut<'a>(direction: Direction, payload: &'a str, tail: &'a str) -> Message<'a> {
    Message {
        length: Some(100_000),
        tail: tail.as_bytes(),
        ..message(direction, payload.as_bytes(), MessageType::Text, Wholeness::Cut)
    }
}

impl Tap {
    /// Passes a message that was cut; returns the verdict on it.
    fn cut(&mut self, direction: Direction, payload: &str, tail: &str) -> Verdict {
        self.whole(cut(direction, payload, tail))
    }

    fn whole(&mut self, message: Message<'_>) -> Verdict {
        let (role, stamp) = (self.at.role, self.at.stamp());
        let mut verdict = Verdict::default();
        self.observe(|matching, handle, out| {
            verdict = matching.message(handle, role, stamp, &message, out);
        });
        verdict
    }
}

#[test]
fn an_id_at_the_end_of_a_long_message_is_read() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(7)).at(5);
    let verdict =
        tap.cut(Direction::Received, r#"{"jsonrpc":"2.0","result":"xx"#, r#"xx","id":7}"#);
    assert!(!verdict.missed);
    assert_eq!(tap.lines(), ["started local m", "matched local 7 m 5"]);
    let (head, tail) = (r#"{"params":["xx"#, r#"x"],"method":"n","id":8,"jsonrpc":"2.0"}"#);
    assert!(!tap.cut(Direction::Sent, head, tail).missed);
    assert_eq!(tap.lines(), ["started local n"]);
}

/// Whether its protocol is known by then or not.
#[test]
fn an_id_at_the_end_of_the_first_message_is_read() {
    let mut tap = Tap::unknown();
    tap.cut(Direction::Sent, r#"{"params":["xx"#, r#"x"],"method":"n","id":8,"jsonrpc":"2.0"}"#);
    assert_eq!(tap.lines(), ["started local n"]);
}

/// It may have answered: what waits since before ends as a gap, what was asked later as before.
#[test]
fn a_request_whose_answer_could_not_be_read_ends_as_a_gap() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(1);
    assert!(tap.cut(Direction::Received, r#"{"jsonrpc":"2.0","result":"xx"#, "").missed);
    tap.at(2).sent(ask(2)).at(90 * SECOND_NS).tick();
    let lines = tap.lines();
    assert_eq!(lines[2..], ["gap local 1 m", "expired local 2 m"]);
}

#[test]
fn a_direction_that_cannot_be_read_leaves_gaps_and_no_expiries() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(1);
    let answer = message(Direction::Received, b"", MessageType::Text, Wholeness::Cut);
    tap.whole(Message { compressed: true, length: None, ..answer });
    tap.at(2).close();
    assert_eq!(tap.lines(), ["started local m", "gap local 1 m"]);
}

#[test]
fn an_id_that_is_too_long_is_counted() {
    let mut tap = Tap::forced("jsonrpc");
    let long = format!("\"{}\"", "x".repeat(600));
    tap.sent(ask(&long)).received(reply(&long));
    let lines = tap.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("LongId")), "{lines:?}");
}
