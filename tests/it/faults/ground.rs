//! What a run takes place on: four instances, each with its own lines to one Redis, to the cache's PostgreSQL and to the
//! outbox; the sources in another PostgreSQL, reached directly; and another cluster, which reads the same outbox.

use std::net::SocketAddr;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use userdata::changes;

use testkit::{
    database::{Kind, database, migrate_cache},
    lines::{Lines, by_lines},
    postgres::{Postgres, own_postgres},
    proxy::Proxy,
    redis::{Redis, redis},
    server::{Server, Settings, serve},
    sources::{Sources, sources},
};

pub(super) const INSTANCES: usize = 4;
/// Few, so that readers and invalidations meet.
pub(super) const USERS: usize = 6;
/// Of each user; the first is the active one.
pub(super) const STRATEGIES: usize = 2;

/// Everything that can be broken.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) servers: Vec<Server>,
    pub(super) lines: Vec<Lines>,
    pub(super) redis: Redis,
    pub(super) postgres: Postgres,
    pub(super) sources: DatabaseConnection,
    _other_cluster: Server,
    /// What the earlier lives of the instances have written.
    pub(super) logs: Vec<(usize, String)>,
}

/// A user's name.
pub(super) fn user(user: usize) -> String {
    format!("user_{user}")
}

/// A strategy's id; its row's number is one less.
pub(super) fn strategy(user: usize, which: usize) -> i32 {
    i32::try_from(user * STRATEGIES + which + 1).expect("few")
}

impl Ground {
    pub(super) async fn prepare(with_feed: bool) -> (Self, Sources) {
        let sources = sources(Kind::Postgres).await;
        for number in 0..USERS {
            sources.add_user(&user(number), &[strategy(number, 0), strategy(number, 1)]).await;
        }
        changes::install(&sources.db).await.unwrap();
        let postgres = own_postgres().await;
        postgres.administer().await.execute_unprepared("CREATE DATABASE cache").await.unwrap();
        migrate_cache(&postgres.url("cache")).await;
        let redis = redis().await;
        // A busy machine is not what is tested.
        let fed = |url: &str| {
            let outbox = &sources.database.url;
            let settings =
                Settings::on(url).with("sources.database_url", outbox).with("sources.change_feed", with_feed);
            settings.with("sources.relay_database_url", outbox).with("sources.soft_timeout", "7s")
        };
        let settings = fed(&postgres.url("cache"))
            .with("redis.url", redis.url())
            .with("database.timeout", "2s")
            .with("invalidation_log.renew_timeout", "2s")
            .with("redis.timeout", "300ms");
        let (mut servers, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..INSTANCES {
            let (settings, own) = by_lines(settings.clone()).await;
            servers.push(serve(settings).await);
            lines.push(own);
        }
        let other = database(Kind::Postgres).await;
        migrate_cache(&other.url).await;
        let _other_cluster = serve(fed(&other.url)).await;
        let of_sources = sources.db.clone();
        let ground = Self { servers, lines, redis, postgres, sources: of_sources, _other_cluster, logs: Vec::new() };
        (ground, sources)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// The same PostgreSQL, over a proxy like the instances', which stays whole; with a table `beside` of one row.
    pub(super) async fn beside(&self) -> (DatabaseConnection, Proxy) {
        let line = Proxy::before(self.postgres.port).await;
        let connection = Database::connect(line.url(&self.postgres.url("postgres"))).await.unwrap();
        let table = "CREATE TABLE beside (commits BIGINT); INSERT INTO beside VALUES (0)";
        connection.execute_unprepared(table).await.unwrap();
        (connection, line)
    }

    /// Kills an instance and keeps what it has written.
    pub(super) async fn kill(&mut self, instance: usize) {
        self.servers[instance].kill().await;
        self.logs.push((instance, self.servers[instance].log()));
    }

    /// The ends of all logs.
    pub(super) fn tell_logs(&self) -> String {
        let lives = self.logs.iter().rev().take(INSTANCES).map(|(instance, log)| (*instance, log.clone()));
        let now = self.servers.iter().enumerate().map(|(instance, server)| (instance, server.log()));
        let end = |(instance, log): (usize, String)| {
            let lines: Vec<_> = log.lines().collect();
            format!("--- instance {instance}\n{}\n", lines[lines.len().saturating_sub(60)..].join("\n"))
        };
        lives.chain(now).map(end).collect()
    }

    /// Panics of any life: there may be none.
    pub(super) fn panics(&self) -> Vec<String> {
        let now = self.servers.iter().map(Server::log);
        let all = self.logs.iter().map(|(_, log)| log.clone()).chain(now);
        all.flat_map(|log| log.lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}
