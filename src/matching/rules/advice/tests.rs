//! What is said of rules, and that nothing is said of those that are right.

use crate::matching::Protocols;
use crate::matching::protocols::builtin_files;
use crate::matching::rules::compile_file;

/// What is said of a protocol with these rules when it is loaded.
fn doubts(rules: &str) -> Vec<String> {
    let mut protocols = Protocols::builtin();
    let text = format!("name = \"orders\"\nrule = [\n{rules}\n]");
    protocols.add_toml("orders.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    protocols.doubts().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_said_of_builtin_rules() {
    for (file, text) in builtin_files() {
        for compiled in compile_file(file, &text).unwrap() {
            let doubts = compiled.advice.map(|advice| advice.doubts).unwrap_or_default();
            assert_eq!(doubts, [], "{file}");
        }
    }
}

#[test]
fn a_rule_that_another_one_hides_is_named_with_it() {
    for (hiding, hidden) in [
        (r#"has = ["$.cmd"]"#, r#"has = ["$.cmd", "$.sync"]"#),
        (r#"when = { "$.type" = [1, 4] }"#, r#"when = { "$.type" = 4 }"#),
        (
            r#"when = { "$.type" = { type = "number" } }"#,
            r#"when = { "$.type" = { at_least = 4 } }"#,
        ),
        (r#"has = ["$.cmd"]"#, r#"from = "client", when = { "$.cmd" = "add" }"#),
        (r#"has = ["$.cmd"], lacks = ["$.a"]"#, r#"has = ["$.cmd"], lacks = ["$.a", "$.b"]"#),
        (r#"has = ["$.a"], unless = { "$.a" = 1 }"#, r#"when = { "$.a" = 2 }"#),
    ] {
        let rules = format!(
            r#"{{ kind = "request", id = "$.id", {hiding} }}, {{ kind = "response", id = "$.id", {hidden} }}"#
        );
        let said = doubts(&rules);
        let expected =
            "orders.toml: orders.rule[1]: rule[0] holds for every message that this one is for";
        assert_eq!(said, [expected], "{rules}");
        let turned = format!(
            r#"{{ kind = "request", id = "$.id", {hidden} }}, {{ kind = "response", id = "$.id", {hiding} }}"#
        );
        assert_eq!(doubts(&turned), [""; 0], "{turned}");
    }
}

#[test]
fn ids_that_differ_by_their_quotes_are_named() {
    let with_quotes = r#"{ kind = "request", pattern = 'ask (?P<id>"[^"]+")' }"#;
    let said =
        doubts(&format!(r#"{with_quotes}, {{ kind = "response", has = ["$.ok"], id = "$.id" }}"#));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("orders.toml: orders.rule[1].id: no id of it"), "{said:?}");
    let said =
        doubts(&format!(r#"{with_quotes}, {{ kind = "response", pattern = 'told (?P<id>\w+)' }}"#));
    assert!(said[0].starts_with("orders.toml: orders.rule[1].pattern: no id of it"), "{said:?}");
    let typed = r#"{ kind = "request", has = ["$.ask"], id = "$.id", when = { "$.id" = { type = "string" } } },
        { kind = "response", has = ["$.ok"], id = "$.re", when = { "$.re" = { type = "number" } } }"#;
    assert_eq!(doubts(typed).len(), 1);
    let right = r#"{ kind = "request", pattern = 'ask "(?P<id>[^"]+)"' },
        { kind = "response", has = ["$.ok"], id = "$.id" }"#;
    assert_eq!(doubts(right), [""; 0]);
}

#[test]
fn what_messages_lack_is_said_once_there_were_enough() {
    let mut protocols = Protocols::builtin();
    let text = r#"
        name = "orders"
        rule = [
            { kind = "request", has = ["$.cmd"], id = "$.seq", method = "$.cmnd" },
            { kind = "response", has = ["$.okay"], id = "$.seq" },
        ]"#;
    protocols.add_toml("orders.toml", text).unwrap();
    for n in 0..40 {
        assert!(protocols.doubts_by_messages().is_empty() || n >= 20);
        let said = protocols.attempt(&format!(r#"{{"cmd":"add","seq":{n}}}"#)).unwrap();
        assert_eq!(said, [format!("orders: request id={n}")]);
    }
    let said: Vec<_> = protocols.doubts_by_messages().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "orders.toml: orders.rule[0].method: this path was in none of 40 messages",
            "orders.toml: orders.rule[1].has: this path was in none of 40 messages",
        ]
    );
}

#[test]
fn answers_that_differ_by_their_quotes_are_seen() {
    let mut protocols = Protocols::builtin();
    let text = r#"
        name = "orders"
        rule = [
            { kind = "request", has = ["$.cmd"], id = "$.seq" },
            { kind = "response", has = ["$.ok"], id = "$.seq" },
        ]"#;
    protocols.add_toml("orders.toml", text).unwrap();
    protocols.attempt(r#"{"cmd":"add","seq":7}"#).unwrap();
    protocols.attempt(r#"{"ok":true,"seq":7}"#).unwrap();
    assert_eq!(protocols.doubts_by_messages(), []);
    protocols.attempt(r#"{"cmd":"add","seq":8}"#).unwrap();
    protocols.attempt(r#"{"ok":true,"seq":"8"}"#).unwrap();
    let said = protocols.doubts_by_messages();
    assert!(said.len() == 1 && said[0].to_string().contains("quotes"), "{said:?}");
}

#[test]
fn a_line_says_who_sends_it_and_whether_it_is_binary() {
    let mut protocols = Protocols::builtin();
    let text = r#"
        name = "orders"
        unwrap = "msgpack"
        rule = [
            { kind = "request", from = "client", id = "$.id", method = "$.m" },
            { kind = "response", from = "server", id = "$.id" },
        ]"#;
    protocols.add_toml("orders.toml", text).unwrap();
    let mut said = |line: &str| protocols.attempt(line).unwrap();
    assert_eq!(said(r#"> {"id":1,"m":"a"}"#), ["orders: request id=1 method=a"]);
    assert_eq!(said(r#"< {"id":1}"#), ["orders: response id=1"]);
    assert_eq!(said(r#"{"id":1}"#), [""; 0]);
    assert_eq!(said("< hex 81 a2 6964 01"), ["orders: response id=1"]);
    assert!(protocols.attempt("hex 8").is_err());
}
