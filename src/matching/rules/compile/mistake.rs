//! What is wrong in a TOML file, and where. The parser's own sentence has several lines and draws an
//! arrow, and a log has one line.

/// What the parser of `text` complains of, with the place, such as
/// `line 2, column 8: unclosed array, expected ]`. Both numbers count from 1.
#[must_use]
pub fn toml_mistake(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return message;
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!("line {line}, column {column}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_said_in_one_line_with_its_place() {
        let said = |text: &str| {
            toml_mistake(text, &text.parse::<toml::Table>().expect_err("it is no TOML"))
        };
        assert_eq!(said("a = 1\nb = [\n"), "line 2, column 6: unclosed array, expected `]`");
        assert!(said("\u{e4} = 1\n").starts_with("line 1, column 1: "), "{}", said("\u{e4} = 1\n"));
        assert!(said("a = \"\u{e4}\" b\n").starts_with("line 1, column 9: "));
        for text in ["", "\n\n", "a = ", "a = 1\na = 2", "[a\n]", "\u{0}"] {
            if let Err(error) = text.parse::<toml::Table>() {
                assert!(!toml_mistake(text, &error).contains('\n'), "{text:?}");
            }
        }
    }
}
