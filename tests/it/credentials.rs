//! Credentials that end, end: also on connections that are kept, and on sessions of TLS that could be resumed. And a
//! file of credentials that cannot be read stops nothing.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Identity},
};
use userdata::{
    grpc::middleware::auth::digest,
    proto::v1::{GetComprehensiveUserDataRequest, user_data_service_client::UserDataServiceClient},
};

use testkit::{
    database::{Kind, TestDatabase, database},
    pki::{Authority, HOST},
    server::{Server, Settings, launch},
    wait_for,
    wire::PREFACE,
};

const URI: &str = "spiffe://plan/web";

/// A server that asks for certificates of one authority, and another authority.
struct Certified {
    server: Server,
    authority: Authority,
    clients: Authority,
    successor: Authority,
    client_ca: PathBuf,
    _files: [TempDir; 3],
    _database: TestDatabase,
}

async fn certified() -> Certified {
    let files = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let database = database(Kind::Sqlite).await;
    let authority = Authority::new(files[0].path(), "server");
    authority.certify_server();
    let clients = Authority::new(files[1].path(), "clients");
    let successor = Authority::new(files[2].path(), "successor");
    let client_ca = files[0].path().join("client-ca");
    fs::copy(clients.file("clients-ca"), &client_ca).unwrap();
    let principals = files[0].path().join("principals");
    fs::write(&principals, format!("reader {URI} web\n")).unwrap();
    let settings = Settings { flags: vec!["--demo".into()], ..Settings::on(&database.url) }
        .with("tls.cert", authority.file("cert").display())
        .with("tls.key", authority.file("key").display())
        .with("tls.client_ca", client_ca.display())
        .with("tls.reload_every", "20ms")
        .with("auth.mode", "mtls")
        .with("auth.principals_file", principals.display());
    let server = launch(settings).await;
    wait_for("the server to be ready", async || (server.probe("/readyz").await.0 == 200).then_some(())).await;
    Certified { server, authority, clients, successor, client_ca, _files: files, _database: database }
}

impl Certified {
    async fn connect(&self, identity: Identity) -> Channel {
        let endpoint = Endpoint::from_shared(format!("https://{}", self.server.address)).unwrap();
        endpoint.tls_config(self.authority.trusted().identity(identity)).unwrap().connect().await.unwrap()
    }

    fn trusts(&self, authorities: &[PathBuf]) {
        let pem: String = authorities.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let next = self.client_ca.with_extension("next");
        fs::write(&next, pem).unwrap();
        fs::rename(next, &self.client_ca).unwrap();
    }

    async fn has_reloaded(&self, times: usize) {
        wait_for("the files to be read again", async || {
            (self.server.log().matches("files reloaded").count() >= times).then_some(())
        })
        .await;
    }
}

async fn get(channel: &Channel) -> Result<(), Code> {
    let message = GetComprehensiveUserDataRequest { user_id: "1".to_owned(), ..Default::default() };
    let answered = UserDataServiceClient::new(channel.clone()).get_comprehensive_user_data(message).await;
    answered.map(drop).map_err(|status| status.code())
}

#[tokio::test]
async fn a_kept_connection_ends_with_the_authority_of_its_certificate() {
    let stage = certified().await;
    let (old, new) = (stage.clients.file("clients-ca"), stage.successor.file("successor-ca"));
    let kept = stage.connect(stage.clients.certify_client(&[URI])).await;
    get(&kept).await.unwrap();

    stage.trusts(&[old, new.clone()]);
    stage.has_reloaded(1).await;
    get(&kept).await.expect("both are trusted");
    let successor = stage.connect(stage.successor.certify_client(&[URI])).await;
    get(&successor).await.unwrap();

    stage.trusts(&[new]);
    wait_for("the old certificate to be refused", async || get(&kept).await.err()).await;
    get(&successor).await.expect("who is trusted still keeps its connection");
    let ended = "userdata_connections_ended_total{reason=\"credentials\"} 1\n";
    wait_for(ended, async || stage.server.probe("/metrics").await.1.contains(ended).then_some(())).await;
}

#[tokio::test]
async fn an_expired_certificate_ends_its_kept_connection_and_no_session_is_resumed() {
    let stage = certified().await;
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 12;
    let (cert, key) = stage.clients.certify_client_until(URI, expires);
    let kept = stage.connect(Identity::from_pem(&cert, &key)).await;
    let resuming = resuming(&stage.authority, &cert, &key);
    get(&kept).await.expect("it is valid still");
    for _ in 0..2 {
        assert_eq!(session(&stage.server, &resuming).await, Some(HandshakeKind::Full));
    }
    wait_for("the kept connection to be refused", async || get(&kept).await.err()).await;
    assert!(SystemTime::now() >= UNIX_EPOCH + Duration::from_secs(expires), "not before it expires");
    assert_eq!(session(&stage.server, &resuming).await, None);
}

/// A client that would resume its sessions.
fn resuming(server: &Authority, cert: &str, key: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(server.file("server-ca")).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = config.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// How a handshake went, if the server speaks HTTP/2 after it.
async fn session(server: &Server, connector: &TlsConnector) -> Option<HandshakeKind> {
    let stream = TcpStream::connect(server.address).await.ok()?;
    let mut stream = connector.connect(ServerName::try_from(HOST).unwrap(), stream).await.ok()?;
    stream.write_all(PREFACE).await.ok()?;
    // Tickets come with the first bytes.
    stream.read_u8().await.ok()?;
    stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn a_fifo_in_place_of_the_callers_file_stops_nothing() {
    let files = tempfile::tempdir().unwrap();
    let tokens = files.path().join("tokens");
    let digest: String = digest("token").iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&tokens, format!("reader {digest} caller\n")).unwrap();
    let database = database(Kind::Sqlite).await;
    let settings = Settings { flags: vec!["--demo".into()], ..Settings::on(&database.url) }
        .with("auth.mode", "token")
        .with("auth.tokens_file", tokens.display())
        .with("tls.reload_every", "20ms");
    let mut server = launch(settings).await;
    wait_for("the server to be ready", async || (server.probe("/readyz").await.0 == 200).then_some(())).await;

    fs::remove_file(&tokens).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&tokens).status().unwrap().success());
    let refused = async || server.log().contains("not a regular file").then_some(());
    wait_for("the file to be refused", refused).await;

    let mut request =
        tonic::Request::new(GetComprehensiveUserDataRequest { user_id: "1".into(), ..Default::default() });
    request.metadata_mut().insert("authorization", "Bearer token".parse().unwrap());
    server.client().await.get_comprehensive_user_data(request).await.expect("the previous callers count");
    assert_eq!(server.probe("/healthz").await.0, 200);
    server.terminate().await;
}
