//! What Cargo.lock may and must not hold: nothing older than the repair of a known weakness, nothing that was ruled out.
//!
//! Reads the file and asks nobody, so that a verdict changes only with the file. It does not replace a look at the
//! advisory database (RUSTSEC) when versions move: it keeps what was found there from coming back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use toml::{Table, Value};

/// The only place that packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates on a way that strangers' bytes take, and the version that mended what was known. Every copy counts.
const FLOORS: [(&str, [u64; 3], &str); 22] = [
    ("axum-core", [0, 3, 0], "bodies without a limit, RUSTSEC-2022-0055"),
    ("bytes", [1, 11, 1], "an overflow in BytesMut::reserve leads out of bounds, RUSTSEC-2026-0007"),
    ("chrono", [0, 4, 20], "the local time zone races with the environment, RUSTSEC-2020-0159"),
    ("crossbeam-channel", [0, 5, 15], "memory freed twice, RUSTSEC-2025-0024"),
    ("crossbeam-epoch", [0, 9, 20], "a pointer followed while printing, RUSTSEC-2026-0204"),
    (
        "h2",
        [0, 4, 17],
        "endless CONTINUATION, empty DATA: RUSTSEC-2024-0332, 2026-0258, whose repair cut off good clients",
    ),
    ("http", [0, 1, 20], "memory freed twice in HeaderMap::drain, RUSTSEC-2019-0034"),
    ("hyper", [0, 14, 10], "lengths read loosely let requests be smuggled, RUSTSEC-2021-0078, -0079"),
    ("idna", [1, 0, 0], "Punycode that hides another host, RUSTSEC-2024-0421"),
    ("libsqlite3-sys", [0, 25, 1], "SQLite's CVE-2022-35737, RUSTSEC-2022-0090"),
    ("prost", [0, 6, 1], "nested messages exhaust the stack, RUSTSEC-2020-0002"),
    ("regex", [1, 5, 5], "expressions that take for ever, RUSTSEC-2022-0013"),
    ("ring", [0, 17, 12], "AES panics on long input, RUSTSEC-2025-0009"),
    ("rustls", [0, 23, 45], "a panic in Acceptor, messages accepted in the clear: RUSTSEC-2024-0399, 2026-0285"),
    ("rustls-webpki", [0, 103, 13], "name constraints and revocation lists misread, RUSTSEC-2026-0098, -0099, -0104"),
    ("slab", [0, 4, 11], "reads out of bounds, RUSTSEC-2025-0047"),
    ("smallvec", [1, 6, 1], "writes out of bounds, RUSTSEC-2021-0003"),
    ("sqlx", [0, 8, 1], "lengths that wrap let one statement hold another, RUSTSEC-2024-0363"),
    ("time", [0, 3, 47], "a date exhausts the stack, RUSTSEC-2026-0009"),
    ("tokio", [1, 44, 2], "broadcast clones values without synchronisation, RUSTSEC-2025-0023"),
    ("tonic", [0, 12, 3], "a failed accept ends the server, RUSTSEC-2024-0376"),
    ("tracing-subscriber", [0, 3, 20], "escape sequences of strangers reach the terminal, RUSTSEC-2025-0055"),
];

/// What the service must not be built from, whoever asks for it.
const BANNED: [(&str, &str); 19] = [
    ("async-std", "discontinued, RUSTSEC-2025-0052; and a second runtime"),
    ("atty", "unmaintained, RUSTSEC-2024-0375"),
    ("aws-lc-rs", "a second cryptography beside ring"),
    ("backoff", "unmaintained, RUSTSEC-2025-0012"),
    ("bincode", "unmaintained, RUSTSEC-2025-0141"),
    ("derivative", "unmaintained, RUSTSEC-2024-0388"),
    ("dotenv", "unmaintained, RUSTSEC-2021-0141"),
    ("fxhash", "unmaintained, RUSTSEC-2025-0057"),
    ("instant", "unmaintained, RUSTSEC-2024-0384"),
    ("native-tls", "another TLS: rustls alone, whose settings we state"),
    ("openssl", "another TLS, and a library of the system's"),
    ("openssl-sys", "another TLS, and a library of the system's"),
    ("paste", "unmaintained, RUSTSEC-2024-0436"),
    ("proc-macro-error", "unmaintained, RUSTSEC-2024-0370"),
    ("protobuf", "a second decoder, which follows any depth: RUSTSEC-2024-0437"),
    ("rsa", "its timing tells the key, RUSTSEC-2023-0071"),
    ("rustls-pemfile", "unmaintained, RUSTSEC-2025-0134"),
    ("serde_yaml", "archived by its author"),
    ("yaml-rust", "unmaintained, RUSTSEC-2024-0320"),
];

/// Of these two copies would be two sets of types, limits and weaknesses on the same way.
const SINGLE: [&str; 16] = [
    "axum",
    "bytes",
    "h2",
    "http",
    "http-body",
    "hyper",
    "opentelemetry",
    "prost",
    "ring",
    "rustls",
    "rustls-webpki",
    "sea-orm",
    "sqlx",
    "tokio",
    "tokio-rustls",
    "tonic",
];

struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checked: bool,
    uses: Vec<String>,
}

impl Package {
    fn read(package: &Value) -> Self {
        let text = |key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
        let uses = package.get("dependencies").and_then(Value::as_array).cloned().unwrap_or_default();
        Self {
            name: text("name").unwrap(),
            version: text("version").unwrap(),
            source: text("source"),
            checked: text("checksum").is_some(),
            uses: uses.iter().map(|used| used.as_str().unwrap().to_owned()).collect(),
        }
    }

    /// Whether a line of somebody's dependencies means this one: `name`, or `name version` where there are several.
    fn is(&self, used: &str) -> bool {
        let (name, version) = used.split_once(' ').unwrap_or((used, &self.version));
        self.name == name && self.version == version
    }
}

fn packages(lock: &str) -> Vec<Package> {
    let lock: Table = lock.parse().unwrap();
    let packages: Vec<Package> = lock["package"].as_array().unwrap().iter().map(Package::read).collect();
    assert!(packages.len() > 200, "that is not all: {}", packages.len());
    packages
}

fn locked() -> Vec<Package> {
    packages(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap())
}

/// The names of what the service and its tests are built from: not what only its rivals in `bench/` bring.
fn of_the_service(packages: &[Package]) -> BTreeSet<&str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec!["userdata"]);
    while let Some(used) = next.pop() {
        let found = packages.iter().find(|package| package.is(used)).unwrap_or_else(|| panic!("{used} is not locked"));
        if reached.insert((found.name.as_str(), found.version.as_str())) {
            next.extend(found.uses.iter().map(String::as_str));
        }
    }
    reached.into_iter().map(|(name, _)| name).collect()
}

/// Major, minor, patch. What follows a plus says nothing about age, what follows a hyphen is older than without it.
fn numbers(version: &str) -> [u64; 3] {
    let release = version.split(['+', '-']).next().unwrap();
    let numbers: Vec<u64> = release.split('.').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// What is older than its floor, with the reason.
fn below(packages: &[Package]) -> Vec<String> {
    let below = |(name, floor, why): &(&str, [u64; 3], &str)| {
        let copies: Vec<&Package> = packages.iter().filter(|package| package.name == *name).collect();
        assert!(!copies.is_empty(), "{name} is not used any more: its floor goes");
        let old = copies.into_iter().filter(|copy| numbers(&copy.version) < *floor);
        old.map(|copy| format!("{name} {}: {why}", copy.version)).collect::<Vec<_>>()
    };
    FLOORS.iter().flat_map(below).collect()
}

#[test]
fn nothing_is_older_than_the_repair_of_a_known_weakness() {
    assert_eq!(below(&locked()), [""; 0]);
}

#[test]
fn an_older_copy_is_found() {
    let mut packages = locked();
    let h2 = packages.iter_mut().find(|package| package.name == "h2").unwrap();
    "0.4.15".clone_into(&mut h2.version);
    let found = below(&packages);
    assert!(matches!(&found[..], [one] if one.starts_with("h2 0.4.15: endless CONTINUATION")), "{found:?}");
}

#[test]
fn the_service_is_built_from_nothing_that_was_ruled_out() {
    let packages = locked();
    let used = of_the_service(&packages);
    assert!(used.contains("sqlx-postgres") && used.contains("h2"), "that is not all: {used:?}");
    assert!(!used.contains("foyer"), "a rival is no part of the service");
    let found: Vec<_> = BANNED.iter().filter(|(name, _)| used.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn everything_comes_from_the_registry_and_is_known_by_its_checksum() {
    let ours = ["userdata", "userdata-bench", "userdata-migrations", "userdata-shuttle", "shuttled-std"];
    for package in locked() {
        let here = package.source.is_none() && ours.contains(&package.name.as_str());
        let there = package.source.as_deref() == Some(REGISTRY) && package.checked;
        assert!(here || there, "{} {} is from {:?}", package.name, package.version, package.source);
    }
}

#[test]
fn of_what_carries_requests_there_is_one_copy() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in locked() {
        versions.entry(package.name).or_default().push(package.version);
    }
    for name in SINGLE {
        assert_eq!(versions.get(name).map_or(0, Vec::len), 1, "{name}: {:?}", versions.get(name));
    }
}
