//! Our own tables.

use crate::{script::Script, set::Set};

pub(crate) const SET: Set = Set {
    record: "userdata_migrations",
    scripts: &[Script {
        name: "m0001_initial",
        postgres: include_str!("cache/tables.postgres.sql"),
        sqlite: include_str!("cache/tables.sqlite.sql"),
        tables: &[
            "load_lease",
            "change_feed_round",
            "change_feed",
            "invalidation_log",
            "invalidation_log_head",
            "ai_response_cache",
            "comprehensive_user_data_cache",
        ],
    }],
};
