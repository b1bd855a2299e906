//! Our own tables.

use crate::{script::Script, set::Set};

pub(crate) const SET: Set = Set {
    record: "userdata_migrations",
    scripts: &[
        Script {
            name: "m0001_snapshots",
            postgres: include_str!("cache/snapshots.postgres.sql"),
            sqlite: include_str!("cache/snapshots.sqlite.sql"),
            tables: &["comprehensive_user_data_cache"],
        },
        Script {
            name: "m0002_analysis_memo",
            postgres: include_str!("cache/analysis_memo.postgres.sql"),
            sqlite: include_str!("cache/analysis_memo.sqlite.sql"),
            tables: &["ai_analysis_memo"],
        },
        Script {
            name: "m0003_fences",
            postgres: include_str!("cache/fences.postgres.sql"),
            sqlite: include_str!("cache/fences.sqlite.sql"),
            tables: &["load_lease", "fence_log", "fence_head"],
        },
    ],
};
