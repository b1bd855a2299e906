//! The setup for one probe of one cache: its instances, their origin, and the Redis that they share if they can. Every
//! probe has its own.

use std::{sync::Arc, time::Duration};

use testkit::redis::{Redis, redis};

use crate::field::{
    Library, Node,
    cachet::Cachet,
    foyer::Foyer,
    moka::Moka,
    multi_tier_cache::MultiTierCache,
    origin::Origin,
    ours::{Ours, Tables},
};

#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) nodes: Vec<Arc<Node>>,
    source: Source,
    redis: Option<Redis>,
}

/// The origin of the loads.
#[derive(Debug)]
enum Source {
    Function(Origin),
    Tables(Tables),
}

impl Source {
    /// An instance that loads from this origin.
    async fn node(&self, library: Library, redis_url: &str) -> Node {
        let origin = match self {
            Self::Tables(tables) => return Node::Ours(Ours::start(tables.url(), redis_url).await),
            Self::Function(origin) => origin.clone(),
        };
        match library {
            Library::Moka => Node::Moka(Moka::new(origin)),
            Library::MultiTierCache => Node::MultiTierCache(MultiTierCache::connect(redis_url, origin).await),
            Library::Cachet => Node::Cachet(Cachet::new(origin)),
            Library::Foyer => Node::Foyer(Foyer::new(origin)),
            Library::Ours => unreachable!("userdata loads from tables"),
        }
    }
}

impl Stand {
    /// Instances with empty caches, and loads of that duration.
    pub(crate) async fn set_up(library: Library, instances: usize, takes: Duration) -> Self {
        let redis = if library.channel().is_some() { Some(redis().await) } else { None };
        let url = redis.as_ref().map(Redis::url).unwrap_or_default();
        let source = match library {
            Library::Ours => Source::Tables(Tables::new(takes).await),
            _ => Source::Function(Origin::new(takes)),
        };
        let mut nodes = Vec::new();
        for _ in 0..instances {
            nodes.push(Arc::new(source.node(library, &url).await));
        }
        Self { nodes, source, redis }
    }

    /// Its only instance, or the first.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.nodes[0]
    }

    /// The Redis of a cache that has one.
    pub(crate) fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("a cache with a shared tier")
    }

    /// Loads that begin from now on read this number.
    pub(crate) async fn write(&self, version: i64) {
        match &self.source {
            Source::Function(origin) => origin.write(version),
            Source::Tables(tables) => tables.write(version).await,
        }
    }

    /// Loads that begin from now on fail at their end.
    pub(crate) async fn fail(&self) {
        match &self.source {
            Source::Function(origin) => origin.fail(),
            Source::Tables(tables) => tables.fail().await,
        }
    }

    /// Loads begun on all instances.
    pub(crate) async fn loads(&self) -> i64 {
        if let Source::Function(origin) = &self.source {
            return origin.loads();
        }
        let mut loads = 0;
        for node in &self.nodes {
            if let Node::Ours(ours) = &**node {
                loads += ours.loads().await;
            }
        }
        loads
    }

    /// Stops the instances; the servers end when this is dropped.
    pub(crate) async fn take_down(mut self) {
        for node in self.nodes.drain(..) {
            if let Ok(Node::Ours(ours)) = Arc::try_unwrap(node) {
                ours.stop().await;
            }
        }
    }
}
