//! Bytes of the process' own memory per byte of the documents that it holds.

use super::{
    Scale,
    drive::as_f64,
    population::{Population, user},
};
use crate::{servers::database::Kind, wire::empty};

const KIB: usize = 1024;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) async fn table(scale: Scale) -> String {
    let users = scale.of(100_000, 2_000);
    let head = ["document, bytes", "all, MiB", "process grew by, MiB", "per byte of document", "by its own count"];
    let mut table = empty(head.map(str::to_owned).into());
    for document_bytes in [3 * KIB, 16 * KIB] {
        let population = Population::new(Kind::Sqlite, document_bytes).await;
        let instance = population.instance().await;
        instance.get(&user(0)).await;
        // A first thousand pays for buffers, threads and connections, which are there whatever is held.
        let warmed = users / 100;
        population.fill(&[(&instance, warmed)]).await;
        let before = (instance.anonymous_bytes(), weight(&instance).await);
        population.fill(&[(&instance, users)]).await;
        let (grew, weighed) = (instance.anonymous_bytes() - before.0, weight(&instance).await - before.1);
        let all = as_f64(population.document_bytes() * (users - warmed));
        eprintln!("{document_bytes}: {grew} bytes for {all}, by its own count {weighed}");
        table.add_row([
            population.document_bytes().to_string(),
            format!("{:.0}", all / MIB),
            format!("{:.0}", as_f64(grew) / MIB),
            format!("{:.2}", as_f64(grew) / all),
            format!("{:.2}", as_f64(grew) / as_f64(weighed)),
        ]);
    }
    format!("{users} documents in memory, found in Redis; all: their bytes as they are sent\n\n{table}")
}

/// What the tier says that it holds.
async fn weight(instance: &super::instance::Instance) -> u64 {
    let stats = instance.stats().await;
    let memory = stats.tiers.iter().find(|tier| tier.tier == "memory").and_then(|tier| tier.bytes);
    u64::try_from(memory.unwrap()).unwrap()
}
