//! What a Redis URL says beyond what fred reads of it.

/// Names of a URL's parameters that have no effect. A misspelt one would otherwise go unnoticed.
pub(crate) fn parameters_without_effect(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let known: &[&str] = match scheme.rsplit_once('-') {
        Some((_, "cluster")) => &["node"],
        Some((_, "sentinel")) => &["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"],
        _ => &[],
    };
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    // A value may be a password.
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.filter(|name| !name.is_empty() && !known.contains(name)).map(str::to_owned).collect()
}

/// The same URL without TLS; none if it has none.
pub(super) fn without_tls(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (base, kind) =
        scheme.split_once('-').map_or((scheme, String::new()), |(base, kind)| (base, format!("-{kind}")));
    let plain = match base {
        "rediss" => "redis",
        "valkeys" => "valkey",
        _ => return None,
    };
    Some(format!("{plain}{kind}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_fred_does_not_read_are_named_without_their_values() {
        for (url, expected) in [
            ("redis://host:6379/1", &[][..]),
            ("redis://host?user=app&password=hush", &["user", "password"]),
            ("redis-cluster://a:1?node=b:2&node=c:3&nodes=d", &["nodes"]),
            ("rediss-sentinel://a?sentinelServiceName=s&node=b:1&sentinelPassword=p&sentinelUsername=u&x", &["x"]),
            ("redis://host?node=b:2", &["node"]),
        ] {
            assert_eq!(parameters_without_effect(url), expected, "{url}");
        }
    }

    #[test]
    fn tls_is_a_letter_of_the_scheme() {
        assert_eq!(without_tls("rediss://h").as_deref(), Some("redis://h"));
        assert_eq!(without_tls("rediss-cluster://u:p@h:1?node=b").as_deref(), Some("redis-cluster://u:p@h:1?node=b"));
        assert_eq!(without_tls("valkeys://h").as_deref(), Some("valkey://h"));
        assert_eq!(without_tls("redis-sentinel://h"), None);
    }
}
