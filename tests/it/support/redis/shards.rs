//! A Redis cluster: masters that share the hash slots and have no replicas.

use futures::future::join_all;

use super::{Redis, free_port, redis_with, wait_for};

const SLOTS: usize = 16_384;
const NODES: usize = 3;

/// The cluster.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) nodes: Vec<Redis>,
}

/// A cluster of three in which every slot has its node.
pub(crate) async fn shards() -> Shards {
    let node = |_| async {
        // The bus has a port of its own here: ten thousand above the other one, there may be none.
        let bus = free_port();
        let options = format!("--cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 1000");
        (redis_with(&options).await, bus)
    };
    let (nodes, buses): (Vec<_>, Vec<_>) = join_all((0..NODES).map(node)).await.into_iter().unzip();
    for (number, node) in nodes.iter().enumerate() {
        let (first, last) = (number * SLOTS / NODES, (number + 1) * SLOTS / NODES - 1);
        for command in [
            format!("SET-CONFIG-EPOCH {}", number + 1),
            format!("ADDSLOTSRANGE {first} {last}"),
            format!("MEET 127.0.0.1 {} {}", nodes[0].port, buses[0]),
        ] {
            assert_eq!(node.command(&format!("CLUSTER {command}")).await, "+OK");
        }
    }
    let shards = Shards { nodes };
    shards.are_whole().await;
    shards
}

impl Shards {
    /// Names all nodes.
    pub(crate) fn url(&self) -> String {
        let [first, others @ ..] = &self.nodes[..] else { unreachable!("there are three") };
        let others: Vec<String> = others.iter().map(|node| format!("node=127.0.0.1:{}", node.port)).collect();
        format!("redis-cluster://127.0.0.1:{}?{}", first.port, others.join("&"))
    }

    /// Waits until every node knows the others and serves.
    pub(crate) async fn are_whole(&self) {
        for node in &self.nodes {
            wait_for("the cluster to be whole", async || {
                let info = node.reply("CLUSTER INFO").await?;
                let says = |line: String| info.lines().any(|found| found == line);
                (says("cluster_state:ok".into()) && says(format!("cluster_known_nodes:{NODES}"))).then_some(())
            })
            .await;
        }
    }

    /// How many keys each node holds.
    pub(crate) async fn keys(&self) -> Vec<u64> {
        let keys = async |node: &Redis| node.command("DBSIZE").await.trim_start_matches(':').parse().unwrap();
        join_all(self.nodes.iter().map(keys)).await
    }
}
