//! The books balance, whatever happens: requests started = sum of outcomes + pending.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Message { connection: u32, sent: bool, text: String },
    Gap { connection: u32, sent: bool },
    Close { connection: u32 },
    Wait { ns: i64 },
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let text = (0..12_u8, 0..6_u8).prop_map(|(id, form)| match form {
        0 | 1 => ask(id),
        2 | 3 => reply(id),
        4 => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{}}}}"#),
        _ => format!("[{},{},{}]", ask(id), reply(id), ask(id + 1)),
    });
    let connection = 0..3_u32;
    prop_oneof![
        20 => (connection.clone(), any::<bool>(), text)
            .prop_map(|(connection, sent, text)| Step::Message { connection, sent, text }),
        1 => (connection.clone(), any::<bool>())
            .prop_map(|(connection, sent)| Step::Gap { connection, sent }),
        1 => connection.prop_map(|connection| Step::Close { connection }),
        3 => (-100..70_000_i64).prop_map(|ms| Step::Wait { ns: ms * MILLISECOND_NS as i64 }),
        1 => Just(Step::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_request_ends_in_exactly_one_outcome(steps in prop::collection::vec(step(), 0..150)) {
        let limits = MatchLimits {
            pending_per_connection: 5,
            pending_total: 9,
            early_per_connection: 3,
            late_per_connection: 2,
            late_total: 4,
            ..MatchLimits::default()
        };
        let mut tap = Tap::with_limits(Protocols::builtin(), limits);
        for step in steps {
            match step {
                Step::Message { connection, sent, text } => {
                    tap.at.conn.generation = connection;
                    if sent { tap.sent(text) } else { tap.received(text) };
                }
                Step::Gap { connection, sent } => {
                    tap.at.conn.generation = connection;
                    tap.gap(if sent { Direction::Sent } else { Direction::Received });
                }
                Step::Close { connection } => {
                    tap.at.conn.generation = connection;
                    tap.close();
                }
                Step::Wait { ns } => {
                    tap.at.at_ns = tap.at.at_ns.saturating_add_signed(ns);
                    tap.tick();
                }
                Step::Finish => {
                    tap.finish();
                }
            }
            // `Tap` has checked the books after each step.
            prop_assert!(tap.matching.pending(TargetId(0)) <= 9);
        }
        tap.finish();
        prop_assert_eq!(tap.books.started, tap.books.ended);
    }
}
