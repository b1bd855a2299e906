//! PostgreSQL's triggers: one function per table. It is called once per statement, with all rows that the statement
//! changed, so that a bulk change of one user's rows adds one row to the outbox.
//!
//! The functions run with the rights of the role that installed them, so that writers need no rights on the outbox.

use super::watched::Watched;

/// The name of the function, and the beginning of the triggers' names.
pub(super) fn name(table: &str) -> String {
    format!("userdata_{table}")
}

/// The function's body, by which an installed version is recognised.
pub(super) fn body(watched: Watched<'_>) -> String {
    let table = watched.table.name;
    format!(
        " BEGIN IF TG_OP = 'INSERT' THEN {inserted}; ELSIF TG_OP = 'DELETE' THEN {deleted}; \
         ELSIF TG_OP = 'TRUNCATE' THEN {emptied}; ELSE {updated}; END IF; RETURN NULL; END ",
        inserted = note(watched, &concerned(watched, "new_rows r", "")),
        deleted = note(watched, &concerned(watched, "old_rows r", "")),
        emptied = note(watched, &concerned(watched, &format!("{table} r"), "")),
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

/// The statements that create the function and the triggers.
pub(super) fn statements(watched: Watched<'_>) -> Vec<String> {
    let table = watched.table.name;
    let name = name(table);
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
        // Before, because afterwards the owners of the rows are unknown.
        trigger("truncate", "BEFORE TRUNCATE", ""),
    ]
}

fn note(watched: Watched<'_>, concerned: &str) -> String {
    format!(
        "INSERT INTO invalidation_outbox (user_id, strategy_id, sections) \
         SELECT c.user_id, c.strategy_id, {} FROM ({concerned}) c WHERE c.user_id IS NOT NULL",
        watched.section_bits()
    )
}

/// The users and strategies that the rows `r` of `from` concern, each once.
fn concerned(watched: Watched<'_>, from: &str, condition: &str) -> String {
    let (user, strategy) = (watched.user("r"), watched.strategy("r"));
    format!("SELECT DISTINCT {user} AS user_id, {strategy} AS strategy_id FROM {from}{condition}")
}

/// The condition that a row has no equal on the other side of the update.
fn unlike_any_of(other: &str, watched: Watched<'_>) -> String {
    let mut tests = vec!["o.id = r.id".to_owned()];
    tests.extend(watched.compared().map(|column| {
        format!("{} IS NOT DISTINCT FROM {}", watched.comparable("o", column), watched.comparable("r", column))
    }));
    tests.extend(watched.newest_of().map(|parent| {
        format!(
            "(o.updated_at IS NOT DISTINCT FROM r.updated_at OR NOT EXISTS \
             (SELECT 1 FROM {} s WHERE s.{parent} = r.{parent} AND s.id <> r.id))",
            watched.table.name
        )
    }));
    format!(" WHERE NOT EXISTS (SELECT 1 FROM {other} o WHERE {})", tests.join(" AND "))
}
