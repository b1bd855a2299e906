//! The calendar, its analytics, and content recommendations.

use serde_json::{Value as Json, json};

use super::{
    batch::{Cell, RowBatch},
    draw::Draw,
    user::{Story, User},
    words::{PLATFORMS, TOPICS_PLANNED, capitalised},
};
use crate::source_schema::{CALENDAR_EVENTS, CONTENT_ANALYTICS, CONTENT_RECOMMENDATIONS};

/// Days of analytics, and of the calendar's past.
const DAYS: i32 = 90;

/// Analytics name an event once in this many days; otherwise they concern the platform as a whole.
const DAYS_PER_EVENT: i32 = 15;

pub(super) fn describe(user: &User, strategy: i32, draw: &mut Draw, batch: &mut RowBatch) {
    let events = calendar(user, strategy, draw, batch);
    // Users with more platforms have fewer recommendations, so that no document has the maximum of both.
    let platforms = draw.some(&PLATFORMS, 2 + usize::try_from(user.turn % 3).unwrap_or_default());
    analytics(user, strategy, &platforms, &events, draw, batch);
    let most = 26 - 5 * i32::try_from(platforms.len()).unwrap_or_default();
    recommendations(user, strategy, most, draw, batch);
}

/// 20 to 60 events, from 90 days ago to 30 days ahead. Returns the ids and platforms of the published ones.
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
            &CALENDAR_EVENTS,
            [
                ("id", id.into()),
                ("strategy_id", strategy.into()),
                ("title", capitalised(&form.replace("{}", topic)).into()),
                ("description", format!("On {topic}, for {}.", draw.pick(&user.industry().roles)).into()),
                ("content_type", kind.into()),
                ("platform", platform.into()),
                ("scheduled_date", user.days_ago(days, 9).into()),
                ("status", status.into()),
                // Events from before the application's column have no user of their own.
                ("user_id", if user.turn % 2 == 0 { user.id } else { "" }.into()),
                ("created_at", user.days_ago(days + 20, 9).into()),
                ("updated_at", user.days_ago(days + 10, 9).into()),
            ],
        );
    }
    published
}

/// One row per day and platform; the values of a user rise, fall or stay.
fn analytics(
    user: &User,
    strategy: i32,
    platforms: &[&str],
    events: &[(i32, &str)],
    draw: &mut Draw,
    batch: &mut RowBatch,
) {
    // 0.004 per day: over 90 days from two thirds of the mean to four thirds.
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
                &CONTENT_ANALYTICS,
                [
                    ("id", user.row(n).into()),
                    ("event_id", of_event.into()),
                    ("strategy_id", strategy.into()),
                    ("platform", (*platform).into()),
                    ("metrics", metrics),
                    ("performance_score", score.into()),
                    // The newest is in the evening before the base day, never in the future.
                    ("recorded_at", user.days_ago(day + 1, 18).into()),
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
        // Some concern no strategy.
        let about = (draw.between(0, 4) > 0).then_some(strategy);
        let days = draw.between(1, 60);
        // The planning application often leaves it out.
        let reason =
            (draw.between(0, 1) == 0).then(|| format!("{} ask.", capitalised(draw.pick(&user.industry().roles))));
        batch.add(
            &CONTENT_RECOMMENDATIONS,
            [
                ("id", user.row(n).into()),
                ("strategy_id", about.into()),
                ("user_id", number.into()),
                ("recommendation_type", kind.into()),
                (
                    "title",
                    format!(
                        "{}: {}",
                        capitalised(topic),
                        draw.pick(&["a checklist", "common mistakes", "a case", "an overview"])
                    )
                    .into(),
                ),
                ("description", Cell::Plain(reason.into())),
                ("target_keywords", json!([topic]).into()),
                ("estimated_length", draw.pick(&["800 words", "1500 words", "3 minutes"]).into()),
                ("priority", draw.pick(&["high", "medium", "low"]).into()),
                ("platforms", json!([draw.pick(&PLATFORMS)]).into()),
                ("estimated_performance", draw.pick(&["good", "average"]).into()),
                ("status", draw.pick(&["pending", "pending", "accepted", "implemented", "rejected"]).into()),
                ("created_at", user.days_ago(days + 1, 15).into()),
                ("updated_at", user.days_ago(days, 15).into()),
            ],
        );
    }
}
