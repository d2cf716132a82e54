//! Strings as TOML has them.

/// As a string of TOML, which has the escapes of JSON.
pub(in crate::learning) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
