//! PostgreSQL's triggers: one function per table. It is called once per statement, with all rows that the statement
//! changed, so that a bulk change of one user's rows adds one row to the outbox.
//!
//! The functions run with the rights of the role that installed them, so that writers need no rights on the outbox.

use super::watched::{compared, section_bits, strategy_of, user_of};
use crate::source_schema::{Family, SourceTable};

/// The name of the function, and the beginning of the triggers' names.
pub(super) fn name(table: &SourceTable) -> String {
    format!("userdata_{}", table.name)
}

/// The function's body, by which an installed version is recognised.
pub(super) fn body(table: &SourceTable) -> String {
    format!(
        " BEGIN IF TG_OP = 'INSERT' THEN {inserted}; ELSIF TG_OP = 'DELETE' THEN {deleted}; \
         ELSIF TG_OP = 'TRUNCATE' THEN {emptied}; ELSE {updated}; END IF; RETURN NULL; END ",
        inserted = note(table, &concerned(table, "new_rows r", "")),
        deleted = note(table, &concerned(table, "old_rows r", "")),
        emptied = note(table, &concerned(table, &format!("{} r", table.name), "")),
        updated = note(
            table,
            &format!(
                "{} UNION {}",
                concerned(table, "new_rows r", &unlike_any_of("old_rows", table)),
                concerned(table, "old_rows r", &unlike_any_of("new_rows", table)),
            )
        ),
    )
}

/// The statements that create the function and the triggers.
pub(super) fn statements(table: &SourceTable) -> Vec<String> {
    let name = name(table);
    let function = format!(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path FROM CURRENT AS $body${}$body$",
        body(table)
    );
    let trigger = |event: &str, timing: &str, rows: &str| {
        format!(
            "CREATE TRIGGER {name}_{event} {timing} ON {} {rows} \
             FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
            table.name
        )
    };
    vec![
        function,
        trigger("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows"),
        trigger("update", "AFTER UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        trigger("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows"),
        // Before, because afterwards the owners of the rows are unknown.
        trigger("truncate", "BEFORE TRUNCATE", ""),
    ]
}

fn note(table: &SourceTable, concerned: &str) -> String {
    format!(
        "INSERT INTO invalidation_outbox (user_id, strategy_id, sections) \
         SELECT c.user_id, c.strategy_id, {} FROM ({concerned}) c WHERE c.user_id IS NOT NULL",
        section_bits(table)
    )
}

/// The users and strategies that the rows `r` of `from` concern, each once.
fn concerned(table: &SourceTable, from: &str, condition: &str) -> String {
    let strategy = strategy_of(table, "r");
    // Cast, because NULL without a type cannot be combined with a bigint in a UNION.
    format!(
        "SELECT DISTINCT {} AS user_id, CAST({strategy} AS BIGINT) AS strategy_id FROM {from}{condition}",
        user_of(table, "r")
    )
}

/// The condition that a row has no equal on the other side of the update.
fn unlike_any_of(other: &str, table: &SourceTable) -> String {
    let mut tests = vec!["o.id = r.id".to_owned()];
    tests.extend(compared(table).map(|(column, family)| match family {
        // The type `json` has no equality.
        Family::Json => format!("CAST(o.{column} AS TEXT) IS NOT DISTINCT FROM CAST(r.{column} AS TEXT)"),
        _ => format!("o.{column} IS NOT DISTINCT FROM r.{column}"),
    }));
    tests.extend(table.newest_of.map(|parent| {
        format!(
            "(o.updated_at IS NOT DISTINCT FROM r.updated_at OR NOT EXISTS \
             (SELECT 1 FROM {} s WHERE s.{parent} = r.{parent} AND s.id <> r.id))",
            table.name
        )
    }));
    format!(" WHERE NOT EXISTS (SELECT 1 FROM {other} o WHERE {})", tests.join(" AND "))
}
