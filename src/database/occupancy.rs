//! Reports the connections of each pool.

use super::{Dialect, Pool};
use crate::telemetry::{Meter, names};

/// Observes these pools, by name, at each collection.
pub fn observe(pools: &[(&'static str, Pool)], meter: &Meter) {
    let of = pools.to_vec();
    meter.observe(&names::POOL_CONNECTIONS, move |observe| {
        for (name, pool) in &of {
            let (open, idle) = occupancy(pool);
            observe(&[name, "idle"], f64::from(idle));
            observe(&[name, "used"], f64::from(open.saturating_sub(idle)));
        }
    });
    let of = pools.to_vec();
    meter.observe(&names::POOL_REPLACED, move |observe| {
        for (name, pool) in &of {
            observe(&[name], pool.replacements() as f64);
        }
    });
    let of: Vec<_> = pools.iter().map(|(name, pool)| (*name, pool.max_connections())).collect();
    meter.observe(&names::POOL_MAX, move |observe| {
        for (name, max) in &of {
            observe(&[name], f64::from(*max));
        }
    });
}

/// All connections, and the idle ones.
fn occupancy(pool: &Pool) -> (u32, u32) {
    let connection = pool.now();
    let (open, idle) = if Dialect::of(pool).is_sqlite() {
        let pool = connection.get_sqlite_connection_pool();
        (pool.size(), pool.num_idle())
    } else {
        let pool = connection.get_postgres_connection_pool();
        (pool.size(), pool.num_idle())
    };
    (open, u32::try_from(idle).unwrap_or(u32::MAX))
}
