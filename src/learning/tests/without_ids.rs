//! Each of these has values that come back, and no id; nothing else is made of it, either.

use super::*;

#[test]
fn counters_that_each_side_runs_on_its_own() {
    let mut talk = Talk::new();
    let mut counts = [0; 2];
    for _ in 0..400 {
        let side = talk.random(2) as usize;
        counts[side] += 1;
        let text = format!(r#"{{"seq":{},"data":"x"}}"#, counts[side]);
        if side == 0 { talk.ask(0, &text) } else { talk.tell(0, &text) }
    }
    assert!(matches!(talk.refused(), Some(Doubt::OwnCounters | Doubt::LockStep | Doubt::Unsteady)));
}

#[test]
fn a_servers_own_counter_in_step_with_the_clients() {
    for conns in [1, 4] {
        let mut talk = Talk::new();
        for count in 1..200 {
            for conn in 0..conns {
                talk.ask(conn, &format!(r#"{{"seq":{count},"cmd":"move"}}"#));
                talk.tell(conn, &format!(r#"{{"seq":{count},"state":"moved"}}"#));
            }
        }
        assert_eq!(talk.refused(), Some(Doubt::LockStep));
    }
}

#[test]
fn a_servers_own_counter_that_runs_behind_the_clients() {
    let mut talk = Talk::new();
    let mut told = 0;
    for count in 1..300 {
        talk.ask(0, &format!(r#"{{"seq":{count},"cmd":"move"}}"#));
        while told < count && talk.random(3) > 0 {
            told += 1;
            talk.tell(0, &format!(r#"{{"seq":{told},"state":"moved"}}"#));
        }
    }
    assert_eq!(talk.refused(), Some(Doubt::LockStep));
}

#[test]
fn counters_of_channels_in_step() {
    let mut talk = Talk::new();
    let mut counts: [u64; 5] = std::array::from_fn(|channel| 1_000 * channel as u64);
    for _ in 0..400 {
        let channel = talk.random(5) as usize;
        counts[channel] += 1;
        let count = counts[channel];
        talk.ask(0, &format!(r#"{{"ch":"c{channel}","n":{count},"put":1}}"#));
        talk.tell(0, &format!(r#"{{"ch":"c{channel}","n":{count},"got":1}}"#));
    }
    assert_eq!(talk.refused(), Some(Doubt::LockStep));
}

#[test]
fn times_that_both_sides_read_from_a_clock() {
    for unit in [1_u64, 1_000, 1_000_000] {
        let mut talk = Talk::new();
        for beat in 0..200 {
            let now = 1_700_000_000 * unit + beat;
            talk.ask(0, &format!(r#"{{"ping":true,"ts":{now}}}"#));
            talk.tell(0, &format!(r#"{{"pong":true,"ts":{now}}}"#));
        }
        assert_eq!(talk.refused(), Some(Doubt::Timestamps));
    }
}

#[test]
fn prices_of_orders_and_of_a_ticker() {
    let mut talk = Talk::new();
    for _ in 0..200 {
        let (ours, theirs) = (talk.random(100), talk.random(100));
        talk.ask(0, &format!(r#"{{"buy":1,"price":"101.{ours:02}"}}"#));
        talk.tell(0, &format!(r#"{{"trade":1,"price":"101.{theirs:02}"}}"#));
        talk.tell(0, &format!(r#"{{"trade":1,"price":"101.{ours:02}"}}"#));
    }
    assert!(matches!(talk.refused(), Some(Doubt::Prices | Doubt::FewValues)));
}

#[test]
fn acknowledgements_of_ranges() {
    let mut talk = Talk::new();
    for count in 1..400 {
        talk.ask(0, &format!(r#"{{"seq":{count},"data":"x"}}"#));
        if talk.random(4) == 0 {
            talk.tell(0, &format!(r#"{{"ack":{count}}}"#));
        }
    }
    assert_eq!(talk.refused(), Some(Doubt::Ranges));
}

#[test]
fn a_few_channels_that_are_subscribed() {
    let mut talk = Talk::new();
    for round in 0..200 {
        let channel = round % 5;
        talk.ask(0, &format!(r#"{{"op":"join","room":"room-{channel}"}}"#));
        talk.tell(0, &format!(r#"{{"joined":"room-{channel}"}}"#));
    }
    assert_eq!(talk.refused(), Some(Doubt::FewValues));
}

#[test]
fn what_people_write() {
    let mut talk = Talk::new();
    for round in 0..200_u64 {
        let word = talk.random(1 << 40);
        let text = if round % 2 == 0 { format!("hi{word}") } else { format!("so {word}?") };
        talk.ask(0, &format!(r#"{{"text":"{text}"}}"#));
        talk.tell(0, &format!(r#"{{"from":"me","text":"{text}"}}"#));
    }
    assert_eq!(talk.refused(), Some(Doubt::Contents));
}

#[test]
fn heartbeats_and_constant_ids() {
    let mut talk = Talk::new();
    for _ in 0..200 {
        talk.ask(0, r#"{"type":"ping","session":"f00d-17"}"#);
        talk.tell(0, r#"{"type":"pong","session":"f00d-17"}"#);
    }
    assert!(matches!(talk.refused(), None | Some(Doubt::FewValues)));
}

#[test]
fn where_a_pointer_is() {
    let mut talk = Talk::new();
    for _ in 0..200 {
        let (x, y) = (talk.random(1 << 20), talk.random(1 << 20));
        talk.ask(0, &format!(r#"{{"x":{x},"y":{y}}}"#));
        talk.tell(0, &format!(r#"{{"user":"me","x":{x},"y":{y}}}"#));
    }
    assert_eq!(talk.refused(), Some(Doubt::Contents));
}

#[test]
fn lines_that_are_said_back() {
    let mut talk = Talk::new();
    for count in 0..200 {
        talk.ask(0, &format!("say {count}"));
        talk.tell(0, &format!("heard say {count}"));
    }
    assert_eq!(talk.refused(), Some(Doubt::LockStep));
}

#[test]
fn a_sequence_that_both_sides_draw_from() {
    let mut talk = Talk::new();
    for number in 0..400 {
        let text = format!(r#"{{"n":{number},"data":"x"}}"#);
        if talk.random(2) == 0 { talk.ask(0, &text) } else { talk.tell(0, &text) }
    }
    assert!(talk.refused().is_none());
}
