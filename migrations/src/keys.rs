//! The keys of users, in a database of their own.

use crate::{script::Script, set::Set};

pub(crate) const SET: Set = Set {
    record: "userdata_key_migrations",
    scripts: &[Script {
        name: "k0001_initial",
        postgres: include_str!("keys/tables.postgres.sql"),
        sqlite: include_str!("keys/tables.sqlite.sql"),
        tables: &["user_key"],
    }],
};
