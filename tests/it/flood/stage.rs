//! A server with default settings, and callers of good will.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use userdata::{
    grpc::middleware::auth::digest,
    proto::v1::{GetComprehensiveUserDataRequest, user_data_service_client::UserDataServiceClient},
};

use testkit::{
    database::{Kind, TestDatabase, database},
    pki::Authority,
    server::{Server, Settings, launch},
    wait_for,
};

use super::attackers::Target;

const TOKEN: &str = "a good caller's";

pub(super) struct Stage {
    pub(super) server: Server,
    authority: Option<Authority>,
    _files: TempDir,
    _database: TestDatabase,
}

/// Asks without end, over one connection.
pub(super) struct Caller {
    over: Arc<AtomicBool>,
    asking: AbortOnDropHandle<u64>,
}

impl Stage {
    /// Unencrypted, for every caller.
    pub(super) async fn open() -> Self {
        Self::with(|settings, _| (settings, None)).await
    }

    /// Encrypted, for callers with a token.
    pub(super) async fn secured() -> Self {
        Self::with(|settings, files| {
            let authority = Authority::new(files.path(), "server");
            authority.certify_server();
            let tokens = files.path().join("tokens");
            let digest: String = digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
            fs::write(&tokens, format!("reader {digest} good\n")).unwrap();
            let settings = settings
                .with("tls.cert", authority.file("cert").display())
                .with("tls.key", authority.file("key").display())
                .with("auth.mode", "token")
                .with("auth.tokens_file", tokens.display());
            (settings, Some(authority))
        })
        .await
    }

    async fn with(configure: impl FnOnce(Settings, &TempDir) -> (Settings, Option<Authority>)) -> Self {
        let (files, database) = (tempfile::tempdir().unwrap(), database(Kind::Sqlite).await);
        let settings = Settings { flags: vec!["--demo".into()], ..Settings::on(&database.url) };
        let (settings, authority) = configure(settings, &files);
        let server = launch(settings).await;
        let stage = Self { server, authority, _files: files, _database: database };
        wait_for("the server to be ready", async || (stage.server.probe("/readyz").await.0 == 200).then_some(())).await;
        stage
    }

    pub(super) fn target(&self) -> Target {
        let tls = self.authority.as_ref().map(|authority| {
            let mut roots = RootCertStore::empty();
            let pem = fs::read(authority.file("server-ca")).unwrap();
            roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        Target { address: self.server.address, tls }
    }

    /// Asks over a connection of its own until it is answered.
    pub(super) async fn new_caller_is_answered(&self) {
        loop {
            let answered = async { get(&mut client(self.endpoint().connect().await.ok()?)).await };
            if answered.await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn caller(&self) -> Caller {
        let mut client = client(self.endpoint().connect().await.unwrap());
        get(&mut client).await.expect("an answer before the floods");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let asking = AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
            let mut answers = 0;
            while !is_over.load(Ordering::Relaxed) {
                get(&mut client).await.expect("who means well is answered");
                answers += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answers
        }));
        Caller { over, asking }
    }

    pub(super) fn open_files(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.server.pid())).unwrap().count() as u64
    }

    fn endpoint(&self) -> Endpoint {
        let Some(authority) = &self.authority else {
            return Endpoint::from_shared(format!("http://{}", self.server.address)).unwrap();
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.server.address)).unwrap();
        endpoint.tls_config(authority.trusted()).unwrap()
    }
}

impl Caller {
    pub(super) async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        assert!(self.asking.await.expect("no call failed") > 0);
    }
}

fn client(channel: Channel) -> UserDataServiceClient<Channel> {
    UserDataServiceClient::new(channel)
}

async fn get(client: &mut UserDataServiceClient<Channel>) -> Option<()> {
    let message = GetComprehensiveUserDataRequest { user_id: "1".to_owned(), ..Default::default() };
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    client.get_comprehensive_user_data(request).await.ok().map(drop)
}
