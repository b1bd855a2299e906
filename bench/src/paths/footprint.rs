//! Bytes of the process' own memory per byte of the documents that it holds, with each engine of the memory tier.

use userdata::config::Setting;

use super::{
    Scale,
    drive::as_f64,
    instance::Instance,
    population::{Population, user},
};
use testkit::database::Kind;

use crate::wire::empty;

const KIB: usize = 1024;
const MIB: f64 = 1024.0 * 1024.0;
const ENGINE: &str = "memory.engine";

pub(super) async fn table(scale: Scale) -> String {
    let users = scale.of(100_000, 2_000);
    // The first documents pay for buffers, threads and connections.
    let warmed = users / 100;
    // Older binaries have one engine.
    let engines: &[&str] = if Setting::find(ENGINE).is_some() { &["mini-moka", "quick-cache"] } else { &["mini-moka"] };
    let head =
        ["engine", "document, bytes", "all, MiB", "process growth, MiB", "per byte of document", "by the tier's count"];
    let mut table = empty(head.map(str::to_owned).into());
    for document_bytes in [3 * KIB, 16 * KIB] {
        let population = Population::new(Kind::Sqlite, document_bytes).await;
        let mut instances = Vec::new();
        for engine in engines {
            let chosen: &[(&str, &str)] = if engines.len() > 1 { &[(ENGINE, engine)] } else { &[] };
            let instance = population.instance_with(chosen).await;
            instance.get(&user(0)).await;
            instances.push(instance);
        }
        let all_of = |users| instances.iter().map(|instance| (instance, users)).collect::<Vec<_>>();
        population.fill(&all_of(warmed)).await;
        let mut before = Vec::new();
        for instance in &instances {
            before.push(Weighed::now(instance).await);
        }
        population.fill(&all_of(users)).await;
        let all = as_f64(population.document_bytes() * (users - warmed));
        for ((engine, instance), before) in engines.iter().zip(&instances).zip(before) {
            let after = Weighed::now(instance).await;
            let grew = as_f64(after.process - before.process);
            table.add_row([
                (*engine).to_owned(),
                population.document_bytes().to_string(),
                format!("{:.0}", all / MIB),
                format!("{:.0}", grew / MIB),
                format!("{:.2}", grew / all),
                format!("{:.2}", grew / as_f64(after.tier - before.tier)),
            ]);
        }
    }
    format!(
        "{users} documents in memory, found in Redis; all: their bytes on the wire; the tier's count: with the facts \
         about sections and the rows that it keeps beside them\n\n{table}"
    )
}

/// Bytes.
struct Weighed {
    process: u64,
    /// The tier's own count.
    tier: u64,
}

impl Weighed {
    async fn now(instance: &Instance) -> Self {
        let stats = instance.stats().await;
        let memory = stats.tiers.iter().find(|tier| tier.tier == "memory").and_then(|tier| tier.bytes);
        Self { process: instance.anonymous_bytes(), tier: u64::try_from(memory.unwrap()).unwrap() }
    }
}
