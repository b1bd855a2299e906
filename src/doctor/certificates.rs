//! Files of TLS and authentication: whether they are usable, and when certificates expire.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use x509_parser::pem::Pem;

use super::Findings;
use crate::{
    clock::Clock,
    config::{AuthMode, Config},
    error::with_causes,
    grpc::security::Security,
    jwt::KeySource,
    reload::read_once,
    sync::TaskTracker,
};

/// Enough time for a renewal by hand.
const SHORT: TimeDelta = TimeDelta::days(30);

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    let (tls, auth) = (config.tls.cert.is_some(), config.auth.mode != AuthMode::None);
    if !tls && !auth {
        return found.ok("tls and callers", "off: every client that reaches the port may call everything");
    }
    let now = Clock::system().utc();
    let certificates = [("tls.cert", &config.tls.cert), ("tls.client_ca", &config.tls.client_ca)];
    for (setting, file) in certificates.iter().filter_map(|(setting, file)| Some((setting, file.as_deref()?))) {
        validity(setting, file, now, found).await;
    }
    // Ends the watching of files that it starts.
    let stop = CancellationToken::new();
    stop.cancel();
    // An address is asked below, where its failure is told.
    let mut files = config.clone();
    files.auth.jwt_keys_url = None;
    match Security::of(&files, &TaskTracker::new(), &stop).await {
        Ok(_) => found.ok("tls and callers", "the files can be read and fit together"),
        Err(error) => found.fail(
            "tls and callers",
            with_causes(&error),
            "correct the files that tls.cert, tls.key, tls.client_ca, auth.tokens_file, auth.principals_file and \
             auth.jwt_keys_file name; `userdata token new` writes a line for a caller",
        ),
    }
    if let Some(source) = KeySource::of(&config.auth) {
        keys(&source, found).await;
    }
}

async fn keys(source: &KeySource, found: &mut Findings) {
    match source.look().await {
        Ok((keys, ignored)) => found.ok("users' tokens", format!("{keys} keys can be used, {ignored} others cannot")),
        Err(error) => found.fail(
            "users' tokens",
            format!("no key is known, so every user's token is refused: {error}"),
            "correct auth.jwt_keys_file or auth.jwt_keys_url: a JWKS document with a key for RS256 or ES256",
        ),
    }
}

/// Every certificate of a file. A file without one is another finding.
async fn validity(setting: &str, file: &Path, now: DateTime<Utc>, found: &mut Findings) {
    let Ok(text) = read_once(file).await else { return };
    for pem in Pem::iter_from_buffer(&text).flatten() {
        let Ok(certificate) = pem.parse_x509() else { continue };
        let (validity, subject) = (certificate.validity(), certificate.subject().to_string());
        let day = |time: x509_parser::time::ASN1Time| DateTime::from_timestamp(time.timestamp(), 0).unwrap_or_default();
        let (begins, ends) = (day(validity.not_before), day(validity.not_after));
        let what = format!("{setting}: {} ({subject})", file.display());
        let left = ends - now;
        let days = left.num_days();
        let renew = "have a new one made and put it in its place; it is read again without a restart";
        if begins > now {
            found.fail(
                "certificates",
                format!("{what} is valid only from {begins}"),
                "look at this machine's clock, or wait",
            );
        } else if left <= TimeDelta::zero() {
            found.fail("certificates", format!("{what} expired {} days ago", -days), renew);
        } else if left < SHORT {
            found.warn("certificates", format!("{what} expires in {days} days"), renew);
        } else {
            found.ok("certificates", format!("{what} is valid for {days} days more"));
        }
    }
}
