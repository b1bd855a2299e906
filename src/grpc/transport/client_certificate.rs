//! The certificate of a client, judged for as long as its connection lasts.
//!
//! A handshake judges it once, but connections last for days: meanwhile it expires, or its CA is no longer trusted.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::sleep;
use x509_parser::parse_x509_certificate;

use super::tls::ServerTls;
use crate::reload::Reloaded;

/// The wall clock can be set, which no timer notices.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A chain of certificates, and the CAs that have to know it.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    tls: Reloaded<ServerTls>,
}

impl ClientCertificate {
    pub(super) fn of(chain: &[CertificateDer<'static>], tls: Reloaded<ServerTls>) -> Option<Self> {
        (!chain.is_empty()).then(|| Self { chain: chain.to_vec(), tls })
    }

    /// Waits until it is no longer accepted.
    pub(super) async fn ends(mut self) {
        while self.is_accepted() {
            let left = self.expires().saturating_sub(UnixTime::now().as_secs());
            // A second more: it is valid until the end of the last one.
            let wait = Duration::from_secs(left + 1).min(LOOK_AGAIN);
            tokio::select! {
                () = self.tls.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    fn is_accepted(&mut self) -> bool {
        let Some((certificate, intermediates)) = self.chain.split_first() else { return false };
        let current = self.tls.current();
        let judge = current.clients();
        judge.is_none_or(|judge| judge.verify_client_cert(certificate, intermediates, UnixTime::now()).is_ok())
    }

    /// When the first certificate of the chain expires, in seconds of Unix time.
    fn expires(&self) -> u64 {
        let expiries = self.chain.iter().filter_map(|certificate| {
            let (_, certificate) = parse_x509_certificate(certificate).ok()?;
            u64::try_from(certificate.validity().not_after.timestamp()).ok()
        });
        expiries.min().unwrap_or(u64::MAX)
    }
}
