//! What is refused, and what the refusal says.

use super::*;

fn error(text: &str) -> String {
    compile_file("orders.toml", text).map(|_| ()).unwrap_err().to_string()
}

/// A protocol with one good rule and one that is `rule`.
fn error_in(rule: &str) -> String {
    error(&format!(
        "name = \"orders\"\nrule = [{{ kind = \"request\", id = \"$.id\" }}, {{ {rule} }}]"
    ))
}

#[test]
fn five_lines_make_a_protocol() {
    let text = r#"
        name = "orders"
        rule = [
            { kind = "request", has = ["$.cmd"], id = "$.seq", method = "$.cmd" },
            { kind = "response", has = ["$.ok"], id = "$.seq" },
        ]"#;
    let compiled = compile_file("orders.toml", text).unwrap();
    assert_eq!(&*compiled[0].protocol.name, "orders");
}

#[test]
fn a_file_may_hold_several_protocols() {
    let text = r#"
        [[protocol]]
        name = "a"
        rule = [{ kind = "request", id = "$.a" }]
        [[protocol]]
        name = "b"
        rule = [{ kind = "request", id = "$.b" }]"#;
    let names: Vec<_> = compile_file("f", text)
        .unwrap()
        .iter()
        .map(|compiled| compiled.protocol.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_mistake_gives_the_file_the_key_and_a_reason() {
    assert_eq!(
        error_in(r#"kind = "response", id = "$.a.b.c.d""#),
        "orders.toml: orders.rule[1].id: a path has at most 3 steps"
    );
    assert_eq!(
        error_in(r#"kind = "response", id = "$.a", when = { "$.op" = 1.5 }"#),
        "orders.toml: orders.rule[1].when.\"$.op\": a value is a string, an integer, true or false"
    );
    assert_eq!(
        error_in(r#"kind = "response", queue = "hello", has = ["$.a"]"#),
        "orders.toml: orders.rule[1].queue: no request goes into queue \"hello\""
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let message = error_in(r#"kind = "response", id = "$.a", metod = "$.b""#);
    assert!(message.contains("metod") && message.contains("line 2"), "{message}");
}

#[test]
fn senseless_combinations_are_refused() {
    for (rule, word) in [
        (r#"kind = "request""#, "either id"),
        (r#"kind = "request", id = "$.a", queue = "q""#, "either id"),
        (r#"kind = "request", id = "$.a", more = true"#, "followed by more"),
        (r#"kind = "response", id = "$.a", method = "$.b""#, "requests and notifications"),
        (r#"kind = "notification", id = "$.a""#, "concerns no request"),
        (r#"kind = "notification""#, "needs a condition"),
        (r#"kind = "request", pattern = "(?P<id>.)", has = ["$.a"]"#, "either a pattern"),
        (
            r#"kind = "response", id = "$.a", when = { "$.b" = { tipe = "string" } }"#,
            "expected one of",
        ),
    ] {
        let message = error_in(rule);
        assert!(message.contains(word), "{rule}: {message}");
    }
}

#[test]
fn names_that_make_bad_labels_are_refused() {
    for name in ["", "Orders", "a b", "unknown", "a-name-that-is-longer-than-thirty-two"] {
        let message =
            error(&format!("name = \"{name}\"\nrule = [{{ kind = \"request\", id = \"$.a\" }}]"));
        assert!(message.contains("name"), "{message}");
    }
}

#[test]
fn the_number_of_paths_is_bounded() {
    let paths: Vec<String> = (0..=MAX_SLOTS).map(|n| format!("\"$.k{n}\"")).collect();
    let message = error_in(&format!("kind = \"notification\", has = [{}]", paths.join(",")));
    assert!(message.contains("different paths"), "{message}");
}

/// Patterns find an id without its quotes, paths with them; where rules have both, quotes go.
#[test]
fn ids_from_patterns_and_from_paths_can_be_equal() {
    let text = r#"
        name = "mixed"
        rule = [
            { kind = "request", has = ["$.ask"], id = "$.id" },
            { kind = "response", pattern = "^answer (?P<id>[a-z0-9]+)" },
        ]
        [[example]]
        text = '{"ask":1,"id":"a7"}'
        is = [{ kind = "request", id = "a7" }]
        [[example]]
        text = 'answer a7'
        is = [{ kind = "response", id = "a7" }]"#;
    for mut compiled in compile_file("mixed.toml", text).unwrap() {
        super::super::examples::check("mixed.toml", &mut compiled).unwrap();
    }
}

#[test]
fn a_shape_is_not_both_certain_and_common() {
    let error = error_in(r#"kind = "response", certain = true, common = true, id = "$.id""#);
    assert!(error.contains("orders.rule[1].common"), "{error}");
}
