//! The limit of file descriptors: whether all configured connections fit.

use super::Findings;
use crate::{app::descriptors::Descriptors, config::Config};

const CHECK: &str = "file descriptors";

pub(super) fn examine(config: &Config, found: &mut Findings) {
    let Some(possible) = Descriptors::possible(config) else {
        return found.warn(CHECK, "the limit cannot be read", "look at `ulimit -n`");
    };
    let (limit, wanted) = (possible.limit, possible.wanted(config));
    let configured = config.server.max_connections;
    if possible.connections == configured {
        return found
            .ok(CHECK, format!("{limit} at most; {wanted} are enough for server.max_connections = {configured}"));
    }
    found.warn(
        CHECK,
        format!("{limit} at most: {} of server.max_connections = {configured} connections fit", possible.connections),
        format!("raise the hard limit to {wanted} (LimitNOFILE=, --ulimit nofile=), or lower server.max_connections"),
    );
}
