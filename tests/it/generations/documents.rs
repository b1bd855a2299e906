//! Real instances in front of each generation: every user with rows gets all of them, and what a generation lacks is
//! named, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use testkit::{
    command::userdata_with,
    database::{BOTH, Kind, TestDatabase, database},
    generations::{FORMS, GENERATIONS, Generation, Ids, Planning, USERS, Who},
    get::{complete, failed, get},
    server::{Server, Settings, serve},
};
use userdata::{
    model::Section,
    planning_json::{CallerGeneration, planning_json},
    proto::v1::{GapOrigin, GetComprehensiveUserDataResponse, StrategyKind},
};

use crate::planning_json::steps_can_read;

/// An instance and the application's database that it reads.
pub(super) struct Served {
    pub(super) server: Server,
    pub(super) place: TestDatabase,
    _cache: TestDatabase,
}

/// Serves from such a database, with its cache elsewhere.
pub(super) async fn serve_from(place: TestDatabase, settings: impl FnOnce(Settings, &str) -> Settings) -> Served {
    let cache = database(Kind::Sqlite).await;
    let own = Settings::on(&cache.url).with("sources.database_url", &place.url);
    let server = serve(settings(own, &place.url)).await;
    Served { server, place, _cache: cache }
}

pub(super) async fn serve_planning(planning: &Planning, kind: Kind) -> Served {
    serve_from(planning.database(kind).await, |settings, _| settings).await
}

/// All users' replies.
async fn replies(planning: &Planning, kind: Kind) -> Vec<GetComprehensiveUserDataResponse> {
    let served = serve_planning(planning, kind).await;
    let mut client = served.server.client().await;
    let mut replies = Vec::new();
    for who in USERS {
        let reply = get(&mut client, planning.ids.of(who)).await;
        assert!(complete(&reply), "{planning:?} {kind:?} {who:?}: {:?}", failed(&reply));
        replies.push(reply);
    }
    replies
}

/// The document without what differs by itself: the user's id, and the time of the assembly.
pub(super) fn comparable(reply: &GetComprehensiveUserDataResponse) -> Json {
    fn strip(json: &mut Json) {
        match json {
            Json::Object(members) => {
                members.retain(|key, _| !["user_id", "since", "until", "analysis_date"].contains(&key.as_str()));
                members.values_mut().for_each(strip);
            }
            Json::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut json = serde_json::to_value(reply.data.as_ref().unwrap()).unwrap();
    strip(&mut json);
    json
}

/// The warnings of all sections.
pub(super) fn warnings(reply: &GetComprehensiveUserDataResponse) -> BTreeSet<String> {
    reply.sections.iter().flat_map(|report| report.warnings.iter().cloned()).collect()
}

/// What a generation lacks of the newest one's tables and columns, of those that are read.
pub(super) fn lacks(generation: Generation) -> BTreeSet<String> {
    let since_newest = [
        "TABLE_MISSING platform_integrations",
        "COLUMN_MISSING onboarding_sessions.payload",
        "COLUMN_MISSING enhanced_content_strategies.performance_metrics",
        "COLUMN_MISSING calendar_events.user_id",
    ];
    let since_june = [
        "TABLE_MISSING persona_data",
        "TABLE_MISSING competitor_analyses",
        "TABLE_MISSING seo_page_audits",
        "TABLE_MISSING deep_competitor_analysis_tasks",
        "TABLE_MISSING deep_competitor_analysis_execution_logs",
        "COLUMN_MISSING website_analyses.brand_analysis",
        "COLUMN_MISSING website_analyses.content_strategy_insights",
        "COLUMN_MISSING website_analyses.seo_audit",
        "COLUMN_MISSING website_analyses.strategic_insights_history",
    ];
    let lacking: &[&[&str]] = match generation {
        Generation::Aug22 => &[&since_newest, &since_june],
        Generation::Jun26 => &[&since_newest],
        Generation::Newest => &[],
    };
    lacking.iter().copied().flatten().map(|warning| (*warning).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_with_rows_gets_all_of_them_whatever_the_generation_the_database_and_the_form_of_ids() {
    for generation in GENERATIONS {
        let mut first: Option<Vec<Json>> = None;
        for (kind, ids) in BOTH.into_iter().flat_map(|kind| FORMS.map(|ids| (kind, ids))) {
            let planning = Planning::of(generation, ids);
            let replies = replies(&planning, kind).await;
            let named: BTreeSet<String> = replies.iter().flat_map(warnings).collect();
            assert_eq!(named, lacks(generation), "{planning:?} {kind:?}");
            for (who, reply) in USERS.into_iter().zip(&replies) {
                let what = has_all(generation, who, reply);
                assert!(what.is_empty(), "{planning:?} {kind:?} {who:?} has not: {what:?}");
            }
            let documents: Vec<Json> = replies.iter().map(comparable).collect();
            match &first {
                None => first = Some(documents),
                Some(first) => {
                    for (who, (own, first)) in USERS.into_iter().zip(documents.iter().zip(first)) {
                        assert_eq!(own, first, "{planning:?} {kind:?} {who:?}");
                    }
                }
            }
        }
    }
}

/// What of a user's rows is not in the document.
fn has_all(generation: Generation, who: Who, reply: &GetComprehensiveUserDataResponse) -> Vec<&'static str> {
    let document = reply.data.as_ref().unwrap();
    let json = serde_json::to_value(document).unwrap();
    let there = |path: &str| json.pointer(path).is_some_and(|value| *value != json!([]) && *value != json!({}));
    let mut lacking = Vec::new();
    let mut expect = |what: &'static str, there: bool| {
        if !there {
            lacking.push(what);
        }
    };
    let strategy = document.strategy_data.as_ref().map(|strategy| (strategy.kind(), strategy.strategy_id));
    let has_content = [Who::Onboarded, Who::LegacyOnly].contains(&who);
    let expected = match who {
        Who::Onboarded => Some((StrategyKind::Enhanced, 1)),
        Who::LegacyOnly => Some((StrategyKind::Legacy, 2)),
        Who::Odd => Some((StrategyKind::Enhanced, 9)),
        Who::SessionOnly | Who::LinkedIn => None,
    };
    expect("strategy", strategy == expected);
    if has_content {
        let gaps = document.gap_analysis.as_ref().unwrap();
        let performance = document.performance_data.as_ref().unwrap();
        expect("recommendations", document.recommendations_data.len() == 1);
        expect("analytics", performance.windows[2].overall.as_ref().unwrap().records == 6);
        expect("calendar", performance.top_content.len() == 2);
        expect("legacy strategies", performance.strategy_ids.len() == 1);
        let keyword = gaps.keyword_opportunities.iter().find(|keyword| keyword.keyword == "email automation");
        expect("keywords", keyword.is_some_and(|keyword| keyword.search_volume == Some(2400)));
        expect("stored gaps", gaps.content_gaps.iter().any(|gap| gap.origin() == GapOrigin::Stored));
        let invented = gaps.keyword_opportunities.iter().any(|keyword| keyword.origin() == GapOrigin::RuleDefault);
        expect("only keywords of its own", !invented);
    }
    if who == Who::Onboarded {
        expect("activation", there("/strategy_data/activation_status"));
        expect("metrics", there("/performance_data/strategy_metrics/latest"));
        expect("inputs", json["strategy_data"]["strategy_analysis"]["filled_fields"] == 35);
        expect("research", there("/onboarding_data/research_preferences"));
        expect("website", json["onboarding_data"]["website_analysis"]["website_url"] == "https://lumen.example");
        let since_june = generation > Generation::Aug22;
        let seo = "/onboarding_data/seo_profile";
        for (what, path) in [
            ("persona", "/onboarding_data/platform_preferences".to_owned()),
            ("page audits", format!("{seo}/full_site_seo_summary")),
            ("homepage audit", format!("{seo}/homepage_seo_audit")),
            ("competitors", format!("{seo}/competitor_seo_benchmarks")),
            ("deep task", "/onboarding_data/competitive_intelligence/deep_competitor_analysis/report".to_owned()),
            ("history", "/onboarding_data/competitive_intelligence/strategic_insights_history".to_owned()),
            ("insights", "/onboarding_data/strategy_insights".to_owned()),
            ("brand", "/onboarding_data/brand_values".to_owned()),
        ] {
            expect(what, there(&path) == since_june);
        }
        let own_figures = json["strategy_data"]["performance_metrics"]["monthly_traffic"] == "10k";
        expect("own figures", own_figures == (generation == Generation::Newest));
    }
    if who == Who::LinkedIn && generation == Generation::Newest {
        expect("connected platforms", json["onboarding_data"]["platform_preferences"] == json!(["linkedin"]));
    }
    let callers = match generation {
        Generation::Aug22 => CallerGeneration::Aug22,
        Generation::Jun26 => CallerGeneration::Jun26,
        Generation::Newest => CallerGeneration::Newest,
    };
    expect("what the steps read", steps_can_read(document, &planning_json(document, callers).unwrap()).is_ok());
    lacking
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_only_sqlite_takes_cost_themselves_only() {
    for generation in GENERATIONS {
        let planning = Planning::of(generation, Ids::Clerk);
        let served = serve_planning(&planning, Kind::Sqlite).await;
        planning.only_sqlite_takes(&served.place.connect().await).await;
        let reply = get(&mut served.server.client().await, planning.ids.of(Who::Odd)).await;
        assert!(complete(&reply), "{generation:?}: {:?}", failed(&reply));
        let document = reply.data.as_ref().unwrap();
        let latest = document.performance_data.as_ref().unwrap().strategy_metrics.as_ref().unwrap().latest.as_ref();
        assert_eq!(latest.unwrap().traffic_growth_percentage, Some(12), "{generation:?}");
        assert_eq!(latest.unwrap().confidence_score, None, "{generation:?}: 0.8 is not cut off");
        let mut expected = lacks(generation);
        expected.insert("OUT_OF_RANGE strategy_performance_metrics.confidence_score".to_owned());
        if generation > Generation::Aug22 {
            let seo = document.onboarding_data.as_ref().unwrap().seo_profile.as_ref().unwrap();
            let audit = serde_json::to_value(seo.homepage_seo_audit.as_ref().unwrap()).unwrap();
            assert_eq!(audit, json!({"overall_score": 71, "speed": {"lcp": null, "cls": null, "tbt": null}}));
            expected.insert("NOT_A_NUMBER website_analyses.seo_audit".to_owned());
        }
        assert_eq!(warnings(&reply), expected, "{generation:?}");
    }
}

/// What doctor found of the sources' tables on a database.
pub(super) async fn doctor_on_tables(place: &TestDatabase) -> Vec<String> {
    let cache = database(Kind::Sqlite).await;
    let settings =
        [("USERDATA__DATABASE__URL", cache.url.as_str()), ("USERDATA__SOURCES__DATABASE_URL", place.url.as_str())];
    let flags = ["doctor", "-o", "json", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let ran = userdata_with(&flags, &settings).await;
    assert_eq!(ran.exit_code, 0, "it is served: {ran:?}");
    let report: Json = serde_json::from_str(&ran.stdout).unwrap();
    let of_tables =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "sources tables");
    of_tables.map(|finding| finding["found"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_a_generation_lacks() {
    for (generation, kind) in GENERATIONS.into_iter().flat_map(|generation| BOTH.map(|kind| (generation, kind))) {
        let place = Planning::of(generation, Ids::Numeric).database(kind).await;
        let mut named = BTreeSet::new();
        for found in doctor_on_tables(&place).await {
            for (beginning, code) in [("missing tables: ", "TABLE_MISSING"), ("missing columns: ", "COLUMN_MISSING")] {
                if let Some(rest) = found.strip_prefix(beginning) {
                    let (names, _what_it_costs) = rest.split_once(": ").unwrap();
                    named.extend(names.split(", ").map(|name| format!("{code} {name}")));
                }
            }
        }
        assert_eq!(named, lacks(generation), "{generation:?} {kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_section_names_what_is_missing_of_its_own_tables_only() {
    let planning = Planning::of(Generation::Aug22, Ids::Numeric);
    let lacks = lacks(Generation::Aug22);
    for reply in replies(&planning, Kind::Sqlite).await {
        for report in &reply.sections {
            let own = |warning: &&String| match report.section() {
                Section::Strategy => warning.contains(" enhanced_content_strategies."),
                Section::GapAnalysis | Section::Performance => warning.contains(" calendar_events."),
                Section::Onboarding => ![" enhanced_", " calendar_"].iter().any(|table| warning.contains(table)),
                _ => false,
            };
            let expected: BTreeSet<&String> = lacks.iter().filter(own).collect();
            assert_eq!(report.warnings.iter().collect::<BTreeSet<_>>(), expected, "{:?}", report.section());
        }
    }
}
