//! The user's calendar, the one thing that this source reads itself.

use crate::{
    aggregate::{
        SourceError,
        rows::ResolvedStrategy,
        sql::{Column, SourceDatabase},
    },
    model::UserId,
    proto::v1::StrategyKind,
};

/// Planned or published content: what is planned counts as covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalendarEvent {
    /// `title`.
    pub title: String,
    /// `description`, its first 4,000 characters.
    pub description: Option<String>,
}

/// The newest events that are not cancelled, of the analytics scope `own`. Descriptions are cut
/// because the column has no limit; topics show in a text's beginning.
const EVENTS: &str = "
FROM calendar_events ce
WHERE ce.strategy_id IN (SELECT own.id FROM own) AND (ce.status IS NULL OR LOWER(ce.status) <> 'cancelled')
ORDER BY ce.scheduled_date DESC, ce.id DESC LIMIT 300";
const OWN_LEGACY: &str = "SELECT CAST(:strategy AS INTEGER) AS id";
const OWN_ALL: &str = "SELECT id FROM content_strategies WHERE user_id = :user";

/// The user's calendar in the analytics scope: the resolved LEGACY strategy's events, else those of
/// all the user's legacy strategies, which calendars hang on.
pub async fn events(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
) -> Result<Vec<CalendarEvent>, SourceError> {
    let Some(user) = user.integer() else { return Ok(Vec::new()) };
    let (own, scope) = match resolved {
        Some(ResolvedStrategy { kind: StrategyKind::Legacy, id }) => (OWN_LEGACY, ("strategy", id.into())),
        _ => (OWN_ALL, ("user", user.into())),
    };
    let reading = database.begin().await?;
    let title = reading.dialect().select("ce", &[Column::Text("title")]);
    let sql = format!(
        "WITH own AS ({own}) SELECT {title}, SUBSTR(CAST(ce.description AS TEXT), 1, 4000) AS description {EVENTS}"
    );
    let rows = reading.all(&sql, &[scope]).await?;
    reading.end().await?;
    Ok(rows
        .iter()
        .map(|row| CalendarEvent { title: row.text("title").unwrap_or_default(), description: row.text("description") })
        .collect())
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::*;

    /// The two tables that the statement reads, with just the columns it reads.
    async fn calendar() -> SourceDatabase {
        // Every connection to an in-memory database has its own.
        let mut options = sea_orm::ConnectOptions::new("sqlite::memory:");
        options.max_connections(1).min_connections(1);
        let connection = sea_orm::Database::connect(options).await.unwrap();
        connection
            .execute_unprepared(
                "CREATE TABLE content_strategies (id INTEGER PRIMARY KEY, user_id INTEGER);
                 CREATE TABLE calendar_events (id INTEGER PRIMARY KEY, strategy_id INTEGER, title TEXT, description TEXT,
                                               status TEXT, scheduled_date TEXT);
                 INSERT INTO content_strategies VALUES (1, 7), (2, 7), (3, 8);
                 INSERT INTO calendar_events VALUES
                    (1, 1, 'older', NULL, 'draft', '2025-01-01 00:00:00'),
                    (2, 1, 'newer', 'text', NULL, '2025-02-01 00:00:00'),
                    (3, 1, 'same day', NULL, 'published', '2025-02-01 00:00:00'),
                    (4, 1, 'off', NULL, 'Cancelled', '2025-03-01 00:00:00'),
                    (5, 2, 'other strategy', NULL, 'scheduled', '2024-01-01 00:00:00'),
                    (6, 3, 'other user', NULL, 'scheduled', '2025-01-01 00:00:00');",
            )
            .await
            .unwrap();
        SourceDatabase::new(connection.into(), 1024)
    }

    #[tokio::test]
    async fn events_are_those_of_the_analytics_scope_newest_first_without_cancelled_ones() {
        let database = calendar().await;
        let strategy = |kind, id| Some(ResolvedStrategy { kind, id });
        for (user, resolved, expected) in [
            ("7", None, vec!["same day", "newer", "older", "other strategy"]),
            ("7", strategy(StrategyKind::Enhanced, 2), vec!["same day", "newer", "older", "other strategy"]),
            ("7", strategy(StrategyKind::Legacy, 2), vec!["other strategy"]),
            ("07", None, vec![]),
            ("text", None, vec![]),
            ("9", None, vec![]),
        ] {
            let events = events(&database, &UserId::parse(user).unwrap(), resolved).await.unwrap();
            assert_eq!(events.iter().map(|event| event.title.as_str()).collect::<Vec<_>>(), expected, "{user}");
        }
        let all = events(&database, &UserId::parse("7").unwrap(), None).await.unwrap();
        assert_eq!(all[1].description.as_deref(), Some("text"));
    }
}
