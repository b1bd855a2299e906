//! PostgreSQL's triggers: one function per table. It is called once per statement, with all rows that the statement
//! changed, so that a bulk change of one user's rows is one note.
//!
//! Statement triggers do not see rows that are written straight into a partition, nor those that logical replication
//! applies; tables with partitions or subscriptions have row triggers instead. All are ENABLE ALWAYS.
//!
//! The application may drop or rename a column at any time, and its writes have to succeed nevertheless. A column is
//! therefore named without its table, inside a subquery of the changed rows: if the rows lack it, the name resolves to
//! the NULL of that name outside. `to_jsonb(row)->>'column'` was rejected: it fails for a row with `"\u0000"` in any `json`
//! column. A row trigger resolves the names anew for each row (EXECUTE), because PL/pgSQL keeps the columns of OLD and
//! NEW for the session, and fails after ALTER TYPE.
//!
//! The functions run with the rights of the role that installed them, so that writers need no rights on the outbox. No
//! function has an exception block: it would cost a subtransaction per call.

use super::watched::{NotedId, OUTBOX, Watched};

/// The name of the function, and the beginning of the triggers' names.
pub(super) fn name(table: &str) -> String {
    format!("userdata_{table}")
}

/// What a trigger function is set to, as PostgreSQL stores it.
pub(super) const SEARCH_PATH: &str = "search_path=pg_catalog, pg_temp";

/// The events of the triggers.
pub(super) const EVENTS: [&str; 4] = ["insert", "update", "delete", "truncate"];

/// The function's body, by which an installed version is recognised. `schema` is the outbox's, quoted.
pub(super) fn body(watched: Watched, schema: &str) -> String {
    let notes = Notes { watched, schema };
    format!(
        "
#variable_conflict use_column
BEGIN
    IF TG_OP = 'TRUNCATE' THEN {everything};
    ELSIF TG_LEVEL = 'ROW' THEN
        IF TG_OP = 'INSERT' THEN EXECUTE $note${inserted_row}$note$ USING NEW;
        ELSIF TG_OP = 'DELETE' THEN EXECUTE $note${deleted_row}$note$ USING OLD;
        ELSE EXECUTE $note${updated_row}$note$ USING OLD, NEW;
        END IF;
    ELSIF TG_OP = 'INSERT' THEN {inserted};
    ELSIF TG_OP = 'DELETE' THEN {deleted};
    ELSE {updated};
    END IF;
    RETURN NULL;
END
",
        everything = notes.everything(),
        inserted_row = notes.of("(SELECT ($1).*) r"),
        deleted_row = notes.of("(SELECT ($1).*) r"),
        updated_row = notes.of_pair("(SELECT ($1).*) r", "(SELECT ($2).*) r"),
        inserted = notes.of("new_rows r"),
        deleted = notes.of("old_rows r"),
        updated = notes.of_pair("old_rows r", "new_rows r"),
    )
}

/// The statements that create the function and the triggers, or replace them. None locks readers out. `rows`: a trigger
/// for each row.
pub(super) fn statements(watched: Watched, schema: &str, rows: bool) -> Vec<String> {
    let table = watched.table.name;
    let name = name(table);
    let trigger = |event: &str, transition: &str| {
        let (transition, each) = match event {
            "truncate" => ("", "STATEMENT"),
            _ if rows => ("", "ROW"),
            _ => (transition, "STATEMENT"),
        };
        format!(
            "CREATE OR REPLACE TRIGGER {name}_{event} AFTER {event} ON {table} {transition} \
             FOR EACH {each} EXECUTE FUNCTION {schema}.{name}()"
        )
    };
    let always = EVENTS.map(|event| format!("ENABLE ALWAYS TRIGGER {name}_{event}")).join(", ");
    vec![
        function(watched, schema),
        trigger("insert", "REFERENCING NEW TABLE AS new_rows"),
        trigger("update", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        trigger("delete", "REFERENCING OLD TABLE AS old_rows"),
        trigger("truncate", ""),
        format!("ALTER TABLE {table} {always}"),
    ]
}

/// The statement that creates the function, or replaces it, which locks no table.
pub(super) fn function(watched: Watched, schema: &str) -> String {
    let (name, body) = (name(watched.table.name), body(watched, schema));
    format!(
        "CREATE OR REPLACE FUNCTION {schema}.{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp AS $body${body}$body$"
    )
}

/// The statements that take them away.
pub(super) fn removal(table: &str, schema: &str) -> Vec<String> {
    let name = name(table);
    let triggers = EVENTS.map(|event| format!("DROP TRIGGER IF EXISTS {name}_{event} ON {table}"));
    triggers.into_iter().chain([format!("DROP FUNCTION IF EXISTS {schema}.{name}()")]).collect()
}

/// A note that everything of the table has changed.
pub(super) fn everything(watched: Watched, schema: &str) -> String {
    Notes { watched, schema }.everything()
}

/// Statements that write notes.
struct Notes<'a> {
    watched: Watched,
    schema: &'a str,
}

impl Notes<'_> {
    fn everything(&self) -> String {
        let (table, bits) = (self.watched.table.name, self.watched.section_bits());
        format!("INSERT INTO {}.{OUTBOX} (source, sections) VALUES ('{table}', {bits})", self.schema)
    }

    fn into(&self) -> String {
        let ids = self.names(|id| id.noted.to_owned());
        format!("INSERT INTO {}.{OUTBOX} (source, {ids}, sections, only_updated_at)", self.schema)
    }

    fn names(&self, name: impl Fn(&NotedId) -> String) -> String {
        self.watched.ids().iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// A row without an owner concerns no one.
    fn is_owned(&self, row: &str) -> String {
        let ids = self.watched.ids();
        let owning = ids.iter().filter(|id| id.owns).map(|id| format!("{row}.{} IS NOT NULL", id.column));
        format!("({})", owning.collect::<Vec<_>>().join(" OR "))
    }

    /// Rows that have come or gone.
    fn of(&self, rows: &str) -> String {
        let (table, bits) = (self.watched.table.name, self.watched.section_bits());
        let columns: Vec<&str> = self.watched.ids().iter().map(|id| id.column).collect();
        format!(
            "{into} SELECT DISTINCT '{table}', {ids}, {bits}::bigint, FALSE FROM {rows} WHERE {owned}",
            into = self.into(),
            ids = self.names(|id| format!("r.{}", id.column)),
            rows = resolved(rows, &columns, "r"),
            owned = self.is_owned("r"),
        )
    }

    /// Rows before and after an update.
    fn of_pair(&self, old: &str, new: &str) -> String {
        let (table, bits) = (self.watched.table.name, self.watched.section_bits());
        let mut columns: Vec<&str> = self.watched.compared().collect();
        if self.watched.newest_counts() && !columns.contains(&"updated_at") {
            columns.push("updated_at");
        }
        let (o, n) = (resolved(old, &columns, "o"), resolved(new, &columns, "n"));
        let (alone_o, alone_n) = (resolved(old, &columns, "o"), resolved(new, &columns, "n"));
        let side = |row: &str| self.names(|id| format!("{row}.{}", id.column));
        format!(
            "{into} SELECT '{table}', {ids}, {bits}::bigint, bool_and(r.quiet) FROM (\
             SELECT side.*, difference.quiet FROM {o} JOIN {n} ON o.id = n.id \
             CROSS JOIN LATERAL (SELECT {quiet} AS quiet OFFSET 0) difference \
             CROSS JOIN LATERAL (VALUES ({old_ids}), ({new_ids})) side({columns}) WHERE difference.quiet IS NOT NULL \
             UNION ALL SELECT {old_ids}, FALSE FROM {alone_o} WHERE NOT EXISTS (SELECT FROM {n} WHERE n.id = o.id) \
             UNION ALL SELECT {new_ids}, FALSE FROM {alone_n} WHERE NOT EXISTS (SELECT FROM {o} WHERE o.id = n.id)\
             ) r WHERE {owned} GROUP BY {ids}",
            into = self.into(),
            ids = side("r"),
            quiet = self.quiet(),
            old_ids = side("o"),
            new_ids = side("n"),
            columns = self.names(|id| id.column.to_owned()),
            owned = self.is_owned("r"),
        )
    }

    /// Whether `updated_at` alone differs between `o` and `n`; NULL if nothing that counts does.
    fn quiet(&self) -> String {
        let differs = |column: &str| {
            let (old, new) = (self.watched.comparable("o", column), self.watched.comparable("n", column));
            format!("{old} IS DISTINCT FROM {new}")
        };
        let changed: Vec<String> = self.watched.compared().map(differs).collect();
        let changed = format!("CASE WHEN {} THEN FALSE", changed.join(" OR "));
        match self.watched.newest_counts() {
            true => format!("{changed} WHEN o.updated_at IS DISTINCT FROM n.updated_at THEN TRUE END"),
            false => format!("{changed} END"),
        }
    }
}

/// A subquery of the rows with these columns as text. A column that the rows lack is NULL. The rows' alias is `r`.
fn resolved(rows: &str, columns: &[&str], alias: &str) -> String {
    let missing: Vec<String> = columns.iter().map(|column| format!("NULL::text AS {column}")).collect();
    let there: Vec<String> = columns.iter().map(|column| format!("{column}::text AS {column}")).collect();
    format!(
        "(SELECT r.* FROM (SELECT {}) missing CROSS JOIN LATERAL (SELECT {} FROM {rows}) r) {alias}",
        missing.join(", "),
        there.join(", ")
    )
}
