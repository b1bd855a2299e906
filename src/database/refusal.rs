//! Detects that a database refuses connections. sqlx assumes that the server is starting, and tries again until its own
//! timeout.

use std::{future::pending, io::ErrorKind, time::Duration};

use sea_orm::{
    DbErr,
    sqlx::{self, postgres::PgConnectOptions},
};
use tokio::net::TcpStream;

use super::{Dialect, Pool, connection_error};

/// Connections usually open within this.
const KNOCK_AFTER: Duration = Duration::from_millis(50);

/// Runs `opening`, which needs a connection of the pool. Fails as soon as the database is found to refuse connections.
/// The caller checks that the pool has a free permit; otherwise each call on a busy pool would probe the database.
pub async fn unless_refused<T, E: From<DbErr>>(
    pool: &Pool,
    opening: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        opened = opening => opened,
        refused = refusal(pool) => Err(refused.into()),
    }
}

/// Connects once, after a moment. Resolves only if that is refused.
async fn refusal(pool: &Pool) -> DbErr {
    if Dialect::of(pool).is_sqlite() {
        return pending().await;
    }
    tokio::time::sleep(KNOCK_AFTER).await;
    match knock(&pool.now().get_postgres_connection_pool().connect_options()).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => connection_error(sqlx::Error::Io(error)),
        _ => pending().await,
    }
}

/// PostgreSQL takes no notice of a connection that closes without a word.
async fn knock(server: &PgConnectOptions) -> std::io::Result<()> {
    // A local socket without a server is not there, which sqlx tells at once.
    if server.get_socket().is_some() || server.get_host().starts_with('/') {
        return Ok(());
    }
    TcpStream::connect((server.get_host(), server.get_port())).await.map(drop)
}
