//! SQLite's triggers: one per event, for each row.
//!
//! `INSERT OR REPLACE` runs no delete trigger unless `recursive_triggers` is on. The replaced row nearly always has the
//! same owner, whom the insert trigger names.

use super::watched::Watched;

pub(super) fn name(table: &str, event: &str) -> String {
    format!("userdata_{table}_{event}")
}

/// The statements that create the triggers.
pub(super) fn triggers(watched: Watched<'_>) -> Vec<String> {
    let table = watched.table.name;
    let trigger = |event: &str, when: &str, rows: &[&str]| {
        let name = name(table, event);
        let timing = match event {
            "update" => format!("UPDATE OF {}", columns(watched).join(", ")),
            other => other.to_uppercase(),
        };
        format!(
            "CREATE TRIGGER {name} AFTER {timing} ON {table}{when} BEGIN \
             INSERT INTO invalidation_outbox (user_id, strategy_id, sections) \
             SELECT c.user_id, c.strategy_id, {bits} FROM ({concerned}) c WHERE c.user_id IS NOT NULL; END",
            bits = watched.section_bits(),
            concerned = concerned(watched, rows),
        )
    };
    vec![
        trigger("insert", "", &["NEW"]),
        trigger("update", &format!(" WHEN {}", changed(watched)), &["OLD", "NEW"]),
        trigger("delete", "", &["OLD"]),
    ]
}

/// The users and strategies that these rows concern, each once.
fn concerned(watched: Watched<'_>, rows: &[&str]) -> String {
    let of = |row: &&str| format!("SELECT {} AS user_id, {} AS strategy_id", watched.user(row), watched.strategy(row));
    rows.iter().map(of).collect::<Vec<_>>().join(" UNION ")
}

/// The columns that an update has to name for its trigger to run.
fn columns(watched: Watched<'_>) -> Vec<&'static str> {
    watched.compared().chain(watched.newest_of().map(|_| "updated_at")).collect()
}

fn changed(watched: Watched<'_>) -> String {
    let of = |column| format!("{} IS NOT {}", watched.comparable("OLD", column), watched.comparable("NEW", column));
    let mut tests: Vec<String> = watched.compared().map(of).collect();
    tests.extend(watched.newest_of().map(|parent| {
        format!(
            "(OLD.updated_at IS NOT NEW.updated_at AND EXISTS \
             (SELECT 1 FROM {} o WHERE o.{parent} = NEW.{parent} AND o.id <> NEW.id))",
            watched.table.name
        )
    }));
    tests.join(" OR ")
}
