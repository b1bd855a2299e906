//! The JSON object in a model's text. Models think aloud, and put JSON into code blocks and between sentences.
//!
//! Thoughts are left out, then the last complete object counts: a draft comes before the answer. Nothing inside the
//! object is repaired.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// The marks of thoughts that a server has left in the text.
const THOUGHTS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// How often the whole text may be read in search of an object. Braces of prose and code end after a few bytes; nested
/// ones that break late would take the square of their number.
const PASSES_MAX: usize = 8;

/// The text without byte order mark, thoughts and blanks around.
pub(super) fn without_thoughts(text: &str) -> Cow<'_, str> {
    let text = trimmed(text);
    if !THOUGHTS.iter().any(|(open, close)| text.contains(open) || text.contains(close)) {
        return Cow::Borrowed(text);
    }
    let mut text = text.to_owned();
    for (open, close) in THOUGHTS {
        text = without(&text, open, close);
    }
    Cow::Owned(trimmed(&text).to_owned())
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\u{feff}' || c.is_whitespace())
}

fn without(text: &str, open: &str, close: &str) -> String {
    let mut rest = match text.split_once(close) {
        // A template has written the opening mark, so only the closing one is in the text.
        Some((before, after)) if !before.contains(open) => after,
        _ => text,
    };
    let mut said = String::with_capacity(rest.len());
    while let Some((before, thoughts)) = rest.split_once(open) {
        said.push_str(before);
        // Thoughts that do not end are the whole rest.
        rest = thoughts.split_once(close).map_or("", |(_, after)| after);
    }
    said + rest
}

/// The last complete JSON object of a text. Whether its escapes are valid is left to its reader.
pub(super) fn last_object(text: &str) -> Option<&str> {
    let (mut last, mut at, mut bytes_left) = (None, 0, PASSES_MAX * text.len());
    while let Some(start) = text[at..].find('{').map(|brace| at + brace) {
        let mut objects = Deserializer::from_str(&text[start..]).into_iter::<IgnoredAny>();
        match objects.next() {
            Some(Err(error)) if !error.is_eof() => {
                bytes_left = bytes_left.checked_sub(offset(&text[start..], &error))?;
                at = start + 1;
            }
            Some(Ok(_)) => {
                at = start + objects.byte_offset();
                last = Some(&text[start..at]);
            }
            // The rest of the text is an object that is cut off. Its complete parts are not the answer.
            _ => break,
        }
    }
    last
}

/// Where a parser met an error.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines_before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines_before.map(str::len).sum::<usize>() + error.column()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        last_object(&without_thoughts(text)).map(str::to_owned)
    }

    #[test]
    fn the_last_complete_object_outside_of_thoughts_is_found() {
        for (text, expected) in [
            (r#"{"a": 1}"#, Some(r#"{"a": 1}"#)),
            ("\u{feff}  {} \n", Some("{}")),
            ("Here:\n```json\n{\"a\": {\"b\": 2}}\n```\nDone.", Some("{\"a\": {\"b\": 2}}")),
            ("{\"draft\": 1}\n{\"final\": 1}", Some("{\"final\": 1}")),
            ("a {sentence} with {\"a\": 1}", Some("{\"a\": 1}")),
            ("<think>{\"draft\": 1}</think>{\"final\": 1}", Some("{\"final\": 1}")),
            ("{\"draft\": 1} so </think> {\"final\": 1}", Some("{\"final\": 1}")),
            ("<think>a</think>{\"final\": 1}<think>{\"b\": 1}</think>", Some("{\"final\": 1}")),
            ("<thinking>{\"a\": 1}</thinking> {\"final\": 1}", Some("{\"final\": 1}")),
            ("{\"a\": \"}{\"}", Some("{\"a\": \"}{\"}")),
            ("<think>{\"draft\": 1}", None),
            ("{\"cut\": {\"off\": 1}, \"he", None),
            ("no object", None),
            ("", None),
        ] {
            assert_eq!(found(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn any_text_is_searched_in_a_moment() {
        let nested = "{\"a\":[0,0,0,0,0,0,0,0,".repeat(12_000);
        let breaks_late = format!("{}!", "{\"a\":".repeat(50_000));
        for text in [nested, breaks_late, "{".repeat(256 * 1024), "{\"a\":".repeat(50_000), "<think>".repeat(30_000)] {
            let began = std::time::SystemTime::now();
            assert_eq!(found(&text), None);
            // Without the limit, one of them takes minutes.
            assert!(began.elapsed().unwrap() < std::time::Duration::from_secs(20), "{}", &text[..10]);
        }
    }
}
