//! PostgreSQL's triggers: one function per table, called once per statement with all rows that it
//! changed, so that a bulk change of one user's rows is one row in the outbox.
//!
//! The functions run with the rights of whoever installed them: writers need none on the outbox.

use super::watched::Watched;

/// The function's and the triggers' name.
pub(super) fn name(watched: &Watched) -> String {
    format!("userdata_{}", watched.table)
}

/// The function's body: what tells one version of it from another.
pub(super) fn body(watched: &Watched) -> String {
    format!(
        " BEGIN IF TG_OP = 'INSERT' THEN {inserted}; ELSIF TG_OP = 'DELETE' THEN {deleted}; \
         ELSIF TG_OP = 'TRUNCATE' THEN {emptied}; ELSE {updated}; END IF; RETURN NULL; END ",
        inserted = note(watched, &concerned(watched, "new_rows r", "")),
        deleted = note(watched, &concerned(watched, "old_rows r", "")),
        emptied = note(watched, &concerned(watched, &format!("{} r", watched.table), "")),
        updated = note(
            watched,
            &format!(
                "{} UNION {}",
                concerned(watched, "new_rows r", &unlike_any_of("old_rows", watched)),
                concerned(watched, "old_rows r", &unlike_any_of("new_rows", watched)),
            )
        ),
    )
}

/// Makes the function and the triggers.
pub(super) fn statements(watched: &Watched) -> Vec<String> {
    let (name, table) = (name(watched), watched.table);
    let function = format!(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path FROM CURRENT AS $body${}$body$",
        body(watched)
    );
    let trigger = |event: &str, timing: &str, rows: &str| {
        format!(
            "CREATE TRIGGER {name}_{event} {timing} ON {table} {rows} \
             FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
    };
    vec![
        function,
        trigger("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows"),
        trigger("update", "AFTER UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        trigger("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows"),
        // Before: afterwards nobody knows whose rows they were.
        trigger("truncate", "BEFORE TRUNCATE", ""),
    ]
}

fn note(watched: &Watched, concerned: &str) -> String {
    format!(
        "INSERT INTO invalidation_outbox (user_id, strategy_id, sections) \
         SELECT c.user_id, c.strategy_id, {} FROM ({concerned}) c WHERE c.user_id IS NOT NULL",
        watched.bits()
    )
}

/// Whom the rows `r` of `from` concern, each once.
fn concerned(watched: &Watched, from: &str, condition: &str) -> String {
    let strategy = watched.strategy_of("r");
    // Said, because NULL alone has no type that could be joined with a bigint.
    format!(
        "SELECT DISTINCT {} AS user_id, CAST({strategy} AS BIGINT) AS strategy_id FROM {from}{condition}",
        watched.user_of("r")
    )
}

/// The condition that a row has no equal on the other side of the update.
fn unlike_any_of(other: &str, watched: &Watched) -> String {
    let same = |column: &&str| format!("o.{column} IS NOT DISTINCT FROM r.{column}");
    let same_text = |column: &&str| format!("CAST(o.{column} AS TEXT) IS NOT DISTINCT FROM CAST(r.{column} AS TEXT)");
    let mut tests = vec!["o.id = r.id".to_owned()];
    tests.extend(watched.columns.iter().map(same));
    tests.extend(watched.json.iter().map(same_text));
    tests.extend(watched.newest_of.map(|parent| {
        format!(
            "(o.updated_at IS NOT DISTINCT FROM r.updated_at OR NOT EXISTS \
             (SELECT 1 FROM {} s WHERE s.{parent} = r.{parent} AND s.id <> r.id))",
            watched.table
        )
    }));
    format!(" WHERE NOT EXISTS (SELECT 1 FROM {other} o WHERE {})", tests.join(" AND "))
}
