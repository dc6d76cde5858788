//! From bytes to what they mean. Nothing of a body ever gets into an error.

use std::fmt;

use serde::de::DeserializeOwned;

/// Why a body is not the promised JSON: the place, without the text that stands there.
#[derive(Debug)]
pub(super) struct NotJson {
    category: &'static str,
    line: usize,
    column: usize,
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotJson> {
    serde_json::from_slice(bytes).map_err(|error| NotJson {
        category: match error.classify() {
            serde_json::error::Category::Syntax => "syntax error",
            serde_json::error::Category::Eof => "unexpected end",
            serde_json::error::Category::Data => "value of an unexpected shape",
            serde_json::error::Category::Io => "unreadable",
        },
        line: error.line(),
        column: error.column(),
    })
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            category,
            line,
            column,
        } = self;
        write!(
            f,
            "not the expected JSON: {category} at line {line} column {column}"
        )
    }
}

impl std::error::Error for NotJson {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_place_and_not_the_text() {
        let error = json::<u32>(br#""canary""#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not the expected JSON: value of an unexpected shape at line 1 column 8"
        );
    }
}
