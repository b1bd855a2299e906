//! A Redis cluster: masters that share the hash slots, of which the first has a replica.

use futures::future::join_all;

use super::{Redis, redis_with, wait_for};

const SLOTS: usize = 16_384;
const MASTERS: usize = 3;

/// The cluster.
#[derive(Debug)]
pub struct Shards {
    pub masters: Vec<Redis>,
    /// Of the first master.
    pub replica: Redis,
}

/// A cluster in which every slot has its node, and which answers without some of them.
pub async fn shards() -> Shards {
    shards_with("--cluster-require-full-coverage no").await
}

/// As [`shards`], but it refuses every command with a key while a slot has no node: Redis' default.
pub async fn shards_of_full_coverage() -> Shards {
    shards_with("--cluster-require-full-coverage yes").await
}

async fn shards_with(coverage: &str) -> Shards {
    // The bus has a port of its own here: ten thousand above the other one, there may be none.
    let options = "--cluster-enabled yes --cluster-port BUS --cluster-node-timeout 1000 --repl-diskless-sync-delay 0";
    let node = |_| async { redis_with(&format!("{options} {coverage}")).await };
    let mut masters = join_all((0..=MASTERS).map(node)).await;
    let (first, bus) = (masters[0].port, masters[0].bus);
    for (number, node) in masters.iter().enumerate() {
        cluster(node, &format!("SET-CONFIG-EPOCH {}", number + 1)).await;
        cluster(node, &format!("MEET 127.0.0.1 {first} {bus}")).await;
        if number < MASTERS {
            let slots = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS - 1);
            cluster(node, &format!("ADDSLOTSRANGE {} {}", slots.0, slots.1)).await;
        }
    }
    let replica = masters.pop().expect("the last one");
    let shards = Shards { masters, replica };
    shards.are_whole().await;
    let first = &shards.masters[0];
    let id = first.reply("CLUSTER MYID").await.unwrap();
    cluster(&shards.replica, &format!("REPLICATE {}", id.lines().nth(1).unwrap())).await;
    wait_for("the replica to follow, and everybody to know", async || {
        let follows = shards.replica.try_info("master_link_status").await? == "up";
        for node in &shards.masters {
            node.reply("CLUSTER NODES").await?.contains(" slave ").then_some(())?;
        }
        follows.then_some(())
    })
    .await;
    shards
}

async fn cluster(node: &Redis, command: &str) {
    assert_eq!(node.command(&format!("CLUSTER {command}")).await, "+OK", "{command}");
}

impl Shards {
    /// Names all masters.
    pub fn url(&self) -> String {
        let [first, others @ ..] = &self.masters[..] else { unreachable!("there are three") };
        let others: Vec<String> = others.iter().map(|node| format!("node=127.0.0.1:{}", node.port)).collect();
        format!("redis-cluster://127.0.0.1:{}?{}", first.port, others.join("&"))
    }

    /// Waits until every node knows the others and serves.
    pub async fn are_whole(&self) {
        for node in self.masters.iter().chain([&self.replica]) {
            wait_for("the cluster to be whole", async || {
                let info = node.reply("CLUSTER INFO").await?;
                let says = |line: String| info.lines().any(|found| found == line);
                (says("cluster_state:ok".into()) && says(format!("cluster_known_nodes:{}", MASTERS + 1))).then_some(())
            })
            .await;
        }
    }

    /// Waits until every master but this one refuses commands with keys.
    pub async fn refuse_without(&self, away: usize) {
        for (_, node) in self.masters.iter().enumerate().filter(|(number, _)| *number != away) {
            wait_for("the cluster to refuse", async || {
                node.reply("CLUSTER INFO").await?.contains("cluster_state:fail").then_some(())
            })
            .await;
        }
    }

    /// How many keys of users each master holds.
    pub async fn keys(&self) -> Vec<u64> {
        let keys = async |node: &Redis| node.keys_of_users().await.unsigned_abs();
        join_all(self.masters.iter().map(keys)).await
    }

    /// Gives all slots of a master but one to another: without any it would become a replica. What it held is lost, as a
    /// cache may lose it.
    pub async fn move_slots(&self, from: usize, to: usize) {
        let (from_node, to_node) = (&self.masters[from], &self.masters[to]);
        let id = to_node.reply("CLUSTER MYID").await.unwrap();
        let id = id.lines().nth(1).unwrap().to_owned();
        from_node.command("FLUSHALL").await;
        let slots = from * SLOTS / MASTERS..(from + 1) * SLOTS / MASTERS - 1;
        for node in [to_node, from_node] {
            for slot in slots.clone() {
                cluster(node, &format!("SETSLOT {slot} NODE {id}")).await;
            }
        }
    }
}
