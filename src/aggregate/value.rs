//! Readers for the JSON columns of the planning application. They never fail: a value of another shape counts as
//! absent. Each follows the table of readers in data.md exactly.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

/// Limits of [`strings`]: items, and characters of each.
const STRINGS_MAX: usize = 50;
const STRING_CHARS_MAX: usize = 300;
/// The members that may hold the text of an object, in the order of preference.
const TEXT_KEYS: [&str; 6] = ["name", "title", "topic", "keyword", "label", "value"];

/// An absent value that can be borrowed.
pub(crate) static ABSENT: Json = Json::Null;

/// A member of an object; absent if the value is no object or has no such member.
pub(crate) fn member<'a>(value: &'a Json, key: &str) -> &'a Json {
    value.get(key).unwrap_or(&ABSENT)
}

/// A member reached by a path such as `brand_analysis.color_palette`.
pub(crate) fn path<'a>(value: &'a Json, path: &str) -> &'a Json {
    path.split('.').fold(value, member)
}

/// False for absent, blank text, `[]` and `{}`; true for everything else, also `0` and `false`.
pub(crate) fn filled(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::String(text) => !text.trim().is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(entries) => !entries.is_empty(),
        Json::Bool(_) | Json::Number(_) => true,
    }
}

/// The first filled value.
pub(crate) fn first_filled<'a>(values: impl IntoIterator<Item = &'a Json>) -> Option<&'a Json> {
    values.into_iter().find(|value| filled(value))
}

/// A string, trimmed, if filled; of an array its [`strings`] joined with `", "`, if any.
pub(crate) fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Json::Array(_) => Some(strings(value)).filter(|items| !items.is_empty()).map(|items| items.join(", ")),
        _ => None,
    }
}

/// The strings of a list, or of a text split at `;`, newline and `", "`: trimmed, without empty
/// ones and case-insensitive duplicates, at most 50 of 300 characters.
pub(crate) fn strings(value: &Json) -> Vec<String> {
    let candidates: Vec<&str> = match value {
        Json::Array(items) => items.iter().filter_map(element_text).collect(),
        Json::String(text) => text.split([';', '\n']).flat_map(|part| part.split(", ")).collect(),
        _ => Vec::new(),
    };
    distinct(candidates.into_iter().map(|text| text.trim().chars().take(STRING_CHARS_MAX).collect()))
}

/// Non-empty texts without case-insensitive duplicates, first kept, at most 50.
pub(crate) fn distinct(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.into_iter().filter(|text| !text.is_empty() && seen.insert(text.to_lowercase())).take(STRINGS_MAX).collect()
}

/// The text of a list's element: itself, or the first filled string among an object's usual keys.
pub(crate) fn element_text(item: &Json) -> Option<&str> {
    match item {
        Json::String(text) => Some(text),
        Json::Object(entries) => {
            TEXT_KEYS.iter().find_map(|key| entries.get(*key)?.as_str().filter(|text| !text.trim().is_empty()))
        }
        _ => None,
    }
}

/// A finite number, or a string that is one decimal number as a whole.
pub(crate) fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => decimal(text.trim()),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Rust's parser also takes "inf", "nan" and a leading "+"; a decimal number has none of them.
fn decimal(text: &str) -> Option<f64> {
    let starts_well = text.strip_prefix('-').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if starts_well { text.parse().ok() } else { None }
}

/// A share: in [0, 1] as is, in (1, 100] divided by 100, or one of the usual words.
pub(crate) fn score01(value: &Json) -> Option<f64> {
    if let Some(number) = number(value) {
        return match number {
            n if (0.0..=1.0).contains(&n) => Some(n),
            n if n > 1.0 && n <= 100.0 => Some(n / 100.0),
            _ => None,
        };
    }
    let word = value.as_str()?.trim().to_lowercase().replace([' ', '-'], "_");
    Some(match word.as_str() {
        "very_low" => 0.1,
        "low" => 0.25,
        "medium" => 0.5,
        "high" => 0.75,
        "very_high" => 0.9,
        _ => return None,
    })
}

/// "high", "medium" or "low"; "medium" if the value is none of them.
pub(crate) fn level(value: &Json) -> &'static str {
    if number(value).is_some() {
        return match score01(value) {
            Some(score) if score >= 0.67 => "high",
            Some(score) if score < 0.34 => "low",
            Some(_) => "medium",
            None => "low",
        };
    }
    let lower = value.as_str().unwrap_or_default().to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let word = match words.next() {
        Some("very") => words.next(),
        other => other,
    };
    match word {
        Some("critical" | "severe" | "high") => "high",
        Some("low" | "minor") => "low",
        _ => "medium",
    }
}

/// Whether one of a text's words (runs of letters), in lower case, is among these.
pub(crate) fn has_word(text: &str, words: &[&str]) -> bool {
    text.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|word| words.contains(&word))
}

/// An industry's key for the rule tables: trimmed, lower case, aliases resolved.
pub(crate) fn industry_key(industry: &str) -> String {
    let key = industry.trim().to_lowercase();
    match key.as_str() {
        "tech" | "information technology" | "it" | "software" | "saas" => "technology",
        "fintech" | "banking" | "financial services" => "finance",
        "health" | "medical" => "healthcare",
        "advertising" | "digital marketing" => "marketing",
        "design" | "creative services" => "creative",
        "consultancy" | "professional services" => "consulting",
        other => other,
    }
    .to_owned()
}

/// The lower-case host of an address, without scheme, user info, port and leading `www.`.
pub(crate) fn host(url: &str) -> String {
    let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default().to_lowercase();
    host.strip_prefix("www.").unwrap_or(&host).to_owned()
}

/// Decimal rounding of the exact binary value, ties to even; `-0` becomes `0`.
pub(crate) fn round(number: f64, digits: usize) -> f64 {
    let rounded: f64 = format!("{number:.digits$}").parse().unwrap_or(number);
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// A count for an int32 field, saturating.
pub(crate) fn count(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// The value whose fields these members are, by name.
pub(crate) fn from_members<T: DeserializeOwned>(members: Map<String, Json>) -> T {
    T::deserialize(Json::Object(members)).expect("the members have the names and types of the fields")
}

pub(crate) use crate::proto::v1::Pillar;

/// The pillars of a column that has one of four shapes: texts, objects, `{name: weight}` or one text.
pub(crate) fn pillars(value: &Json) -> Vec<Pillar> {
    const PILLARS_MAX: usize = 20;
    let named = |name: String| Pillar { name, ..Pillar::default() };
    let mut pillars: Vec<Pillar> = match value {
        Json::Array(items) => items.iter().filter_map(pillar).collect(),
        Json::String(_) => strings(value).into_iter().map(named).collect(),
        Json::Object(entries) => {
            let mut weighted: Vec<Pillar> = entries
                .iter()
                .filter(|(name, _)| !name.trim().is_empty())
                .map(|(name, weight)| Pillar {
                    name: name.trim().to_owned(),
                    weight: number(weight),
                    ..Pillar::default()
                })
                .collect();
            // By weight descending, absent last, then name.
            weighted.sort_by(|a, b| {
                let weight = |pillar: &Pillar| pillar.weight.unwrap_or(f64::NEG_INFINITY);
                weight(b).total_cmp(&weight(a)).then_with(|| a.name.cmp(&b.name))
            });
            weighted
        }
        _ => Vec::new(),
    };
    pillars.truncate(PILLARS_MAX);
    pillars
}

fn pillar(item: &Json) -> Option<Pillar> {
    if let Json::String(name) = item {
        let name = name.trim();
        return (!name.is_empty()).then(|| Pillar { name: name.to_owned(), ..Pillar::default() });
    }
    let name = text(first_filled([member(item, "name"), member(item, "title"), member(item, "pillar")])?)?;
    Some(Pillar {
        name,
        description: text(member(item, "description")),
        weight: number(member(item, "percentage")).or_else(|| number(member(item, "weight"))),
        topics: strings(member(item, "topics")),
        frequency: text(member(item, "frequency")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filled_takes_zero_and_false_but_nothing_blank() {
        for (value, expected) in [
            (json!(0), true),
            (json!(false), true),
            (json!(" \t"), false),
            (json!([]), false),
            (json!({}), false),
            (json!(null), false),
            (json!([null]), true),
        ] {
            assert_eq!(filled(&value), expected, "{value}");
        }
    }

    #[test]
    fn strings_reads_lists_objects_and_separated_text() {
        assert_eq!(strings(&json!([" a ", {"title": "b"}, {"name": " ", "label": "c"}, 5, "A", ""])), ["a", "b", "c"]);
        assert_eq!(strings(&json!("x, y;z\nx,q")), ["x", "y", "z", "x,q"]);
        assert_eq!(strings(&json!((0..60).map(|n| n.to_string()).collect::<Vec<_>>())).len(), 50);
        assert_eq!(strings(&json!(["é".repeat(400)]))[0].chars().count(), 300);
        assert!(strings(&json!({"name": "x"})).is_empty());
    }

    #[test]
    fn text_joins_lists() {
        assert_eq!(text(&json!(["a", "b"])).as_deref(), Some("a, b"));
        assert_eq!(text(&json!("  a ")).as_deref(), Some("a"));
        assert_eq!(text(&json!(7)), None);
        assert_eq!(text(&json!([" "])), None);
    }

    #[test]
    fn scores_and_levels() {
        for (value, expected) in [
            (json!(85), Some(0.85)),
            (json!("very-low"), Some(0.1)),
            (json!("Very High"), Some(0.9)),
            (json!(1), Some(1.0)),
            (json!(101), None),
            (json!(-1), None),
            (json!("0.5"), Some(0.5)),
            (json!("inf"), None),
        ] {
            assert_eq!(score01(&value), expected, "{value}");
        }
        for (value, expected) in [
            (json!("High - soon"), "high"),
            (json!("very low"), "low"),
            (json!("Critical!"), "high"),
            (json!(null), "medium"),
            (json!(70), "high"),
            (json!(0.5), "medium"),
            (json!(0.1), "low"),
            (json!(500), "low"),
            (json!("unheard of"), "medium"),
        ] {
            assert_eq!(level(&value), expected, "{value}");
        }
    }

    #[test]
    fn words_are_whole_runs_of_letters() {
        for (text, expected) in [
            ("Blog", true),
            ("long_blogs", true),
            ("our blog-posts", true),
            ("blogging", false),
            ("weblog", false),
            ("", false),
        ] {
            assert_eq!(has_word(text, &["blog", "blogs"]), expected, "{text}");
        }
    }

    #[test]
    fn hosts_are_bare() {
        for (url, expected) in [
            ("https://user:pw@WWW.Example.com:8080/path?q", "example.com"),
            ("example.org", "example.org"),
            (" http://a.b/ ", "a.b"),
        ] {
            assert_eq!(host(url), expected);
        }
    }

    #[test]
    fn rounding_is_of_the_exact_binary_value() {
        assert!((round(0.25, 1) - 0.2).abs() < f64::EPSILON);
        assert!((round(2.675, 2) - 2.67).abs() < f64::EPSILON);
        assert!(round(-0.0001, 2).is_sign_positive());
    }

    #[test]
    fn pillars_have_four_shapes() {
        let names = |value: Json| pillars(&value).into_iter().map(|p| p.name).collect::<Vec<_>>();
        assert_eq!(names(json!(["a", {"title": "b"}, {"x": 1}])), ["a", "b"]);
        assert_eq!(names(json!({"a": 10, "b": 30, "c": "?", "aa": 10})), ["b", "a", "aa", "c"]);
        assert_eq!(names(json!("a; b")), ["a", "b"]);
        assert_eq!(pillars(&json!([{"name": "a", "percentage": "40", "topics": ["t"]}]))[0].weight, Some(40.0));
    }
}
