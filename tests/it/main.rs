//! Everything that needs a server, a socket or a database: one binary, so that it is linked once and
//! its PostgreSQL is started once.

#![expect(clippy::disallowed_types, reason = "Shuttle does not exchange the locks of tests")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "for whoever looks at a failure or a figure")]

mod ai_analysis;
mod attack;
mod bad_input;
mod change_feed;
mod change_notes;
mod changes;
mod coherence;
mod command_line;
mod contract;
mod credentials;
mod data_hash;
mod demo;
mod descriptors;
mod doctor;
mod documents;
mod faults;
mod flood;
mod generations;
mod herd;
mod http;
mod kept_rows;
mod lines;
mod load_lease;
mod migrations;
mod notifications;
mod operating;
mod overload;
mod planning_json;
mod pooler;
mod pools;
mod prefetch;
mod privacy;
mod probes;
mod read_path;
mod readme;
mod redis;
mod renewal;
mod replicas;
mod security;
mod shutdown;
mod source_failures;
mod sources;
mod staleness_check;
mod standby;
mod sweep;
mod telemetry;
mod tier_matrix;
mod tiers;
mod user_files;
mod user_tokens;
