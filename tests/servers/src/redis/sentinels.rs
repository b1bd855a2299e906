//! A master, its replica, and three sentinels that make the replica a master when the master is gone.
//!
//! Replication can be stopped without stopping a server, so that a failover loses what was acknowledged.

use futures::future::join_all;

use super::{Redis, redis_with, wait_for};

/// What the sentinels call the two.
const SERVICE: &str = "userdata";
/// Of three sentinels.
const QUORUM: usize = 2;
/// The user that replicas log in as: its removal breaks replication and no client's connection.
const REPLICATES: &str = "ACL SETUSER replicator on >secret +psync +replconf +ping";

/// The group. `nodes[0]` is the master at first.
#[derive(Debug)]
pub struct Sentinels {
    pub nodes: Vec<Redis>,
    sentinels: Vec<Redis>,
}

/// A group whose members all know each other.
pub async fn sentinels() -> Sentinels {
    // Undelayed: a replica would wait five seconds for others to come.
    let node = "--masteruser replicator --masterauth secret --repl-diskless-sync-delay 0";
    let nodes = join_all([redis_with(node), redis_with(node)]).await;
    for node in &nodes {
        assert_eq!(node.command(REPLICATES).await, "+OK");
    }
    assert_eq!(nodes[1].command(&format!("REPLICAOF 127.0.0.1 {}", nodes[0].port)).await, "+OK");
    let sentinels = join_all([redis_with("--sentinel"), redis_with("--sentinel"), redis_with("--sentinel")]).await;
    let group = Sentinels { nodes, sentinels };
    group.replicates(0).await;
    for sentinel in &group.sentinels {
        for command in [
            format!("MONITOR {SERVICE} 127.0.0.1 {} {QUORUM}", group.nodes[0].port),
            // A replica that has been cut off for ten times that when its master dies is not promoted.
            format!("SET {SERVICE} down-after-milliseconds 2000"),
            format!("SET {SERVICE} failover-timeout 5000"),
        ] {
            assert_eq!(sentinel.command(&format!("SENTINEL {command}")).await, "+OK");
        }
    }
    for sentinel in &group.sentinels {
        wait_for("the sentinels to know each other and the replica", async || {
            let others = sentinel.command(&format!("SENTINEL CKQUORUM {SERVICE}")).await;
            let replicas = sentinel.command(&format!("SENTINEL REPLICAS {SERVICE}")).await;
            (others.starts_with("+OK 3 usable") && replicas == "*1").then_some(())
        })
        .await;
    }
    group
}

impl Sentinels {
    /// Names the sentinels, and no server.
    pub fn url(&self) -> String {
        let [first, others @ ..] = &self.sentinels[..] else { unreachable!("there are three") };
        let others: String = others.iter().map(|sentinel| format!("&node=127.0.0.1:{}", sentinel.port)).collect();
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName={SERVICE}{others}", first.port)
    }

    /// From now on the sentinels ask for this password. The servers have none.
    pub async fn protect(&self, password: &str) {
        for sentinel in &self.sentinels {
            assert_eq!(sentinel.command(&format!("ACL SETUSER default resetpass >{password}")).await, "+OK");
        }
    }

    /// Waits until what this master has is on the other node, too.
    pub async fn replicates(&self, master: usize) {
        let (port, replica) = (self.nodes[master].port.to_string(), &self.nodes[1 - master]);
        wait_for("the replica to follow", async || {
            let follows = replica.try_info("master_port").await? == port;
            let is_up = replica.try_info("master_link_status").await? == "up";
            (follows && is_up).then_some(())
        })
        .await;
    }

    /// From now on the replica gets nothing, and the master does not mind.
    pub async fn stop_replication(&self, master: usize) {
        let master = &self.nodes[master];
        assert_eq!(master.command("ACL SETUSER replicator off").await, "+OK");
        assert_eq!(master.command("CLIENT KILL TYPE replica").await, ":1");
    }

    /// Waits until the sentinels have made this node the master.
    pub async fn promote(&self, node: usize) {
        let port = self.nodes[node].port.to_string();
        for sentinel in &self.sentinels {
            wait_for("the sentinels to promote the replica", async || {
                let command = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}");
                let address = sentinel.reply(&command).await.unwrap_or_default();
                address.lines().any(|line| line == port).then_some(())
            })
            .await;
        }
        assert_eq!(self.nodes[node].info("role").await, "master");
    }

    /// Starts a node that was killed; the sentinels make it a replica.
    pub async fn start(&mut self, node: usize) {
        self.nodes[node].start().await;
        assert_eq!(self.nodes[node].command(REPLICATES).await, "+OK");
    }
}
