//! SQLite's triggers: one per event, for each row.
//!
//! `INSERT OR REPLACE` runs no delete trigger unless `recursive_triggers` is on. The replaced row nearly always has the
//! same owner, whom the insert trigger names.

use super::watched::{compared, section_bits, strategy_of, user_of};
use crate::source_schema::SourceTable;

/// The name of each trigger, and the statement that creates it.
pub(super) fn triggers(table: &SourceTable) -> Vec<(String, String)> {
    let trigger = |event: &str, when: &str, rows: &[&str]| {
        let name = format!("userdata_{}_{event}", table.name);
        let timing = match event {
            "update" => format!("UPDATE OF {}", columns(table).join(", ")),
            other => other.to_uppercase(),
        };
        let sql = format!(
            "CREATE TRIGGER {name} AFTER {timing} ON {table_name}{when} BEGIN \
             INSERT INTO invalidation_outbox (user_id, strategy_id, sections) \
             SELECT c.user_id, c.strategy_id, {bits} FROM ({concerned}) c WHERE c.user_id IS NOT NULL; END",
            table_name = table.name,
            bits = section_bits(table),
            concerned = concerned(table, rows),
        );
        (name, sql)
    };
    vec![
        trigger("insert", "", &["NEW"]),
        trigger("update", &format!(" WHEN {}", changed(table)), &["OLD", "NEW"]),
        trigger("delete", "", &["OLD"]),
    ]
}

/// The users and strategies that these rows concern, each once.
fn concerned(table: &SourceTable, rows: &[&str]) -> String {
    let of =
        |row: &&str| format!("SELECT {} AS user_id, {} AS strategy_id", user_of(table, row), strategy_of(table, row));
    rows.iter().map(of).collect::<Vec<_>>().join(" UNION ")
}

/// The columns that an update has to name for its trigger to run.
fn columns(table: &SourceTable) -> Vec<&'static str> {
    compared(table).map(|(name, _)| name).chain(table.newest_of.map(|_| "updated_at")).collect()
}

fn changed(table: &SourceTable) -> String {
    let mut tests: Vec<String> =
        compared(table).map(|(column, _)| format!("OLD.{column} IS NOT NEW.{column}")).collect();
    tests.extend(table.newest_of.map(|parent| {
        format!(
            "(OLD.updated_at IS NOT NEW.updated_at AND EXISTS \
             (SELECT 1 FROM {} o WHERE o.{parent} = NEW.{parent} AND o.id <> NEW.id))",
            table.name
        )
    }));
    tests.join(" OR ")
}
