//! The statements against real tables: what is read, of whom, and what odd rows do.

use serde_json::{Value as Json, json};

use super::{read, statements::*};
use crate::{
    aggregate::{plan::Read, rows::Onboarding, testing::SourceTables},
    model::UserId,
};

/// More than any row below has, and little enough to exceed in a test.
const COLUMN_BYTES_MAX: usize = 1000;

/// User 1 with several rows wherever several can be; the right ones say so.
const ROWS: [&str; 13] = [
    "INSERT INTO onboarding_sessions (id, user_id, updated_at) VALUES \
     (1, '1', '2025-08-01 10:00:00'), (2, '1', '2025-08-01 10:00:00.5'), (3, '1', NULL), (4, '2', '2025-09-01 10:00:00')",
    "INSERT INTO website_analyses (id, session_id, website_url, writing_style, status, updated_at, seo_audit) VALUES \
     (1, 2, 'https://own.example', '{\"tone\": \"casual\"}', 'completed', '2025-08-01 10:00:00', \
      '{\"overall_score\": 71, \"competitive_sitemap_benchmarking\": {\"timestamp\": \"2025-08-01\", \
        \"benchmark\": {\"competitors_analyzed\": 3, \"gaps\": {\"missing_sections\": [\"a\", \"b\"]}}}}'), \
     (2, 2, 'https://failed.example', NULL, 'failed', '2025-08-02 10:00:00', NULL), \
     (3, 1, 'https://other-session.example', NULL, 'completed', '2025-08-03 10:00:00', NULL)",
    "INSERT INTO research_preferences (id, session_id, research_depth, content_types, auto_research, factual_content) \
     VALUES (1, 2, 'Expert', '[\"Guides\"]', FALSE, NULL)",
    "INSERT INTO persona_data (id, session_id, core_persona, selected_platforms) VALUES \
     (1, 2, '{\"industry\": \"Fintech\"}', '[\"LinkedIn\", \"X\"]')",
    "INSERT INTO competitor_analyses \
     (id, session_id, competitor_url, competitor_domain, analysis_date, analysis_data, updated_at) VALUES \
     (1, 2, 'https://www.alpha.example/about', NULL, NULL, '{\"seo_audit\": {\"overall_score\": 60}}', '2025-08-01 10:00:00'), \
     (2, 2, 'https://beta.example', 'WWW.Beta.example', '2025-08-03 00:00:00', \
      '{\"relevance_score\": 0.9, \"seo_audit\": {\"overall_score\": 75.5}}', '2025-08-02 10:00:00')",
    "INSERT INTO competitor_analyses (id, session_id, competitor_url, competitor_domain, updated_at) VALUES \
     (3, 2, 'https://beta.example/old', 'beta.example', NULL)",
    "INSERT INTO seo_page_audits (id, user_id, website_url, page_url, overall_score, status) VALUES \
     (1, '1', 'https://own.example', '/b', 40, 'fix_scheduled'), (2, '1', 'https://own.example', '/B', 40, NULL), \
     (3, '1', 'https://own.example', '/c', NULL, 'FIX_SCHEDULED'), (4, '1', 'https://own.example', '/d', 91, 'Fix_Scheduled'), \
     (5, '1', 'https://failed.example', '/e', 1, NULL), (6, '2', 'https://own.example', '/f', 1, NULL)",
    "INSERT INTO deep_competitor_analysis_tasks (id, user_id, website_url, status, next_execution, payload, updated_at) \
     VALUES (1, '1', 'https://own.example', 'active', '2025-09-02 00:00:00', '{\"competitors\": [1, 2, 3]}', NULL), \
     (2, '1', 'https://failed.example', 'paused', NULL, NULL, '2025-09-01 00:00:00')",
    "INSERT INTO deep_competitor_analysis_execution_logs (id, task_id, execution_date, status, result_data) VALUES \
     (1, 1, '2025-08-01 00:00:00', 'success', '{\"summary\": \"older\"}'), \
     (2, 1, '2025-08-02 00:00:00', 'success', '{\"summary\": \"newest success\"}'), \
     (3, 1, '2025-08-03 00:00:00', 'failed', NULL), (4, 2, '2025-08-04 00:00:00', 'running', NULL)",
    "INSERT INTO content_gap_analyses (id, user_id, website_url, target_keywords, updated_at) VALUES \
     (1, 1, 'https://own.example', '[\"own keyword\"]', NULL), \
     (2, 1, 'https://failed.example', '[\"other keyword\"]', '2025-09-01 00:00:00')",
    // User 3 has no session, user 4 nothing but a gap row.
    "INSERT INTO deep_competitor_analysis_tasks (id, user_id, website_url, status, updated_at) VALUES \
     (3, '3', 'https://a.example', 'older', '2025-08-01 00:00:00'), (4, '3', 'https://b.example', 'newest', '2025-08-02 00:00:00')",
    "INSERT INTO content_gap_analyses (id, user_id, website_url, target_keywords) VALUES (3, 4, 'x', '[\"four\"]')",
    "INSERT INTO onboarding_sessions (id, user_id, updated_at) VALUES (5, 'demo_anna', NULL)",
];

struct Fixture {
    tables: SourceTables,
}

impl Fixture {
    async fn new() -> Self {
        let fixture = Self { tables: SourceTables::create(COLUMN_BYTES_MAX).await };
        for statement in ROWS {
            fixture.run(statement).await;
        }
        fixture
    }

    async fn run(&self, statement: &str) {
        self.tables.execute(statement).await;
    }

    async fn read(&self, user: &str) -> Read<Onboarding> {
        read(&self.tables.database, &UserId::parse(user).unwrap()).await.unwrap()
    }
}

/// A message as its JSON, to look into.
fn shown(read: &Read<Onboarding>) -> Json {
    serde_json::to_value(&read.value.data).unwrap()
}

#[tokio::test]
async fn the_right_one_of_several_rows_is_read() {
    let read = Fixture::new().await.read("1").await;
    let data = shown(&read);
    for (pointer, expected) in [
        ("/website_analysis/website_url", json!("https://own.example")),
        ("/writing_tone", json!("casual")),
        ("/industry", json!("Fintech")),
        ("/research_depth", json!("Expert")),
        ("/auto_research", json!(false)),
        ("/factual_content", Json::Null),
        ("/research_preferences/factual_content", json!(true)),
        ("/content_types", json!(["Guides"])),
        ("/platform_preferences", json!(["linkedin", "twitter"])),
        ("/competitor_analysis/top_performers", json!(["beta.example", "alpha.example"])),
        ("/gap_analysis/target_keywords", json!(["own keyword"])),
        ("/seo_profile/homepage_seo_audit/overall_score", json!(71)),
    ] {
        assert_eq!(data.pointer(pointer).unwrap_or(&Json::Null), &expected, "{pointer}");
    }
    assert!(read.value.session && read.value.found);
    assert_eq!(read.value.competitors.len(), 2);
    assert_eq!(read.value.website.seo_audit["overall_score"], 71);
    assert_eq!(read.value.gap.target_keywords, json!(["own keyword"]));
    assert!(read.warnings.into_vec().is_empty());
}

#[tokio::test]
async fn audits_and_the_deep_analysis_are_those_of_the_site() {
    let data = shown(&Fixture::new().await.read("1").await);
    for (pointer, expected) in [
        (
            "/seo_profile/full_site_seo_summary",
            json!({
                "pages_audited": 4, "pages_scored": 3, "avg_score": 57.0, "fix_scheduled_pages": 2,
                "worst_pages": [
                    {"page_url": "/B", "overall_score": 40},
                    {"page_url": "/b", "overall_score": 40, "status": "fix_scheduled"},
                    {"page_url": "/d", "overall_score": 91, "status": "Fix_Scheduled"},
                ],
            }),
        ),
        (
            "/seo_profile/competitor_seo_benchmarks",
            json!({
                "competitors_with_seo_audit": 2, "avg_homepage_seo_score": 67.8,
                "best_competitor": {
                    "competitor_url": "https://beta.example", "competitor_domain": "beta.example",
                    "overall_score": 75.5, "last_analyzed_at": "2025-08-03T00:00:00Z",
                },
                "worst_competitor": {
                    "competitor_url": "https://www.alpha.example/about", "competitor_domain": "alpha.example",
                    "overall_score": 60.0, "last_analyzed_at": "2025-08-01T10:00:00Z",
                },
            }),
        ),
        (
            "/competitive_intelligence",
            json!({
                "deep_competitor_analysis": {
                    "status": "active", "next_execution": "2025-09-02T00:00:00Z", "competitors_count": 3,
                    "last_run": "2025-08-03T00:00:00Z", "last_status": "failed",
                    "report": {"summary": "newest success"},
                },
                "competitive_sitemap_benchmarking": {
                    "status": "available", "last_run": "2025-08-01",
                    "competitors_analyzed": 3, "missing_sections_count": 2,
                },
                "strategic_insights_history": [],
            }),
        ),
    ] {
        assert_eq!(data.pointer(pointer).unwrap_or(&Json::Null), &expected, "{pointer}");
    }
}

#[tokio::test]
async fn without_a_session_what_belongs_to_the_user_is_still_read() {
    let fixture = Fixture::new().await;
    let deep = fixture.read("3").await;
    assert!(!deep.value.session && deep.value.found);
    assert_eq!(shown(&deep)["competitive_intelligence"]["deep_competitor_analysis"]["status"], "newest");

    let gap = fixture.read("4").await;
    assert!(!gap.value.session && gap.value.found);
    assert_eq!(shown(&gap)["gap_analysis"]["target_keywords"], json!(["four"]));
}

#[tokio::test]
async fn other_spellings_of_a_number_are_other_users() {
    let fixture = Fixture::new().await;
    for user in ["01", "04", "+1", "+4", "1.0", "4294967300", "unheard-of"] {
        let read = fixture.read(user).await;
        assert!(!read.value.session && !read.value.found, "{user}");
    }
}

#[tokio::test]
async fn a_text_id_in_an_integer_column_is_a_user_as_any_other() {
    let fixture = Fixture::new().await;
    fixture.run("UPDATE content_gap_analyses SET user_id = 'user_33Gz' WHERE user_id = 4").await;
    assert_eq!(shown(&fixture.read("user_33Gz").await)["gap_analysis"]["target_keywords"], json!(["four"]));
    assert!(!fixture.read("4").await.value.found);
}

#[tokio::test]
async fn a_missing_table_or_column_costs_itself_only_and_is_named() {
    let fixture = Fixture::new().await;
    let whole = shown(&fixture.read("1").await);
    fixture.run("DROP TABLE content_gap_analyses").await;
    fixture.run("ALTER TABLE website_analyses DROP COLUMN seo_audit").await;
    let read = fixture.read("1").await;
    let left = shown(&read);
    for member in ["industry", "writing_tone", "competitor_analysis", "research_preferences"] {
        assert_eq!(left[member], whole[member], "{member}");
    }
    assert_eq!(left["seo_profile"]["homepage_seo_audit"], json!(null));
    let expected = ["COLUMN_MISSING website_analyses.seo_audit", "TABLE_MISSING content_gap_analyses"];
    assert_eq!(read.warnings.into_vec(), expected);

    fixture.run("DROP TABLE onboarding_sessions").await;
    fixture.run("DROP TABLE enhanced_content_strategies").await;
    assert!(!fixture.read("1").await.value.session);
    fixture.run("DROP TABLE content_strategies").await;
    fixture.tables.database.suspect_schema();
    let error = super::read(&fixture.tables.database, &UserId::parse("1").unwrap()).await.unwrap_err();
    assert_eq!(error.reason(), "NO_SOURCE_TABLES");
}

#[tokio::test]
async fn an_odd_column_never_fails_the_section() {
    const COLUMNS: [(&str, &str, i32); 20] = [
        ("website_analyses", "writing_style", 1),
        ("website_analyses", "target_audience", 1),
        ("website_analyses", "content_type", 1),
        ("website_analyses", "brand_analysis", 1),
        ("website_analyses", "content_strategy_insights", 1),
        ("website_analyses", "style_guidelines", 1),
        ("website_analyses", "seo_audit", 1),
        ("website_analyses", "strategic_insights_history", 1),
        ("research_preferences", "content_types", 1),
        ("research_preferences", "writing_style", 1),
        ("research_preferences", "target_audience", 1),
        ("persona_data", "core_persona", 1),
        ("persona_data", "platform_personas", 1),
        ("persona_data", "selected_platforms", 1),
        ("competitor_analyses", "analysis_data", 2),
        ("deep_competitor_analysis_tasks", "payload", 1),
        ("content_gap_analyses", "target_keywords", 1),
        ("content_gap_analyses", "analysis_results", 1),
        ("content_gap_analyses", "recommendations", 1),
        ("content_gap_analyses", "opportunities", 1),
    ];
    let deep = format!("'{}{}'", "[".repeat(25), "]".repeat(25));
    let large = format!("'\"{}\"'", "x".repeat(COLUMN_BYTES_MAX));
    let odd: [(&str, bool); 10] = [
        ("'{broken'", true),
        ("'{} {}'", true),
        (&deep, true),
        (&large, true),
        ("x'ff7b7d'", true),
        ("85", false),
        ("'[1, null, {\"name\": 5}]'", false),
        ("'null'", false),
        ("'\"a\\u0000b\"'", false),
        ("'{\"a\\u0000\": \"\\u0000\"}'", false),
    ];
    let fixture = Fixture::new().await;
    for (table, column, id) in COLUMNS {
        for (value, malformed) in odd {
            fixture.run(&format!("UPDATE {table} SET {column} = {value} WHERE id = {id}")).await;
            let read = fixture.read("1").await;
            let expected = if malformed { vec![format!("MALFORMED_COLUMN {table}.{column}")] } else { Vec::new() };
            assert_eq!(read.warnings.into_vec(), expected, "{table}.{column} = {value}");
        }
        fixture.run(&format!("UPDATE {table} SET {column} = '{{\"a\": NaN}}' WHERE id = {id}")).await;
        let read = fixture.read("1").await;
        assert_eq!(read.warnings.into_vec(), [format!("NOT_A_NUMBER {table}.{column}")]);
        // What cannot be NULL in the source is left as JSON null.
        let absent = if (table, column) == ("research_preferences", "content_types") { "'null'" } else { "NULL" };
        fixture.run(&format!("UPDATE {table} SET {column} = {absent} WHERE id = {id}")).await;
        assert!(fixture.read("1").await.warnings.into_vec().is_empty(), "{table}.{column} = {absent}");
    }
}

#[tokio::test]
async fn odd_times_and_numbers_are_absent_with_a_warning() {
    let fixture = Fixture::new().await;
    for statement in [
        "UPDATE competitor_analyses SET analysis_date = '2025-08-03' WHERE id = 2",
        "UPDATE deep_competitor_analysis_tasks SET next_execution = '2025-08-03T10:00:00Z' WHERE id = 1",
        "UPDATE deep_competitor_analysis_execution_logs SET execution_date = 'yesterday', status = 'success' WHERE id = 3",
        "UPDATE seo_page_audits SET overall_score = 3000000000 WHERE id = 4",
    ] {
        fixture.run(statement).await;
    }
    let read = fixture.read("1").await;
    let data = shown(&read);
    assert_eq!(data["seo_profile"]["full_site_seo_summary"]["worst_pages"].as_array().unwrap().len(), 2);
    let warnings = read.warnings.into_vec();
    for expected in [
        "MALFORMED_COLUMN competitor_analyses.analysis_date",
        "MALFORMED_COLUMN deep_competitor_analysis_tasks.next_execution",
        "MALFORMED_COLUMN deep_competitor_analysis_execution_logs.execution_date",
        "OUT_OF_RANGE seo_page_audits.overall_score",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "{expected}: {warnings:?}");
    }
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_index() {
    let fixture = Fixture::new().await;
    let reading = fixture.tables.reading().await;
    let (one, max) = (|| 1.into(), || reading.json_bytes_max());
    for (plan, index, sorts) in [
        (reading.plan(SESSION, [one()]).await, "ix_onboarding_sessions_user", false),
        (reading.plan(WEBSITE, [one(), max()]).await, "ix_website_analyses_session", true),
        (reading.plan(RESEARCH_PREFERENCES, [one(), max()]).await, "ix_research_preferences_session", true),
        (reading.plan(PERSONA, [one(), max()]).await, "ix_persona_data_session", true),
        (reading.plan(COMPETITORS, [one(), max()]).await, "ix_competitor_analyses_session", true),
        (reading.plan(PAGE_AUDIT_SUMMARY, [one(), one()]).await, "ix_seo_page_audits_site", false),
        (reading.plan(WORST_PAGES, [one(), one()]).await, "ix_seo_page_audits_site", false),
        (reading.plan(DEEP_TASK, [one(), one(), max()]).await, "ix_deep_tasks_user", true),
        (reading.plan(DEEP_TASK_LAST_RUN, [one()]).await, "ix_deep_logs_task", false),
        (reading.plan(DEEP_TASK_LAST_REPORT, [one(), max()]).await, "ix_deep_logs_task", false),
    ] {
        assert!(plan.contains(index), "{index}: {plan}");
        assert_eq!(plan.contains("TEMP B-TREE"), sorts, "{index}: {plan}");
    }
}
