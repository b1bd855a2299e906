//! Certificates and keys in PEM. Errors never quote a file: it may be the wrong one, and hold a secret.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// The certificates in `pem`, at least one.
pub(crate) fn certificates(pem: &[u8], whose: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("no certificate of the {whose} in PEM was found")),
    }
}

/// The CAs whose certificates are in `pem`, and no others.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for root in certificates(pem, "CA")? {
        roots.add(root).map_err(|error| format!("the CA's certificate cannot be used: {error}"))?;
    }
    Ok(roots)
}

pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "no private key in PEM was found".to_owned())
}
