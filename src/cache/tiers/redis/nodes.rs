//! Which server has a key: the only one, or the master of a cluster that owns the key's slot.
//!
//! Each master has a client of its own. fred's client for clusters connects to all masters or to none, so one dead shard
//! would cost the whole tier.
//!
//! Slots move seldom: a reshard, or a failover. A command that meets another owner fails, and the slots are asked for
//! before the next probe.

mod slots;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    error::Error,
    interfaces::ClientLike,
    types::{
        ConnectHandle, CustomCommand, Value,
        config::{Config, Server, ServerConfig},
    },
    util::redis_keyslot,
};
use futures::future::{join_all, select_all};

use self::slots::SlotRange;
use super::{client, connection_errors::ConnectionErrors};
use crate::{
    clock::{Clock, Moment},
    config,
    sync::{Mutex, RwLock},
};

/// Slots that did not seem to move are asked for again.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// Keys of which one is in a slot of a master that can be reached, even if that is one of ten.
const PROBE_KEYS: u32 = 64;

/// The servers of the tier.
#[derive(Debug)]
pub(super) struct Nodes {
    config: Config,
    timeout: Duration,
    map: RwLock<Arc<NodeMap>>,
    /// A command has met another owner.
    has_moved: AtomicBool,
    asked_at: Mutex<Option<Moment>>,
    clock: Clock,
}

/// A server, and a client that goes on connecting to it.
#[derive(Debug)]
pub(super) struct Node {
    /// None: the only one, or what sentinels name.
    server: Option<Server>,
    pub(super) client: Client,
    /// fred's connection task; it ends only on errors that fred considers final.
    connection: Mutex<ConnectHandle>,
    pub(super) errors: ConnectionErrors,
    /// As the log said last.
    was_reachable: AtomicBool,
}

#[derive(Debug, Default)]
struct NodeMap {
    /// Those that the URL names, and all masters.
    nodes: Vec<Arc<Node>>,
    /// In a cluster: which has what, by their first slots. Empty before it was asked.
    owners: Vec<(SlotRange, Arc<Node>)>,
}

impl Nodes {
    /// Starts to connect, and waits for nothing but the files that the settings name. Fails only for these and for a
    /// missing or malformed URL. Needs a tokio runtime.
    pub(super) async fn connect(settings: &config::RedisSettings, clock: Clock) -> Result<Self, Error> {
        let config = client::configured(settings).await?;
        let named = match &config.server {
            ServerConfig::Clustered { hosts, .. } => hosts.iter().cloned().map(Some).collect(),
            _ => vec![None],
        };
        let nodes = named.into_iter().map(|server| Node::connect(&config, server, settings.timeout).map(Arc::new));
        let map = NodeMap { nodes: nodes.collect::<Result<_, Error>>()?, owners: Vec::new() };
        Ok(Self {
            config,
            timeout: settings.timeout,
            map: RwLock::new(Arc::new(map)),
            has_moved: AtomicBool::default(),
            asked_at: Mutex::default(),
            clock,
        })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.config.server.is_clustered()
    }

    /// The server that has the key; in a cluster None before its slots are known.
    pub(super) fn of(&self, key: &str) -> Option<Arc<Node>> {
        let map = self.map();
        if !self.is_cluster() {
            return map.nodes.first().cloned();
        }
        let slot = redis_keyslot(key.as_bytes());
        map.owners.iter().find(|(range, _)| range.contains(&slot)).map(|(_, node)| Arc::clone(node))
    }

    /// A key that no record has, and the server that has its slot, which can be reached. If none can, the node says why, or
    /// no slots are known.
    pub(super) fn probed(&self, prefix: &str) -> (String, Option<Arc<Node>>) {
        let names = (0..PROBE_KEYS).map(|number| format!("{prefix}:probe:{number}"));
        let mut places = names.map(|name| (self.of(&name), name));
        let reached = places.find(|(node, _)| node.as_ref().is_some_and(|node| node.client.is_connected()));
        let unreached = || (String::new(), self.any().filter(|node| !node.client.is_connected()));
        reached.map_or_else(unreached, |(node, name)| (name, node))
    }

    /// A server that can be reached, or else any.
    pub(super) fn any(&self) -> Option<Arc<Node>> {
        let map = self.map();
        map.nodes.iter().find(|node| node.client.is_connected()).or(map.nodes.first()).cloned()
    }

    /// Every server that has keys; in a cluster None before its slots are known, or if a slot has no owner.
    pub(super) fn all(&self) -> Option<Vec<Arc<Node>>> {
        let map = self.map();
        if !self.is_cluster() {
            return Some(map.nodes.clone());
        }
        slots::are_all(map.owners.iter().map(|(range, _)| range)).then(|| map.masters())
    }

    /// The only server, or the masters of a cluster that have slots, as far as they are known.
    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        let map = self.map();
        if self.is_cluster() { map.masters() } else { map.nodes.clone() }
    }

    /// A further client of a server, which subscribes. It is not connected yet.
    pub(super) fn subscribing(&self, node: &Node) -> Result<Client, Error> {
        client::of(config_at(&self.config, node.server()), self.timeout, client::EVENTS_MAX)
    }

    /// Asks which master has which slots. Empty for a single server; None without an answer.
    pub(super) async fn owners_now(&self) -> Option<Vec<(SlotRange, Option<Server>)>> {
        if !self.is_cluster() {
            return Some(Vec::new());
        }
        self.ask_for_slots().await.then(|| {
            let map = self.map();
            map.owners.iter().map(|(range, node)| (range.clone(), node.server.clone())).collect()
        })
    }

    /// Whether another server than this one can be reached.
    pub(super) fn has_others(&self, than: Option<&Node>) -> bool {
        let is_other = |node: &Node| than.is_none_or(|than| !std::ptr::eq(than, node));
        self.map().nodes.iter().any(|node| is_other(node) && node.client.is_connected())
    }

    /// A command has met another owner than expected.
    pub(super) fn have_moved(&self) {
        self.has_moved.store(true, Ordering::Relaxed);
    }

    /// Whether no master of the cluster is left out. True for a single server, which has the tier's circuit.
    pub(super) fn are_all_connected(&self) -> bool {
        self.map().owners.iter().all(|(_, node)| node.client.is_connected())
    }

    /// Restarts what fred has given up, and asks a cluster for its slots if they may have moved.
    pub(super) async fn refresh(&self) {
        let map = self.map();
        map.nodes.iter().for_each(|node| node.revive());
        if !self.is_cluster() {
            return;
        }
        let is_whole = !map.owners.is_empty() && self.are_all_connected();
        let now = self.clock.now();
        let is_due = self.asked_at.lock().is_none_or(|at| now.since(at) >= ASKED_EVERY);
        if self.has_moved.swap(false, Ordering::Relaxed) || !is_whole || is_due {
            self.ask_for_slots().await;
        }
        self.map().masters().iter().for_each(|node| node.log());
    }

    /// Waits until the only server is connected, or every master.
    pub(super) async fn connected(&self) {
        let connected = |node: Arc<Node>| async move { node.client.wait_for_connect().await };
        let nodes = self.map().nodes.clone();
        select_all(nodes.into_iter().map(|node| Box::pin(connected(node)))).await.0.ok();
        if self.is_cluster() {
            self.ask_for_slots().await;
            join_all(self.map().masters().into_iter().map(connected)).await;
        }
    }

    /// Ends the connections. A Redis that hangs must not hold up the shutdown.
    pub(super) async fn close(&self) {
        let nodes = self.map().nodes.clone();
        join_all(nodes.iter().map(|node| async {
            let _ = tokio::time::timeout(client::CONNECT_TIMEOUT, node.client.quit()).await;
            node.connection.lock().abort();
        }))
        .await;
    }

    fn map(&self) -> Arc<NodeMap> {
        Arc::clone(&self.map.read())
    }

    /// Asks one server after the other. Whether one has answered.
    async fn ask_for_slots(&self) -> bool {
        let map = self.map();
        for node in map.nodes.iter().filter(|node| node.client.is_connected()) {
            let command = CustomCommand::new_static("CLUSTER", None, false);
            let asking = Box::pin(node.client.custom::<Value, _>(command, vec!["SLOTS"]));
            let Ok(Ok(answer)) = tokio::time::timeout(self.timeout, asking).await else { continue };
            let asked = node.server.as_ref().map_or("", |server| &*server.host);
            let Some(owned) = slots::read(answer, asked).filter(|owned| !owned.is_empty()) else { continue };
            *self.asked_at.lock() = Some(self.clock.now());
            match self.with_owners(&map, owned) {
                Ok(map) => {
                    *self.map.write() = Arc::new(map);
                    return true;
                }
                Err(error) => tracing::warn!(%error, "redis cluster names a node that no client can be made for"),
            }
        }
        false
    }

    /// Keeps the clients of servers that are still there; the others end with their last command.
    fn with_owners(&self, old: &NodeMap, owned: Vec<(SlotRange, Server)>) -> Result<NodeMap, Error> {
        let mut nodes: Vec<Arc<Node>> = old.nodes.iter().filter(|node| self.is_named(node)).cloned().collect();
        let mut owners = Vec::with_capacity(owned.len());
        for (range, server) in owned {
            let known = nodes.iter().chain(&old.nodes).find(|node| node.server.as_ref() == Some(&server)).cloned();
            let node = match known {
                Some(node) => node,
                None => Arc::new(Node::connect(&self.config, Some(server), self.timeout)?),
            };
            if !nodes.iter().any(|one| Arc::ptr_eq(one, &node)) {
                nodes.push(Arc::clone(&node));
            }
            owners.push((range, node));
        }
        Ok(NodeMap { nodes, owners })
    }

    /// Whether the URL names it.
    fn is_named(&self, node: &Node) -> bool {
        self.config.server.hosts().into_iter().any(|host| node.server.as_ref() == Some(&host))
    }
}

fn config_at(config: &Config, server: Option<&Server>) -> Config {
    server.map_or_else(|| config.clone(), |server| client::at(config, server))
}

impl NodeMap {
    fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for (_, node) in &self.owners {
            if !masters.iter().any(|known| Arc::ptr_eq(known, node)) {
                masters.push(Arc::clone(node));
            }
        }
        masters
    }
}

impl Node {
    fn connect(config: &Config, server: Option<Server>, timeout: Duration) -> Result<Self, Error> {
        let client = client::of(config_at(config, server.as_ref()), timeout, client::EVENTS_UNHEARD)?;
        // Order: before it connects.
        let errors = ConnectionErrors::of(&client);
        let connection = Mutex::new(client.connect());
        Ok(Self { server, client, connection, errors, was_reachable: AtomicBool::new(true) })
    }

    /// Host and port, if it is a node of a cluster.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Restarts fred's connection task if it has ended.
    fn revive(&self) {
        let mut connection = self.connection.lock();
        if connection.is_finished() {
            *connection = self.client.connect();
        }
    }

    /// Logs once that it is lost, and once that it is back.
    fn log(&self) {
        let Some(server) = &self.server else { return };
        let is_reachable = self.client.is_connected();
        match (self.was_reachable.swap(is_reachable, Ordering::Relaxed), is_reachable) {
            (true, false) => tracing::warn!(
                node = %server,
                "a node of the redis cluster cannot be reached; its documents come from the next tier"
            ),
            (false, true) => tracing::info!(node = %server, "a node of the redis cluster is back"),
            _ => {}
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.connection.lock().abort();
    }
}
