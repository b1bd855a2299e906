//! `website_analysis`: the site's subject and audience.

use serde_json::Value as Json;

use super::{
    defaults::texts,
    load::Website,
    provenance::{Provenance, Sources},
};
use crate::{
    aggregate::value::{distinct, member, strings, text},
    proto::v1::WebsiteAnalysis,
};

/// Without a row, the message consists of defaults, and `sources` says so.
pub(super) fn analysis(row: Option<&Website>, sources: &mut Sources) -> WebsiteAnalysis {
    let known = match row {
        Some(web) => (from_row(web), Provenance::WebsiteAnalysis),
        None => {
            let content_types = texts(&["blog", "video", "social"]);
            (WebsiteAnalysis { content_types, ..from_row(&Website::default()) }, Provenance::Default)
        }
    };
    sources.note("website_analysis", known)
}

fn from_row(web: &Website) -> WebsiteAnalysis {
    let audience = |key| member(&web.target_audience, key);
    WebsiteAnalysis {
        website_url: web.url.clone(),
        content_types: or_list(content_types(&web.content_type), &["blog", "article"]),
        writing_style: or_text(member(&web.writing_style, "tone"), "professional"),
        target_audience: or_list(strings(audience("demographics")), &["professionals"]),
        industry_focus: or_text(audience("industry_focus"), "general"),
        expertise_level: or_text(audience("expertise_level"), "intermediate"),
    }
}

/// The primary type, then the secondary ones.
pub(super) fn content_types(content_type: &Json) -> Vec<String> {
    let primary = text(member(content_type, "primary_type"));
    distinct(primary.into_iter().chain(strings(member(content_type, "secondary_types"))))
}

fn or_text(value: &Json, otherwise: &str) -> String {
    text(value).unwrap_or_else(|| otherwise.to_owned())
}

fn or_list(list: Vec<String>, otherwise: &[&str]) -> Vec<String> {
    if list.is_empty() { texts(otherwise) } else { list }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_that_says_nothing_has_other_defaults_than_none() {
        let analysed = |row| serde_json::to_value(analysis(row, &mut Sources::default())).unwrap();
        let mut expected = json!({
            "content_types": ["blog", "video", "social"], "writing_style": "professional",
            "target_audience": ["professionals"], "industry_focus": "general", "expertise_level": "intermediate",
        });
        assert_eq!(analysed(None), expected);
        expected["content_types"] = json!(["blog", "article"]);
        expected["website_url"] = json!("https://own.example");
        let row = Website {
            url: Some("https://own.example".to_owned()),
            content_type: json!("blog"),
            target_audience: json!({"demographics": [], "industry_focus": 5}),
            ..Website::default()
        };
        assert_eq!(analysed(Some(&row)), expected);
    }

    #[test]
    fn the_primary_type_comes_first_and_once() {
        for (content_type, expected) in [
            (json!({"primary_type": "Blog", "secondary_types": ["blog", "video"]}), &["Blog", "video"][..]),
            (json!({"secondary_types": "podcast; video"}), &["podcast", "video"]),
            (json!(["blog"]), &[]),
        ] {
            assert_eq!(content_types(&content_type), expected, "{content_type}");
        }
    }
}
