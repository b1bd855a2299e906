//! Values for unknown fields: data.md's rule tables, entered with the website analysis, and the constants. Where the
//! table names no competitor, none is made up.

use serde_json::Value as Json;

use super::provenance::{Provenance, Sources};
use crate::{
    aggregate::value::{has_word, industry_key, member, text},
    proto::v1::{PostingPreferences, SearchIntent, WebsiteAnalysis},
};

pub(super) const POSTING_DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub(super) const OPTIMAL_TIMES: [&str; 5] = ["09:00", "12:00", "15:00", "18:00", "20:00"];

pub(super) fn posting(sources: &mut Sources) -> PostingPreferences {
    let posting = PostingPreferences { daily: 2, weekly: 10, monthly: 40 };
    sources.note("posting", (posting, Provenance::Default))
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The values with which the rule tables are entered.
#[derive(Debug)]
pub(super) struct Basis {
    industry: String,
    medium: Medium,
    writing_style: String,
    purpose: Option<String>,
    expertise: String,
}

/// The medium of most of a site's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    Blog,
    Video,
    Other,
}

impl Basis {
    /// From the website analysis, including its defaults, and `web.content_type`.
    pub(super) fn of(website: &WebsiteAnalysis, content_type: &Json) -> Self {
        let lower = |text: &str| text.trim().to_lowercase();
        Self {
            industry: industry_key(&website.industry_focus),
            medium: Medium::of(text(member(content_type, "primary_type")).as_deref()),
            writing_style: lower(&website.writing_style),
            purpose: text(member(content_type, "purpose")).map(|purpose| lower(&purpose)),
            expertise: lower(&website.expertise_level),
        }
    }

    pub(super) fn top_performers(&self) -> Vec<String> {
        texts(match self.industry.as_str() {
            "technology" => &["techcrunch.com", "wired.com", "theverge.com"],
            "marketing" => &["hubspot.com", "marketingland.com", "moz.com"],
            _ => &[],
        })
    }

    pub(super) fn target_keywords(&self) -> Vec<String> {
        texts(match self.industry.as_str() {
            "technology" => &["AI tools", "Digital transformation", "Tech trends"],
            "marketing" => &["Content marketing", "SEO strategies", "Social media"],
            _ => &["Industry insights", "Best practices", "Expert tips"],
        })
    }

    pub(super) fn high_value_keywords(&self) -> Vec<String> {
        texts(match self.industry.as_str() {
            "technology" => &["AI marketing", "Content automation", "Digital strategy"],
            "marketing" => &["Content marketing", "SEO optimization", "Social media strategy"],
            _ => &["Industry trends", "Best practices", "Expert insights"],
        })
    }

    pub(super) fn content_gaps(&self) -> Vec<String> {
        let mut gaps = texts(match self.medium {
            Medium::Blog => &["Video tutorials", "Case studies", "Infographics"],
            Medium::Video => &["Blog posts", "Whitepapers", "Webinars"],
            Medium::Other => &[],
        });
        gaps.extend(texts(match self.writing_style.as_str() {
            "professional" => &["Personal stories"],
            "casual" => &["Expert interviews"],
            _ => &[],
        }));
        gaps
    }

    pub(super) fn content_topics(&self) -> Vec<String> {
        texts(match self.medium {
            Medium::Blog => &["Industry trends", "How-to guides", "Expert insights"],
            Medium::Video => &["Tutorials", "Product demos", "Expert interviews"],
            Medium::Other => &[],
        })
    }

    pub(super) fn content_opportunities(&self) -> Vec<String> {
        texts(match self.purpose.as_deref() {
            None | Some("informational") => &["How-to guides", "Tutorials", "Educational content"],
            Some("promotional") => &["Case studies", "Testimonials", "Success stories"],
            Some(_) => &[],
        })
    }

    pub(super) fn search_intent(&self) -> SearchIntent {
        let (intent, focus) = match self.expertise.as_str() {
            "beginner" => ("educational", "basic concepts"),
            "intermediate" => ("practical", "implementation"),
            _ => ("advanced", "strategic insights"),
        };
        SearchIntent { intent: intent.to_owned(), focus: focus.to_owned() }
    }
}

impl Medium {
    fn of(primary_type: Option<&str>) -> Self {
        match primary_type {
            None => Self::Blog,
            Some(text) if has_word(text, &["blog", "blogs", "article", "articles"]) => Self::Blog,
            Some(text) if has_word(text, &["video", "videos"]) => Self::Video,
            Some(_) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A basis of unknown values, with a case's changes.
    fn basis(change: impl FnOnce(&mut WebsiteAnalysis), content_type: Json) -> Basis {
        let mut website = WebsiteAnalysis {
            writing_style: "professional".to_owned(),
            industry_focus: "general".to_owned(),
            expertise_level: "intermediate".to_owned(),
            ..WebsiteAnalysis::default()
        };
        change(&mut website);
        Basis::of(&website, &content_type)
    }

    #[test]
    fn industries_choose_competitors_and_keywords() {
        const NONE: [&str; 0] = [];
        for (industry, performers, targets, high_values) in [
            (
                " SaaS",
                &["techcrunch.com", "wired.com", "theverge.com"][..],
                ["AI tools", "Digital transformation", "Tech trends"],
                ["AI marketing", "Content automation", "Digital strategy"],
            ),
            (
                "Digital Marketing",
                &["hubspot.com", "marketingland.com", "moz.com"],
                ["Content marketing", "SEO strategies", "Social media"],
                ["Content marketing", "SEO optimization", "Social media strategy"],
            ),
            (
                "finance",
                &NONE,
                ["Industry insights", "Best practices", "Expert tips"],
                ["Industry trends", "Best practices", "Expert insights"],
            ),
        ] {
            let basis = basis(|website| website.industry_focus = industry.to_owned(), Json::Null);
            assert_eq!(basis.top_performers(), performers, "{industry}");
            assert_eq!(basis.target_keywords(), targets, "{industry}");
            assert_eq!(basis.high_value_keywords(), high_values, "{industry}");
        }
    }

    #[test]
    fn primary_types_choose_gaps_and_topics() {
        const BLOG: (&[&str], &[&str]) = (
            &["Video tutorials", "Case studies", "Infographics"],
            &["Industry trends", "How-to guides", "Expert insights"],
        );
        const VIDEO: (&[&str], &[&str]) =
            (&["Blog posts", "Whitepapers", "Webinars"], &["Tutorials", "Product demos", "Expert interviews"]);
        for (primary_type, (gaps, topics)) in [
            (json!(null), BLOG),
            (json!(" "), BLOG),
            (json!("Blog"), BLOG),
            (json!("long-form articles"), BLOG),
            (json!("video blog"), BLOG),
            (json!("How-to Videos"), VIDEO),
            (json!("blogging"), (&[], &[])),
            (json!("podcast"), (&[], &[])),
        ] {
            let content_type = json!({"primary_type": primary_type});
            let basis = basis(|website| website.writing_style = "warm".to_owned(), content_type);
            assert_eq!(basis.content_gaps(), gaps, "{primary_type}");
            assert_eq!(basis.content_topics(), topics, "{primary_type}");
        }
    }

    #[test]
    fn writing_styles_add_a_gap() {
        for (style, added) in
            [("professional", Some("Personal stories")), ("Casual", Some("Expert interviews")), ("warm", None)]
        {
            let basis = basis(|website| website.writing_style = style.to_owned(), json!({"primary_type": "podcast"}));
            assert_eq!(basis.content_gaps().first().map(String::as_str), added, "{style}");
        }
    }

    #[test]
    fn purposes_choose_opportunities() {
        const INFORMATIONAL: &[&str] = &["How-to guides", "Tutorials", "Educational content"];
        for (purpose, expected) in [
            (json!(null), INFORMATIONAL),
            (json!("Informational"), INFORMATIONAL),
            (json!("promotional "), &["Case studies", "Testimonials", "Success stories"]),
            (json!("entertainment"), &[]),
        ] {
            assert_eq!(basis(|_| {}, json!({"purpose": purpose})).content_opportunities(), expected, "{purpose}");
        }
    }

    #[test]
    fn expertise_chooses_the_search_intent() {
        for (expertise, intent, focus) in [
            ("beginner", "educational", "basic concepts"),
            ("Intermediate", "practical", "implementation"),
            ("expert", "advanced", "strategic insights"),
        ] {
            let found = basis(|website| website.expertise_level = expertise.to_owned(), Json::Null).search_intent();
            assert_eq!((found.intent.as_str(), found.focus.as_str()), (intent, focus), "{expertise}");
        }
    }
}
