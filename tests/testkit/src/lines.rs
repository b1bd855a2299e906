//! An instance's own lines to Redis, to the cache's database and to the outbox, so that it alone can be cut off. The sources
//! are reached directly: a tier that is broken must never cost an answer.

use crate::{proxy::Proxy, server::Settings};

/// What an instance has of these; a file needs no line.
#[derive(Debug)]
pub struct Lines {
    pub redis: Option<Proxy>,
    pub database: Option<Proxy>,
    /// By `sources.relay_database_url`.
    pub outbox: Option<Proxy>,
}

/// The same settings, by lines of their own.
pub async fn by_lines(mut settings: Settings) -> (Settings, Lines) {
    let lines = Lines {
        redis: line(&mut settings, "USERDATA__REDIS__URL").await,
        database: line(&mut settings, "USERDATA__DATABASE__URL").await,
        outbox: line(&mut settings, "USERDATA__SOURCES__RELAY_DATABASE_URL").await,
    };
    (settings, lines)
}

async fn line(settings: &mut Settings, variable: &str) -> Option<Proxy> {
    let (_, url) = settings.environment.iter_mut().rfind(|(name, _)| name == variable)?;
    let (_, after) = url.split_once("127.0.0.1:")?;
    let port = after.split(|c: char| !c.is_ascii_digit()).next()?.parse().expect("a port");
    let proxy = Proxy::before(port).await;
    *url = proxy.url(url);
    Some(proxy)
}
