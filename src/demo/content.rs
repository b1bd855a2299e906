//! The calendar, what became of it, and what is recommended next.

use serde_json::{Value as Json, json};

use super::{
    batch::{Cell, RowBatch, Table},
    draw::Draw,
    user::{Story, User},
    words::{PLATFORMS, TOPICS_PLANNED, capitalised},
};

static EVENTS: Table<10> = Table {
    name: "calendar_events",
    columns: [
        "id",
        "strategy_id",
        "title",
        "description",
        "content_type",
        "platform",
        "scheduled_date",
        "status",
        "created_at",
        "updated_at",
    ],
};

static ANALYTICS: Table<7> = Table {
    name: "content_analytics",
    columns: ["id", "event_id", "strategy_id", "platform", "metrics", "performance_score", "recorded_at"],
};

static RECOMMENDATIONS: Table<14> = Table {
    name: "content_recommendations",
    columns: [
        "id",
        "strategy_id",
        "user_id",
        "recommendation_type",
        "title",
        "description",
        "target_keywords",
        "estimated_length",
        "priority",
        "platforms",
        "estimated_performance",
        "status",
        "created_at",
        "updated_at",
    ],
};

/// Days of analytics, and how far the calendar reaches back.
const DAYS: i32 = 90;

/// Every so many days the figures are those of one event; otherwise of the platform as a whole.
const DAYS_PER_EVENT: i32 = 15;

pub(super) fn describe(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let events = calendar(user, strategy, draw, batch);
    // By turns, and recommendations in inverse proportion: nobody's document has most of everything.
    let platforms = draw.some(&PLATFORMS, 2 + usize::try_from(user.turn % 3).unwrap_or_default());
    analytics(user, strategy, &platforms, &events, draw, batch);
    let most = 26 - 5 * i32::try_from(platforms.len()).unwrap_or_default();
    recommendations(user, strategy, most, draw, batch);
}

/// 20 to 60 events from 90 days back to 30 days ahead. Returns the ids and platforms of published ones.
fn calendar(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) -> Vec<(i32, &'static str)> {
    let planned = &user.industry().topics[..TOPICS_PLANNED];
    let mut published = Vec::new();
    for n in 1..=draw.count(20, 60) {
        let days = draw.between(-30, DAYS);
        let (topic, platform) = (planned[n % planned.len()], draw.pick(&PLATFORMS));
        let (form, kind) = draw.pick(&[
            ("{}: a short introduction", "blog_post"),
            ("What we learned about {}", "article"),
            ("Five questions on {}", "social_post"),
            ("{} in ten minutes", "video"),
        ]);
        let status = match (days > 0, draw.between(0, 9)) {
            (_, 0) => "cancelled",
            (true, _) => "published",
            (false, 1..=4) => "draft",
            (false, _) => "scheduled",
        };
        let id = user.row(n);
        if status == "published" {
            published.push((id, platform));
        }
        batch.add(
            &EVENTS,
            [
                id.into(),
                strategy.into(),
                capitalised(&form.replace("{}", topic)).into(),
                format!("On {topic}, for {}.", draw.pick(&user.industry().roles)).into(),
                kind.into(),
                platform.into(),
                user.days_ago(days, 9).into(),
                status.into(),
                user.days_ago(days + 20, 9).into(),
                user.days_ago(days + 10, 9).into(),
            ],
        );
    }
    published
}

/// Once a day per platform, rising, falling or flat by user.
fn analytics(
    user: &User,
    strategy: i32,
    platforms: &[&str],
    events: &[(i32, &str)],
    draw: &mut Draw,
    batch: &mut RowBatch,
) {
    // A thousandth a day: over 90 days from two thirds of the mean to four thirds.
    let slope = [4, -4, 0][usize::try_from(user.turn % 3).unwrap_or_default()];
    let mut n = 0;
    for platform in platforms {
        let event = events.iter().find(|(_, of)| of == platform).map(|(id, _)| *id);
        for day in 0..DAYS {
            n += 1;
            let level = 500 + slope * (DAYS / 2 - day);
            let score = f64::from(level + draw.between(-15, 15)) / 1000.0;
            let measured = measured(level, draw);
            let metrics = match (user.story, n) {
                (Story::Broken, 1) => Cell::Broken(r#"{"engagement_rate": 0.0"#),
                (Story::Broken, 2) => Cell::Json(json!(7)),
                (Story::Broken, 3) => Cell::Json(json!([0.04, 1200])),
                _ => measured.into(),
            };
            let of_event = event.filter(|_| day % DAYS_PER_EVENT == 0);
            batch.add(
                &ANALYTICS,
                [
                    user.row(n).into(),
                    of_event.into(),
                    strategy.into(),
                    (*platform).into(),
                    metrics,
                    score.into(),
                    // The newest is of the evening before the base day: never in the future.
                    user.days_ago(day + 1, 18).into(),
                ],
            );
        }
    }
}

fn measured(level: i32, draw: &mut Draw) -> Json {
    json!({
        "engagement_rate": f64::from(level + draw.between(-20, 20)) / 12_000.0,
        "reach": level * 4 + draw.between(0, 900),
        "conversion_rate": f64::from(draw.between(80, 260)) / 10_000.0,
        "click_through_rate": f64::from(draw.between(100, 420)) / 10_000.0,
    })
}

fn recommendations(user: &User, strategy: i32, most: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let Some(number) = user.number() else { return };
    let topics = &user.industry().topics;
    for n in 1..=draw.count(5, most) {
        let topic = draw.pick(topics);
        let kind = draw.pick(&["blog_post", "video", "case_study", "social_post"]);
        // Some are not about any strategy.
        let about = (draw.between(0, 4) > 0).then_some(strategy);
        let days = draw.between(1, 60);
        // The planning application leaves it out as often as not.
        let reason =
            (draw.between(0, 1) == 0).then(|| format!("{} ask.", capitalised(draw.pick(&user.industry().roles))));
        batch.add(
            &RECOMMENDATIONS,
            [
                user.row(n).into(),
                about.into(),
                number.into(),
                kind.into(),
                format!(
                    "{}: {}",
                    capitalised(topic),
                    draw.pick(&["a checklist", "common mistakes", "a case", "an overview"])
                )
                .into(),
                Cell::Plain(reason.into()),
                json!([topic]).into(),
                draw.pick(&["800 words", "1500 words", "3 minutes"]).into(),
                draw.pick(&["high", "medium", "low"]).into(),
                json!([draw.pick(&PLATFORMS)]).into(),
                draw.pick(&["good", "average"]).into(),
                draw.pick(&["pending", "pending", "accepted", "implemented", "rejected"]).into(),
                user.days_ago(days + 1, 15).into(),
                user.days_ago(days, 15).into(),
            ],
        );
    }
}
