//! How far a replica of PostgreSQL is, compared with its primary.

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, FromQueryResult, Statement};

use super::{Pool, unless_refused};

const SERVER: &str = include_str!("replica/server.postgres.sql");
const WRITTEN: &str = include_str!("replica/written.postgres.sql");

/// A page of the log begins with a header of this many bytes.
const PAGE_HEADER: i64 = 24;
/// The first page of a file of the log begins with a longer one.
const FILE_HEADER: i64 = 40;

/// A server, as it is read.
#[derive(Debug, FromQueryResult)]
pub(crate) struct ReadServer {
    pub(crate) is_replica: bool,
    /// The same for a primary and its replicas.
    pub(crate) cluster: i64,
    /// When it was started, in microseconds since 1970. Differs between servers.
    pub(crate) started: i64,
    /// Another one begins with each promotion.
    timeline: i32,
    replayed: Option<i64>,
}

/// Up to where a primary has written its log.
#[derive(Debug, FromQueryResult)]
pub(crate) struct Written {
    pub(crate) cluster: i64,
    pub(crate) started: i64,
    timeline: i32,
    /// Behind the header of a page if the last record ends before it.
    written: i64,
    block: i64,
    segment: i64,
}

impl ReadServer {
    pub(crate) async fn of(connection: &impl ConnectionTrait) -> Result<Self, DbErr> {
        one(connection, SERVER).await
    }

    /// Whether it has replayed what was written. Of another timeline the positions cannot be compared.
    pub(crate) fn has_replayed(&self, written: &Written) -> bool {
        (self.cluster, self.timeline) == (written.cluster, written.timeline)
            && self.replayed.is_some_and(|replayed| replayed >= written.last_record_ends())
    }
}

impl Written {
    pub(crate) async fn of(primary: &Pool) -> Result<Self, DbErr> {
        unless_refused(primary, one(primary, WRITTEN)).await
    }

    /// Where the next record begins may lie behind a header that no replica has replayed yet.
    fn last_record_ends(&self) -> i64 {
        if self.written % self.segment == FILE_HEADER {
            self.written - FILE_HEADER
        } else if self.written % self.block == PAGE_HEADER {
            self.written - PAGE_HEADER
        } else {
            self.written
        }
    }
}

async fn one<T: FromQueryResult>(connection: &impl ConnectionTrait, sql: &str) -> Result<T, DbErr> {
    let statement = Statement::from_string(DatabaseBackend::Postgres, sql);
    let row = T::find_by_statement(statement).one(connection).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("of the server".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_behind_the_last_record_is_not_waited_for() {
        let ends = |written| {
            Written { cluster: 1, started: 1, timeline: 1, written, block: 8192, segment: 1 << 24 }.last_record_ends()
        };
        assert_eq!(ends(8192 + 24), 8192);
        assert_eq!(ends((1 << 24) + 40), 1 << 24);
        assert_eq!([8192, 8192 + 32, 8192 + 40, 20_000].map(ends), [8192, 8192 + 32, 8192 + 40, 20_000]);
    }
}
