//! The documents of the demo's users: the same from either database, and as the demo promises.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::{StreamExt, future::join, stream};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use userdata::{
    aggregate::{AggregateError, Aggregator, Assembled},
    model::{SECTIONS, Section, State},
    proto::{
        Kind as Shape,
        v1::{ComprehensiveUserData, GapOrigin, StrategyKind},
    },
};

use testkit::{
    assembly::{
        DEMO_USERS, aggregator, assemble, base_day, document, facts, json, noon, patient, payload, scalar, serve_from,
    },
    database::{BOTH, Kind, TestDatabase, today},
    get::get,
    seeded::seeded,
    wait_for,
};

/// Bytes of a document's JSON form.
const JSON_BYTES: std::ops::RangeInclusive<usize> = 10_000..=40_000;

/// The demo at its noon, on one database.
struct Demo {
    aggregator: Aggregator,
    db: DatabaseConnection,
    _place: TestDatabase,
}

impl Demo {
    async fn on(kind: Kind) -> Self {
        let (place, db) = seeded(kind, base_day()).await;
        Self { aggregator: aggregator(&db, &patient()), db, _place: place }
    }

    async fn try_read(&self, user: &str, strategy: Option<i64>) -> Result<Assembled, AggregateError> {
        assemble(&self.aggregator, user, strategy, noon()).await
    }

    async fn read(&self, user: &str) -> Assembled {
        self.try_read(user, None).await.unwrap()
    }

    /// All users' strategies of both kinds, and none: all that can be asked for.
    async fn questions(&self) -> Vec<(&'static str, Option<i64>)> {
        let owned = "SELECT CAST(user_id AS TEXT) AS owner, CAST(id AS BIGINT) AS id FROM content_strategies \
                     UNION SELECT user_id, CAST(id AS BIGINT) FROM enhanced_content_strategies";
        let rows = self.db.query_all_raw(Statement::from_string(self.db.get_database_backend(), owned));
        let mut strategies: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
        for row in rows.await.unwrap() {
            strategies.entry(row.try_get("", "owner").unwrap()).or_default().push(row.try_get("", "id").ok());
        }
        let asked = |user| strategies.get(user).into_iter().flatten().copied().chain([None]).map(move |id| (user, id));
        DEMO_USERS.into_iter().flat_map(asked).collect()
    }
}

/// States and reasons; warnings differ where only one database can hold what is broken.
fn outcomes(assembled: &Assembled) -> Vec<(State, &str)> {
    SECTIONS.map(|section| facts(assembled, section)).map(|facts| (facts.state, facts.reason.as_str())).into()
}

fn warnings(assembled: &Assembled) -> Vec<(Section, &str)> {
    let facts = SECTIONS.into_iter().map(|section| facts(assembled, section));
    facts.flat_map(|facts| facts.warnings.iter().map(|warning| (facts.section, warning.as_str()))).collect()
}

fn is_ok(assembled: &Assembled, except: &[(Section, State)]) -> bool {
    SECTIONS.into_iter().all(|section| {
        let exception = except.iter().find(|(excepted, _)| *excepted == section);
        facts(assembled, section).state == exception.map_or(State::Ok, |(_, state)| *state)
    })
}

#[tokio::test]
async fn both_databases_give_equal_documents_and_every_time_the_same() {
    let (sqlite, postgres) = join(Demo::on(Kind::Sqlite), Demo::on(Kind::Postgres)).await;
    let questions = sqlite.questions().await;
    assert!(questions.len() > 33 + 29 + 25, "{questions:?}");
    let compare = async |(user, strategy): (&str, Option<i64>)| {
        let ours = sqlite.try_read(user, strategy).await;
        let theirs = postgres.try_read(user, strategy).await;
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        let what = format!("{user} {strategy:?}");
        assert_eq!(ours.strategy, theirs.strategy, "{what}");
        assert_eq!(outcomes(&ours), outcomes(&theirs), "{what}");
        assert_eq!(json(&document(&ours)), json(&document(&theirs)), "{what}");
        assert_eq!(payload(&ours), payload(&theirs), "{what}");

        let again = sqlite.try_read(user, strategy).await.unwrap();
        assert_eq!(payload(&again), payload(&ours), "{what}: once more");
        let read_back: ComprehensiveUserData = serde_json::from_str(&json(&document(&ours))).unwrap();
        assert_eq!(read_back, document(&ours), "{what}: its JSON form says it all");
    };
    stream::iter(questions).for_each_concurrent(4, compare).await;
}

#[tokio::test]
async fn servers_on_either_database_answer_what_the_other_one_holds() {
    // The server counts from its own clock, so the demo has to be of today.
    let today = today();
    let (sqlite, postgres) = join(seeded(Kind::Sqlite, today), seeded(Kind::Postgres, today)).await;
    for (served, other) in [(&sqlite, &postgres), (&postgres, &sqlite)] {
        let server = serve_from(&served.0, &[]).await;
        let mut client = server.client().await;
        let other = aggregator(&other.1, &patient());
        for user in DEMO_USERS {
            let reply = get(&mut client, user).await;
            let answered = reply.data.unwrap();
            let expected = assemble(&other, user, None, counted_from(&answered)).await.unwrap();
            assert_eq!(json(&answered), json(&document(&expected)), "{user}");

            let row = format!(
                "SELECT CAST(comprehensive_data AS TEXT) FROM comprehensive_user_data_cache WHERE user_id = '{user}'"
            );
            let stored = wait_for("the document to be stored", || scalar(&served.1, &row)).await;
            assert_eq!(stored, json(&answered), "{user}: as stored");
        }
    }
}

/// The instant that a document's windows end at.
fn counted_from(document: &ComprehensiveUserData) -> DateTime<Utc> {
    let until = document.performance_data.as_ref().unwrap().windows[0].until.unwrap();
    DateTime::from_timestamp(until.seconds, until.nanos.try_into().unwrap()).unwrap()
}

#[tokio::test]
async fn users_1_to_25_have_every_section_in_10_to_40_kilobytes() {
    let demo = Demo::on(Kind::Sqlite).await;
    for user in &DEMO_USERS[..25] {
        let assembled = demo.read(user).await;
        assert!(is_ok(&assembled, &[]), "{user}: {:?}", outcomes(&assembled));
        assert_eq!(warnings(&assembled), [], "{user}");
        let bytes = json(&document(&assembled)).len();
        assert!(JSON_BYTES.contains(&bytes), "{user}: {bytes} bytes");
    }
}

#[tokio::test]
async fn user_26_has_rules_in_place_of_what_was_never_found_out() {
    let assembled = Demo::on(Kind::Sqlite).await.read("26").await;
    assert!(is_ok(&assembled, &[]), "{:?}", outcomes(&assembled));
    assert_eq!(facts(&assembled, Section::GapAnalysis).reason, "NO_COMPETITOR_TEXT");
    let document = document(&assembled);
    let onboarding = document.onboarding_data.unwrap();
    for list in ["competitor_analysis", "target_keywords", "high_value_keywords"] {
        assert_eq!(onboarding.sources.get(list).map(String::as_str), Some("rule_default"), "{list}");
    }
    assert!(!onboarding.sources.contains_key("platform_preferences") && onboarding.platform_preferences.is_empty());
    let top_performers = &onboarding.competitor_analysis.as_ref().unwrap().top_performers;
    assert_eq!(top_performers, &["techcrunch.com", "wired.com", "theverge.com"]);
    assert!(onboarding.seo_profile.unwrap().full_site_seo_summary.is_none());

    let gap = document.gap_analysis.unwrap();
    assert_eq!((gap.content_gaps.len(), gap.competitor_insights.len(), gap.competitors_compared), (0, 0, 0));
    assert!(gap.keyword_opportunities.iter().all(|keyword| keyword.origin() == GapOrigin::RuleDefault));
    let risks = document.ai_analysis_results.unwrap().risk_assessment;
    assert!(risks.iter().any(|risk| risk.r#type == "competitor_visibility"), "{risks:?}");
}

#[tokio::test]
async fn user_27_has_a_legacy_strategy_and_nothing_planned() {
    let assembled = Demo::on(Kind::Sqlite).await.read("27").await;
    let none = [(Section::Performance, State::NotFound), (Section::Recommendations, State::NotFound)];
    assert!(is_ok(&assembled, &none), "{:?}", outcomes(&assembled));
    let document = document(&assembled);
    let strategy = document.strategy_data.unwrap();
    assert_eq!((strategy.kind(), strategy.strategy_id), (StrategyKind::Legacy, 271));
    let Some(Shape::ListValue(stored)) = strategy.content_pillars.unwrap().kind else { panic!("a list") };
    let names: Vec<_> = strategy.pillars.iter().map(|pillar| Some(Shape::StringValue(pillar.name.clone()))).collect();
    assert!(names.len() >= 3);
    assert_eq!(stored.values.into_iter().map(|pillar| pillar.kind).collect::<Vec<_>>(), names);
    assert_eq!(strategy.comprehensive_ai_analysis, None);

    let performance = document.performance_data.unwrap();
    let records: Vec<_> =
        performance.windows.iter().map(|window| (window.days, window.overall.as_ref().unwrap().records)).collect();
    assert_eq!((records, performance.strategy_ids), (vec![(7, 0), (30, 0), (90, 0)], vec![271]));
    let onboarding = document.onboarding_data.unwrap();
    assert_eq!((onboarding.research_preferences, onboarding.research_depth), (None, None));
}

#[tokio::test]
async fn user_28s_broken_columns_are_named_and_cost_nothing_else() {
    for kind in BOTH {
        let demo = Demo::on(kind).await;
        let (assembled, whole) = (demo.read("28").await, demo.read("1").await);
        assert!(is_ok(&assembled, &[]), "{kind:?}: {:?}", outcomes(&assembled));
        let named: &[_] = match kind {
            Kind::Sqlite => &[
                (Section::Onboarding, "MALFORMED_COLUMN website_analyses.seo_audit"),
                (Section::Performance, "MALFORMED_COLUMN content_analytics.metrics"),
            ],
            // It takes no broken text: there it is a string, which parses and says nothing.
            Kind::Postgres => &[],
        };
        assert_eq!(warnings(&assembled), named, "{kind:?}");
        let (document, whole) = (document(&assembled), document(&whole));
        let seo = |document: &ComprehensiveUserData| document.onboarding_data.clone().unwrap().seo_profile.unwrap();
        assert!(seo(&document).homepage_seo_audit.is_none() && seo(&whole).homepage_seo_audit.is_some());
        assert!(seo(&document).full_site_seo_summary.is_some());
        let days = |document: &ComprehensiveUserData| {
            document.performance_data.clone().unwrap().windows[2].overall.clone().unwrap().performance_trend.unwrap()
        };
        // Of three records the metrics are lost, and the scores are not.
        assert_eq!(days(&document).recent_count, days(&whole).recent_count, "{kind:?}");
    }
}

#[tokio::test]
async fn user_29_has_no_strategy_and_a_complete_document() {
    let assembled = Demo::on(Kind::Sqlite).await.read("29").await;
    let none = [Section::Strategy, Section::Performance, Section::Recommendations];
    assert!(is_ok(&assembled, &none.map(|section| (section, State::NotFound))), "{:?}", outcomes(&assembled));
    assert_eq!(assembled.strategy, None);
    let document = document(&assembled);
    assert_eq!((document.strategy_data, document.strategy_analysis, document.quality_indicators), (None, None, None));
    let ai = document.ai_analysis_results.unwrap();
    assert_eq!((ai.strategy_kind(), ai.strategy_id), (StrategyKind::Unspecified, None));
    assert_eq!(document.business_goals.first().map(String::as_str), Some("Increase brand awareness"));
}

#[tokio::test]
async fn user_30s_dated_activation_and_enhanced_twin_are_meant() {
    let demo = Demo::on(Kind::Sqlite).await;
    for strategy in [None, Some(302)] {
        let assembled = demo.try_read("30", strategy).await.unwrap();
        assert!(is_ok(&assembled, &[]), "{:?}", outcomes(&assembled));
        let document = document(&assembled);
        let meant = document.strategy_data.unwrap();
        assert_eq!((meant.kind(), meant.strategy_id), (StrategyKind::Enhanced, 302), "{strategy:?}");
        assert!(meant.activation_status.unwrap().activation_date.is_some(), "{strategy:?}");
        assert_eq!(document.performance_data.unwrap().strategy_ids, [302], "the legacy twin's calendar counts");
    }
}

#[tokio::test]
async fn users_with_text_ids_have_nothing_in_integer_tables() {
    let demo = Demo::on(Kind::Sqlite).await;
    for user in &DEMO_USERS[30..] {
        let assembled = demo.read(user).await;
        assert!(
            is_ok(&assembled, &[(Section::Recommendations, State::NotFound)]),
            "{user}: {:?}",
            outcomes(&assembled)
        );
        let document = document(&assembled);
        assert_eq!(document.user_id, *user);
        let strategy = document.strategy_data.unwrap();
        assert_eq!((strategy.kind(), strategy.activation_status), (StrategyKind::Enhanced, None), "{user}");
        let performance = document.performance_data.unwrap();
        assert_eq!((performance.strategy_ids.len(), performance.top_content.len()), (0, 0), "{user}");
        assert!(performance.strategy_metrics.is_some(), "{user}");
        assert!(document.gap_analysis.unwrap().content_gaps.iter().all(|gap| gap.origin() == GapOrigin::Computed));
    }
}

#[tokio::test]
async fn whoever_is_not_there_and_whatever_is_not_theirs_is_not_found() {
    for kind in BOTH {
        let demo = Demo::on(kind).await;
        for user in ["999999", "01", "+1", "1 ", "demo_chloe", "2147483648"] {
            let missing = demo.try_read(user, None).await.unwrap_err();
            assert!(matches!(missing, AggregateError::UnknownUser), "{kind:?} {user}: {missing:?}");
        }
        // Another user's in either id space, no user's, and one that no column can hold.
        for strategy in [21, 22, 999, i64::from(i32::MAX) + 1, i64::MAX] {
            let missing = demo.try_read("1", Some(strategy)).await.unwrap_err();
            assert!(matches!(missing, AggregateError::UnknownStrategy), "{kind:?} {strategy}: {missing:?}");
        }
    }
}
