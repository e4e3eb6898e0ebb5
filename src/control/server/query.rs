//! The query of a request: known names, each once, percent-decoded.

use std::str::FromStr;

use crate::control::ApiError;

/// The names and values of one request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `text` (what follows the `?`). A name that is not `allowed`, or
    /// comes twice, is an error: what is not understood is not ignored.
    pub(super) fn parse(text: &str, allowed: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !allowed.contains(&name.as_str()) {
                return Err(unknown(&name, allowed));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(ApiError::bad_request(format_args!("?{name}= comes twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of `name`, which `expected` describes.
    pub(super) fn get<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some((_, value)) = self.0.iter().find(|(other, _)| other == name) else {
            return Ok(None);
        };
        let wrong = || ApiError::bad_request(format_args!("?{name}= is {expected}, not {value:?}"));
        value.parse().map(Some).map_err(|_| wrong())
    }
}

fn unknown(name: &str, allowed: &[&str]) -> ApiError {
    let name: String = name.chars().take(64).collect();
    let error = ApiError::bad_request(format_args!("this route knows no ?{name}="));
    match allowed {
        [] => error.hint("it takes no query"),
        _ => error.hint(format_args!("it knows ?{}=", allowed.join("=, ?"))),
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let hex = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                    return Err(ApiError::bad_request("a % in the query starts no %XX"));
                };
                bytes.push(high << 4 | low);
                rest = after;
            }
            (b'%', _) => return Err(ApiError::bad_request("a % in the query starts no %XX")),
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the query is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_decoded_and_typed() {
        let query = Query::parse("since=12&&wait=tr%75e", &["since", "wait"]).expect("good");
        assert_eq!(query.get::<u64>("since", "a number"), Ok(Some(12)));
        assert_eq!(query.get::<bool>("wait", "true or false"), Ok(Some(true)));
        assert_eq!(query.get::<u64>("other", "a number"), Ok(None));
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let message = |text| Query::parse(text, &["since"]).expect_err("bad").message;
        assert_eq!(message("sinse=1"), "this route knows no ?sinse=");
        assert_eq!(message("since=1&since=2"), "?since= comes twice");
        assert_eq!(message("since=%4"), "a % in the query starts no %XX");
        assert_eq!(message("since=%ff"), "the query is no UTF-8");
        let query = Query::parse("since=-1", &["since"]).expect("a text");
        let error = query
            .get::<u64>("since", "a number")
            .expect_err("no number");
        assert_eq!(error.message, "?since= is a number, not \"-1\"");
    }

    proptest! {
        #[test]
        fn no_query_panics(text in "\\PC{0,60}") {
            let _ = Query::parse(&text, &["since"]);
        }
    }
}
