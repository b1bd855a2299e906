//! Certificates, made anew for each test, as files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{Datelike, NaiveDate};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// What servers are called.
pub const HOST: &str = "localhost";

/// An authority whose files are in a directory.
#[expect(missing_debug_implementations, reason = "its key has none")]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// Its certificate is `NAME-ca.pem`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, directory: directory.to_owned() };
        fs::write(authority.file(&format!("{name}-ca")), authority.issuer.pem()).unwrap();
        authority
    }

    /// Writes a server's certificate and key to `cert.pem` and `key.pem`.
    pub fn certify_server(&self) {
        let names = vec![SanType::DnsName(HOST.try_into().unwrap())];
        let (cert, key) = self.certify(names, vec![ExtendedKeyUsagePurpose::ServerAuth]);
        fs::write(self.file("cert"), cert).unwrap();
        fs::write(self.file("key"), key).unwrap();
    }

    /// The same for a node that is a client of other nodes too.
    pub fn certify_node(&self) {
        let names = vec![SanType::DnsName(HOST.try_into().unwrap())];
        let purposes = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (cert, key) = self.certify(names, purposes);
        fs::write(self.file("cert"), cert).unwrap();
        fs::write(self.file("key"), key).unwrap();
    }

    /// The same, valid until that day begins.
    pub fn certify_server_until(&self, day: NaiveDate) {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.not_after =
            rcgen::date_time_ymd(day.year(), day.month().try_into().unwrap(), day.day().try_into().unwrap());
        let key = KeyPair::generate().unwrap();
        fs::write(self.file("cert"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(self.file("key"), key.serialize_pem()).unwrap();
    }

    /// A client's certificate and key with these URIs, which are in `client.pem` and `client-key.pem` too.
    pub fn certify_client(&self, uris: &[&str]) -> Identity {
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        let (cert, key) = self.certify(names, vec![ExtendedKeyUsagePurpose::ClientAuth]);
        fs::write(self.file("client"), &cert).unwrap();
        fs::write(self.file("client-key"), &key).unwrap();
        Identity::from_pem(cert, key)
    }

    /// The same, valid until that second of Unix time.
    pub fn certify_client_until(&self, uri: &str, until: u64) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(until);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// What a client needs to trust its servers.
    pub fn trusted(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().domain_name(HOST).ca_certificate(Certificate::from_pem(self.issuer.pem()))
    }

    /// `NAME.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }

    fn certify(&self, names: Vec<SanType>, purposes: Vec<ExtendedKeyUsagePurpose>) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Called otherwise than its issuer, or OpenSSL takes it for one that has signed itself.
        params.distinguished_name.push(DnType::CommonName, "certified");
        params.subject_alt_names = names;
        params.extended_key_usages = purposes;
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}
