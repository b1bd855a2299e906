//! Whom notes concern: found for all notes of a table in one statement, in the snapshot that showed the notes.
//!
//! A parent or a sibling that this snapshot does not show yet notes itself when it is committed. So an owner who is not
//! there concerns no one, and a row without a sibling is the newest whatever its `updated_at`. An owner that an error
//! hides is everyone. A later snapshot was rejected: there the parent may be gone again, and the change would not be told
//! before the next reading.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr, TransactionTrait, Value};
use serde_json::{Map, Value as Json};

use super::{
    look::Note,
    watched::{IDS, Watched, sections_of},
};
use crate::{
    database::{Dialect, Transaction},
    model::{Invalidation, Scope, SectionSet, StrategyId, UserId},
    source_schema::{Catalogue, Owner, SourceTable, TABLES},
};

/// Invalidations, each scope once.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    scopes: HashMap<(UserId, Option<StrategyId>), SectionSet>,
    everyone: SectionSet,
}

impl Concerned {
    pub(super) fn everyone(&mut self, sections: SectionSet) {
        self.everyone = self.everyone.union(sections);
    }

    /// A user id that no request can name needs no invalidation.
    fn user(&mut self, user: &str, strategy: Option<StrategyId>, sections: SectionSet) {
        let Ok(user) = UserId::parse(user) else { return };
        let known = self.scopes.entry((user, strategy)).or_insert(SectionSet::NONE);
        *known = known.union(sections);
    }

    /// More scopes than `scopes_max` become one invalidation of everyone.
    pub(super) fn into_invalidations(mut self, scopes_max: usize) -> Vec<Invalidation<UserId>> {
        if self.scopes.len() > scopes_max {
            let all = self.scopes.drain().fold(SectionSet::NONE, |all, (_, sections)| all.union(sections));
            self.everyone(all);
        }
        let everyone = self.everyone;
        let of = |((user, strategy), sections)| Invalidation::Of(Scope { user, strategy, sections });
        let everyone = (!everyone.is_empty()).then_some(Invalidation::OfEveryone(everyone));
        everyone.into_iter().chain(self.scopes.into_iter().map(of)).collect()
    }
}

/// Notes whose owners have to be asked for, by table.
#[derive(Debug, Default)]
pub(super) struct Questions<'n>(HashMap<&'static str, Vec<&'n Note>>);

impl<'n> Questions<'n> {
    /// Notes that name the user tell whom they concern; the others remain.
    pub(super) fn of(notes: &'n [Note], concerned: &mut Concerned) -> Self {
        let mut questions = Self::default();
        for note in notes {
            let Some(table) = TABLES.into_iter().find(|table| table.name == note.source) else {
                told_directly(note, concerned);
                continue;
            };
            if note.ids.iter().all(Option::is_none) {
                concerned.everyone(note.sections);
            } else if let (false, Some(user)) = (note.only_updated_at, own_user(table, note)) {
                concerned.user(user, strategy_of(table, note), note.sections);
            } else {
                questions.0.entry(table.name).or_default().push(note);
            }
        }
        questions
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks in the snapshot that showed the notes. A table whose owners cannot be read counts for everyone; returns why.
    pub(super) async fn ask(
        self,
        snapshot: &Transaction,
        catalogue: &Catalogue,
        concerned: &mut Concerned,
    ) -> Result<Vec<(&'static str, DbErr)>, DbErr> {
        let mut failed = Vec::new();
        for table in TABLES {
            let Some(notes) = self.0.get(table.name) else { continue };
            // PostgreSQL refuses the rest of a transaction in which a statement has failed.
            let savepoint = snapshot.begin().await?;
            match ask(&savepoint, catalogue, table, notes).await {
                Ok(users) => {
                    savepoint.commit().await?;
                    for (note, user) in users {
                        concerned.user(&user, strategy_of(table, notes[note]), notes[note].sections);
                    }
                }
                Err(error) => {
                    savepoint.rollback().await?;
                    concerned.everyone(sections_of(table));
                    failed.push((table.name, error));
                }
            }
        }
        Ok(failed)
    }
}

fn id<'n>(note: &'n Note, noted: &str) -> Option<&'n str> {
    let place = IDS.iter().position(|name| *name == noted)?;
    note.ids[place].as_deref()
}

/// A note of another source than a table names the user itself; without a user, everyone.
fn told_directly(note: &Note, concerned: &mut Concerned) {
    let strategy = id(note, "strategy_id").and_then(|text| text.parse().ok()).and_then(StrategyId::new);
    match id(note, "user_id") {
        Some(user) => concerned.user(user, strategy, note.sections),
        None => concerned.everyone(note.sections),
    }
}

/// The user, if the row itself names it.
fn own_user<'n>(table: &SourceTable, note: &'n Note) -> Option<&'n str> {
    match table.owner {
        Owner::UserId => id(note, "user_id"),
        Owner::UserIdOrParent(_) => id(note, "user_id").filter(|user| !user.is_empty()),
        Owner::Parent(_) => None,
    }
}

/// No request can name a strategy that is no number, but the document without a strategy may be about it.
fn strategy_of(table: &SourceTable, note: &Note) -> Option<StrategyId> {
    let noted = if table.strategy? == "id" { "row_id" } else { "strategy_id" };
    id(note, noted)?.parse().ok().and_then(StrategyId::new)
}

/// The users of these notes, by the place of the note. A note that concerns no one is left out.
async fn ask(
    db: &impl ConnectionTrait,
    catalogue: &Catalogue,
    table: &'static SourceTable,
    notes: &[&Note],
) -> Result<Vec<(usize, String)>, DbErr> {
    let member = |(place, note): (usize, &&Note)| {
        let mut member = Map::from_iter([("place".to_owned(), Json::from(place))]);
        member.insert("quiet".to_owned(), Json::from(i32::from(note.only_updated_at)));
        for (noted, id) in IDS.into_iter().zip(&note.ids) {
            member.insert(noted.to_owned(), id.clone().into());
        }
        Json::Object(member)
    };
    let members = Json::Array(notes.iter().enumerate().map(member).collect()).to_string();
    let statement = catalogue.dialect().statement(question(catalogue, table), [Value::from(members)]);
    let rows = db.query_all_raw(statement).await?;
    let mut users = Vec::with_capacity(rows.len());
    for row in rows {
        let place = usize::try_from(row.try_get::<i64>("", "place")?).unwrap_or(usize::MAX);
        let user: Option<String> = row.try_get("", "owner")?;
        users.extend(user.filter(|_| place < notes.len()).map(|user| (place, user)));
    }
    Ok(users)
}

/// Whom do notes `n` of a table concern, whose ids are in the JSON array $1?
fn question(catalogue: &Catalogue, table: &'static SourceTable) -> String {
    let (notes, place) = match catalogue.dialect() {
        Dialect::Postgres => {
            let ids: Vec<String> = IDS.iter().map(|id| format!("{id} TEXT")).collect();
            let columns = ids.join(", ");
            (
                format!("json_to_recordset(CAST($1 AS JSON)) AS n(place INT, quiet INT, {columns})"),
                "CAST(n.place AS BIGINT)",
            )
        }
        Dialect::Sqlite => {
            let of = |name: &&str| format!("json_extract(value, '$.{name}') AS {name}");
            let columns: Vec<String> = ["place", "quiet"].iter().chain(&IDS).map(of).collect();
            (format!("(SELECT {} FROM json_each($1)) n", columns.join(", ")), "n.place")
        }
    };
    let owner = owner_of(catalogue, table, "n", 0);
    let siblings = siblings(catalogue, table);
    format!("SELECT {place} AS place, {owner} AS owner FROM {notes}{siblings}")
}

/// An expression for the user whom a note, or a row of a parent, with this alias concerns; NULL if there is none.
fn owner_of(catalogue: &Catalogue, table: &SourceTable, row: &str, depth: usize) -> String {
    let is_note = depth == 0;
    let own = (is_note || catalogue.has_column(table, "user_id")).then(|| format!("CAST({row}.user_id AS TEXT)"));
    let owners: Vec<String> = match table.owner {
        Owner::UserId => own.into_iter().collect(),
        Owner::Parent(parents) => parents.iter().filter_map(|by| parent(catalogue, table, *by, row, depth)).collect(),
        Owner::UserIdOrParent(parents) => {
            let own = own.map(|user| format!("NULLIF({user}, '')"));
            let parents = parents.iter().filter_map(|by| parent(catalogue, table, *by, row, depth));
            own.into_iter().chain(parents).collect()
        }
    };
    match &owners[..] {
        [] => "CAST(NULL AS TEXT)".to_owned(),
        [owner] => owner.clone(),
        _ => format!("COALESCE({})", owners.join(", ")),
    }
}

/// The owner of the parent that a column names. None if it is not there, or the column is not.
fn parent(
    catalogue: &Catalogue,
    table: &SourceTable,
    (column, parent): (&'static str, &'static SourceTable),
    row: &str,
    depth: usize,
) -> Option<String> {
    let is_there = depth == 0 || catalogue.has_column(table, column);
    if !is_there || !catalogue.has_column(parent, "id") {
        return None;
    }
    let (name, alias) = (parent.name, format!("p{depth}"));
    let owner = owner_of(catalogue, parent, &alias, depth + 1);
    let value = format!("CAST({row}.{column} AS TEXT)");
    let same = catalogue.is_id(parent, "id", &format!("{alias}.id"), &value);
    Some(format!("(SELECT {owner} FROM {name} {alias} WHERE {same})"))
}

/// A new `updated_at` alone counts only if there are two such rows.
fn siblings(catalogue: &Catalogue, table: &'static SourceTable) -> String {
    let is_group = |column: &&str| catalogue.has_column(table, column) && Watched { table }.newest_counts();
    let Some(group) = table.newest_of.filter(is_group) else { return String::new() };
    let same = match group {
        "user_id" => catalogue.is_user(table, "s.user_id", "n.user_id"),
        _ => catalogue.is_id(table, group, &format!("s.{group}"), &format!("CAST(n.{group} AS TEXT)")),
    };
    let two = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} s WHERE {same} LIMIT 2) two", table.name);
    format!(" WHERE n.quiet = 0 OR ({two}) = 2")
}
