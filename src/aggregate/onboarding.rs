//! The onboarding source: the user's own answers, and findings about the site and its competitors (data.md, section 5).
//!
//! [`load`] sends the statements and returns rows; all other files are pure and turn equal rows into equal messages.
//! The message's `sources` say where a rule or a constant stands in for an unknown value.

mod competitors;
mod content;
mod defaults;
mod intelligence;
mod kept;
mod load;
mod profile;
mod provenance;
mod seo;
mod statements;
mod website;

#[cfg(test)]
mod database_tests;

pub use kept::{keep, restore};
use load::OnboardingRows;
use provenance::Sources;

use super::{
    Read, SourceError,
    rows::Onboarding,
    sql::{SourceDatabase, Warnings},
    value::{member, strings},
};
use crate::{
    model::UserId,
    proto::v1::{BusinessInfo, CompetitorAnalysis, ComprehensiveUserData, OnboardingData},
};

/// Reads all of a user's onboarding, in one transaction.
pub async fn read(database: &SourceDatabase, user: &UserId) -> Result<Read<Onboarding>, SourceError> {
    database
        .read(|| async {
            let (reading, mut warnings) = database.begin(&statements::STATEMENTS).await?;
            let loaded = load::load(&reading, user, &mut warnings).await?;
            reading.end().await?;
            Ok(Read { value: onboarding(loaded, &mut warnings), warnings })
        })
        .await
}

/// The section's fields of the document: the message, and copies of three of its parts.
#[must_use]
pub fn document(onboarding: &OnboardingData) -> ComprehensiveUserData {
    ComprehensiveUserData {
        website_analysis: onboarding.website_analysis.clone(),
        competitor_analysis: onboarding.competitor_analysis.clone(),
        keyword_analysis: onboarding.keyword_analysis.clone(),
        onboarding_data: Some(onboarding.clone()),
        ..ComprehensiveUserData::default()
    }
}

/// The message, and the rows that other sources work on.
fn onboarding(loaded: OnboardingRows, warnings: &mut Warnings) -> Onboarding {
    Onboarding {
        session: loaded.session,
        found: loaded.session || loaded.deep_task.is_some() || loaded.gap.is_some(),
        data: data(&loaded, warnings),
        website: loaded.website.unwrap_or_default().shared,
        competitors: loaded.competitors,
        gap: loaded.gap.unwrap_or_default(),
    }
}

/// The rule of each field, in the order of section 5.
fn data(loaded: &OnboardingRows, warnings: &mut Warnings) -> OnboardingData {
    // A missing row and an empty one give the same fields, except for `website_analysis` and `research_preferences`,
    // which depend on the row itself.
    let (no_website, no_research, no_persona, no_gap, no_integrations) = Default::default();
    let web = loaded.website.as_ref().unwrap_or(&no_website);
    let res = loaded.research.as_ref().unwrap_or(&no_research);
    let per = loaded.persona.as_ref().unwrap_or(&no_persona);
    let gap = loaded.gap.as_ref().unwrap_or(&no_gap);
    let integrations = loaded.integrations.as_ref().unwrap_or(&no_integrations);

    let mut sources = Sources::default();
    let website_analysis = website::analysis(loaded.website.as_ref(), &mut sources);
    let basis = defaults::Basis::of(&website_analysis, &web.content_type);
    let industry = profile::industry(web, res, per, &loaded.payload, &mut sources);
    let target_audience = profile::target_audience(web, res, per, &mut sources);

    OnboardingData {
        business_info: Some(BusinessInfo { industry: industry.clone(), target_audience: target_audience.clone() }),
        industry,
        target_audience,
        writing_tone: profile::TONE.read(web, res, &mut sources),
        writing_voice: profile::VOICE.read(web, res, &mut sources),
        writing_complexity: profile::COMPLEXITY.read(web, res, &mut sources),
        writing_engagement: profile::ENGAGEMENT.read(web, res, &mut sources),
        content_types: profile::content_types(web, res, &loaded.payload, &mut sources),
        brand_colors: profile::brand_list(web, "color_palette", &mut sources),
        brand_values: profile::brand_list(web, "brand_values", &mut sources),
        visual_style: profile::visual_style(&web.style_guidelines),
        strategy_insights: profile::strategy_insights(&web.shared.content_strategy_insights),
        seo_profile: seo::profile(web, loaded.page_audits.as_ref(), &loaded.competitors, &mut sources),
        competitive_intelligence: intelligence::competitive(loaded.deep_task.as_ref(), web, warnings),
        platform_preferences: profile::platform_preferences(per, integrations, &mut sources),
        research_depth: res.depth().map(str::to_owned),
        auto_research: res.auto_research,
        factual_content: res.factual_content,
        posting_preferences: Some(defaults::posting(&mut sources)),
        posting_days: defaults::texts(&defaults::POSTING_DAYS),
        optimal_times: defaults::texts(&defaults::OPTIMAL_TIMES),
        competitor_analysis: Some(CompetitorAnalysis {
            top_performers: competitors::top_performers(&loaded.competitors, &basis, &mut sources),
            industry: website_analysis.industry_focus.clone(),
            target_demographics: strings(member(&web.target_audience, "demographics")),
        }),
        gap_analysis: Some(content::gaps(&web.shared.content_strategy_insights, gap, &basis, &mut sources)),
        keyword_analysis: Some(content::keywords(gap, &basis, &mut sources)),
        research_preferences: loaded.research.as_ref().map(profile::research_preferences),
        website_analysis: Some(website_analysis),
        sources: sources.into_map(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        load::{DeepTask, Integrations, PageAudits, Persona, Research, Website},
        *,
    };
    use crate::aggregate::rows::{CompetitorRow, GapRow, WebsiteRow};

    fn shown(loaded: &OnboardingRows) -> serde_json::Value {
        serde_json::to_value(data(loaded, &mut Warnings::default())).unwrap()
    }

    #[test]
    fn with_nothing_known_only_defaults_are_left_and_say_so() {
        assert_eq!(
            shown(&OnboardingRows::default()),
            json!({
                "writing_tone": "professional", "writing_voice": "authoritative",
                "writing_complexity": "intermediate", "writing_engagement": "moderate",
                "content_types": [], "brand_colors": [], "brand_values": [], "platform_preferences": [],
                "business_info": {},
                "sources": {
                    "writing_tone": "default", "writing_voice": "default",
                    "writing_complexity": "default", "writing_engagement": "default",
                    "website_analysis": "default", "posting": "default",
                    "content_gaps": "rule_default", "target_keywords": "rule_default",
                    "content_opportunities": "rule_default", "high_value_keywords": "rule_default",
                    "content_topics": "rule_default", "search_intent": "rule_default",
                },
                "posting_preferences": {"daily": 2, "weekly": 10, "monthly": 40},
                "posting_days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
                "optimal_times": ["09:00", "12:00", "15:00", "18:00", "20:00"],
                "website_analysis": {
                    "content_types": ["blog", "video", "social"], "writing_style": "professional",
                    "target_audience": ["professionals"], "industry_focus": "general",
                    "expertise_level": "intermediate",
                },
                "competitor_analysis": {"top_performers": [], "industry": "general", "target_demographics": []},
                "gap_analysis": {
                    "content_gaps": ["Video tutorials", "Case studies", "Infographics", "Personal stories"],
                    "target_keywords": ["Industry insights", "Best practices", "Expert tips"],
                    "content_opportunities": ["How-to guides", "Tutorials", "Educational content"],
                },
                "keyword_analysis": {
                    "high_value_keywords": ["Industry trends", "Best practices", "Expert insights"],
                    "content_topics": ["Industry trends", "How-to guides", "Expert insights"],
                    "search_intent": {"intent": "practical", "focus": "implementation"},
                },
            })
        );
    }

    fn known() -> OnboardingRows {
        OnboardingRows {
            session: true,
            website: Some(Website {
                url: Some("https://own.example".to_owned()),
                writing_style: json!({"tone": "casual", "voice": " "}),
                target_audience: json!({
                    "demographics": ["founders", "marketers"], "industry_focus": "SaaS", "expertise_level": "Beginner",
                }),
                content_type: json!({"primary_type": "video", "secondary_types": ["Podcast", "Video"], "purpose": "Promotional"}),
                style_guidelines: json!({"aesthetic": "flat"}),
                strategic_insights_history: json!([{"week": 2}, {"week": 1}]),
                shared: WebsiteRow {
                    brand_analysis: json!({"color_palette": ["#fff"], "brand_values": "clarity; care"}),
                    content_strategy_insights: json!({"content_gaps": ["pricing"], "strengths": []}),
                    seo_audit: json!({"sitemap_strategy_insights": {"depth": 3}}),
                },
            }),
            research: Some(Research {
                depth: None,
                content_types: json!([]),
                auto_research: Some(false),
                factual_content: None,
                writing_style: json!({"voice": "warm", "complexity": "simple"}),
                target_audience: json!({"industry_focus": "retail"}),
            }),
            persona: Some(Persona {
                core: json!({"industry": "", "target_audience": {"role": "founder"}}),
                platform_personas: json!({"X": {}, "Medium": {}, "twitter": {}}),
                selected_platforms: json!([]),
            }),
            competitors: vec![CompetitorRow { domain: "a.example".to_owned(), ..CompetitorRow::default() }],
            page_audits: Some(PageAudits { pages_audited: 1, ..PageAudits::default() }),
            deep_task: Some(DeepTask::default()),
            gap: Some(GapRow {
                target_keywords: json!({"email": {}, "automation": {}}),
                analysis_results: json!({"content_gaps": ["shadowed"]}),
                opportunities: json!([{"title": "webinars"}]),
                recommendations: json!(null),
            }),
            ..OnboardingRows::default()
        }
    }

    #[test]
    fn what_linkedin_and_connected_platforms_tell_fills_what_no_other_source_knows() {
        let payload = json!({
            "linkedin_onboarding_summary": {"profile": {"industry": "Logistics"}},
            "linkedin_content_preferences": {"preferred_formats": ["carousels", "posts"]},
        });
        let integrations = |social| Integrations {
            connected: json!(["wix", "gsc", "LinkedIn", "x"]),
            social,
            analytics: json!({"gsc": {"id": 1}}),
            website: json!({"wix": {"id": 2}}),
        };
        let of = |social| OnboardingRows {
            session: true,
            payload: payload.clone(),
            integrations: Some(integrations(social)),
            ..OnboardingRows::default()
        };
        let data = shown(&of(json!({"facebook": true, "threads": false})));
        assert_eq!(data["industry"], "Logistics");
        assert_eq!(data["content_types"], json!(["carousels", "posts"]));
        assert_eq!(data["platform_preferences"], json!(["facebook"]));
        assert_eq!(data["sources"]["industry"], "linkedin_onboarding");
        assert_eq!(data["sources"]["platform_preferences"], "platform_integrations");
        assert_eq!(shown(&of(json!(null)))["platform_preferences"], json!(["linkedin", "twitter"]));

        let with_more =
            OnboardingRows { payload, integrations: Some(integrations(json!({"facebook": true}))), ..known() };
        assert_eq!(shown(&with_more), shown(&known()), "other sources come first");
    }

    #[test]
    fn the_first_source_that_knows_a_value_is_named() {
        let data = shown(&known());
        for (pointer, value, key, source) in [
            ("/industry", json!("SaaS"), "industry", "website_analysis"),
            ("/target_audience", json!({"role": "founder"}), "target_audience", "persona_core"),
            ("/writing_tone", json!("casual"), "writing_tone", "website_analysis"),
            ("/writing_voice", json!("warm"), "writing_voice", "research_preferences"),
            ("/writing_complexity", json!("simple"), "writing_complexity", "research_preferences"),
            ("/writing_engagement", json!("moderate"), "writing_engagement", "default"),
            ("/content_types", json!(["video", "Podcast"]), "content_types", "website_analysis"),
            ("/brand_colors", json!(["#fff"]), "brand_identity", "website_analysis"),
            ("/brand_values", json!(["clarity", "care"]), "brand_identity", "website_analysis"),
            ("/platform_preferences", json!(["medium", "twitter"]), "platform_preferences", "persona_data"),
            ("/posting_preferences/daily", json!(2), "posting", "default"),
            ("/seo_profile/sitemap_strategy_insights", json!({"depth": 3}), "seo_profile", "website_analysis"),
            ("/website_analysis/writing_style", json!("casual"), "website_analysis", "website_analysis"),
            ("/competitor_analysis/top_performers", json!(["a.example"]), "competitor_analysis", "competitor_analyses"),
            ("/gap_analysis/content_gaps", json!(["pricing"]), "content_gaps", "website_analysis"),
            (
                "/gap_analysis/target_keywords",
                json!(["automation", "email"]),
                "target_keywords",
                "content_gap_analyses",
            ),
            (
                "/gap_analysis/content_opportunities",
                json!(["webinars"]),
                "content_opportunities",
                "content_gap_analyses",
            ),
            (
                "/keyword_analysis/high_value_keywords",
                json!(["automation", "email"]),
                "high_value_keywords",
                "content_gap_analyses",
            ),
            (
                "/keyword_analysis/content_topics",
                json!(["Tutorials", "Product demos", "Expert interviews"]),
                "content_topics",
                "rule_default",
            ),
            ("/keyword_analysis/search_intent/intent", json!("educational"), "search_intent", "rule_default"),
        ] {
            assert_eq!(data.pointer(pointer), Some(&value), "{pointer}");
            assert_eq!(data["sources"][key], source, "{pointer}");
        }
        assert_eq!(data["sources"].as_object().unwrap().len(), 19);
    }

    #[test]
    fn what_has_no_source_of_its_own_follows_its_row() {
        let data = shown(&known());
        for (pointer, value) in [
            ("/business_info", json!({"industry": "SaaS", "target_audience": {"role": "founder"}})),
            ("/visual_style", json!({"aesthetic": "flat"})),
            ("/strategy_insights", json!({"content_gaps": ["pricing"], "strengths": []})),
            ("/auto_research", json!(false)),
            ("/competitor_analysis/industry", json!("SaaS")),
            ("/competitor_analysis/target_demographics", json!(["founders", "marketers"])),
            ("/competitive_intelligence/strategic_insights_history", json!([{"week": 2}, {"week": 1}])),
            (
                "/research_preferences",
                json!({
                    "research_depth": "Standard", "content_types": [], "auto_research": false, "factual_content": true,
                }),
            ),
        ] {
            assert_eq!(data.pointer(pointer), Some(&value), "{pointer}");
        }
        assert!(data.get("research_depth").is_none() && data.get("factual_content").is_none());
    }

    #[test]
    fn the_document_repeats_three_parts() {
        let data = data(&known(), &mut Warnings::default());
        let document = document(&data);
        assert!(data.website_analysis.is_some() && document.website_analysis == data.website_analysis);
        assert!(data.competitor_analysis.is_some() && document.competitor_analysis == data.competitor_analysis);
        assert!(data.keyword_analysis.is_some() && document.keyword_analysis == data.keyword_analysis);
        assert_eq!(document.onboarding_data, Some(data));
        assert_eq!(document.user_id, "");
    }

    #[test]
    fn a_user_is_found_by_session_deep_task_or_gap_row() {
        for (loaded, session, found) in [
            (OnboardingRows::default(), false, false),
            (OnboardingRows { session: true, ..OnboardingRows::default() }, true, true),
            (OnboardingRows { deep_task: Some(DeepTask::default()), ..OnboardingRows::default() }, false, true),
            (OnboardingRows { gap: Some(GapRow::default()), ..OnboardingRows::default() }, false, true),
        ] {
            let onboarding = onboarding(loaded, &mut Warnings::default());
            assert_eq!((onboarding.session, onboarding.found), (session, found));
        }
    }
}
