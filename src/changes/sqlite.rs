//! SQLite's triggers: one per event, for each row.
//!
//! `INSERT OR REPLACE` runs no delete trigger unless `recursive_triggers` is on: the row that it pushes
//! out concerns the same owner as a rule, whom the insert trigger names.

use super::watched::Watched;

/// A trigger's name and the statement that makes it.
pub(super) fn triggers(watched: &Watched) -> Vec<(String, String)> {
    let trigger = |event: &str, when: &str, rows: &[&str]| {
        let name = format!("userdata_{}_{event}", watched.table);
        let timing = match event {
            "update" => format!("UPDATE OF {}", columns(watched).join(", ")),
            other => other.to_uppercase(),
        };
        let sql = format!(
            "CREATE TRIGGER {name} AFTER {timing} ON {table}{when} BEGIN \
             INSERT INTO invalidation_outbox (user_id, strategy_id, sections) \
             SELECT c.user_id, c.strategy_id, {bits} FROM ({concerned}) c WHERE c.user_id IS NOT NULL; END",
            table = watched.table,
            bits = watched.bits(),
            concerned = concerned(watched, rows),
        );
        (name, sql)
    };
    vec![
        trigger("insert", "", &["NEW"]),
        trigger("update", &format!(" WHEN {}", changed(watched)), &["OLD", "NEW"]),
        trigger("delete", "", &["OLD"]),
    ]
}

/// Whom these rows concern, each once.
fn concerned(watched: &Watched, rows: &[&str]) -> String {
    let of =
        |row: &&str| format!("SELECT {} AS user_id, {} AS strategy_id", watched.user_of(row), watched.strategy_of(row));
    rows.iter().map(of).collect::<Vec<_>>().join(" UNION ")
}

fn columns(watched: &Watched) -> Vec<&'static str> {
    watched.named().filter(|column| *column != "id").collect()
}

/// JSON is text here.
fn changed(watched: &Watched) -> String {
    let differs = |column: &&str| format!("OLD.{column} IS NOT NEW.{column}");
    let mut tests: Vec<String> = watched.columns.iter().chain(watched.json).map(differs).collect();
    tests.extend(watched.newest_of.map(|parent| {
        format!(
            "(OLD.updated_at IS NOT NEW.updated_at AND EXISTS \
             (SELECT 1 FROM {} o WHERE o.{parent} = NEW.{parent} AND o.id <> NEW.id))",
            watched.table
        )
    }));
    tests.join(" OR ")
}
