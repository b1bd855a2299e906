//! The user's calendar, which this source reads itself.

use crate::{
    aggregate::{
        Read,
        error::SourceError,
        rows::ResolvedStrategy,
        sql::{SourceDatabase, SourceRow},
    },
    database::SqlFile,
    model::UserId,
};

const CALENDAR_EVENTS: SqlFile = SqlFile::same(include_str!("sql/calendar_events.sql"));

/// Planned or published content. Planned content counts as covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalendarEvent {
    pub title: String,
    /// The first 4,000 characters.
    pub description: Option<String>,
}

/// The events of the resolved LEGACY strategy, else of all legacy strategies of the user: calendars belong to no
/// others. An event that names its user itself is that user's alone.
pub async fn events(
    database: &SourceDatabase,
    user: &UserId,
    resolved: Option<ResolvedStrategy>,
) -> Result<Read<Vec<CalendarEvent>>, SourceError> {
    let strategy = resolved.and_then(ResolvedStrategy::legacy);
    let event = |row: &SourceRow| CalendarEvent {
        title: row.text("title").unwrap_or_default(),
        description: row.text("description"),
    };
    database
        .read(|| async {
            let (reading, warnings) = database.begin(&[CALENDAR_EVENTS]).await?;
            let rows = reading.all(CALENDAR_EVENTS, [user.as_str().into(), strategy.into()]).await?;
            reading.end().await?;
            Ok(Read { value: rows.iter().map(event).collect(), warnings })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::testing::SourceTables, proto::v1::StrategyKind};

    async fn calendar() -> SourceTables {
        let tables = SourceTables::create(1024).await;
        tables
            .execute(
                "INSERT INTO content_strategies (id, user_id, name) VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 8, 'c');
                 INSERT INTO calendar_events
                    (id, strategy_id, title, description, status, scheduled_date, content_type, platform) VALUES
                    (1, 1, 'older', NULL, 'draft', '2025-01-01 00:00:00', '', ''),
                    (2, 1, 'newer', 'text', NULL, '2025-02-01 00:00:00', '', ''),
                    (3, 1, 'same day', NULL, 'published', '2025-02-01 00:00:00', '', ''),
                    (4, 1, 'off', NULL, 'Cancelled', '2025-03-01 00:00:00', '', ''),
                    (5, 2, 'other strategy', NULL, 'scheduled', '2024-01-01 00:00:00', '', ''),
                    (6, 3, 'other user', NULL, 'scheduled', '2025-01-01 00:00:00', '', '');",
            )
            .await;
        tables
    }

    #[tokio::test]
    async fn events_are_those_of_the_analytics_scope_newest_first_without_cancelled_ones() {
        let tables = calendar().await;
        let database = &tables.database;
        let strategy = |kind, id| Some(ResolvedStrategy { kind, id });
        for (user, resolved, expected) in [
            ("7", None, vec!["same day", "newer", "older", "other strategy"]),
            ("7", strategy(StrategyKind::Enhanced, 2), vec!["same day", "newer", "older", "other strategy"]),
            ("7", strategy(StrategyKind::Legacy, 2), vec!["other strategy"]),
            ("07", None, vec![]),
            ("text", None, vec![]),
            ("9", None, vec![]),
        ] {
            let events = events(database, &UserId::parse(user).unwrap(), resolved).await.unwrap().value;
            assert_eq!(events.iter().map(|event| event.title.as_str()).collect::<Vec<_>>(), expected, "{user}");
        }
        let all = events(database, &UserId::parse("7").unwrap(), None).await.unwrap().value;
        assert_eq!(all[1].description.as_deref(), Some("text"));
    }
}
