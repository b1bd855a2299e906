//! The server to call, and the timeout.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use clap::Args;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

use super::super::{OutputArgs, failure::Failure, output::Format};
use crate::{config::read_duration, proto::v1::user_data_service_client::UserDataServiceClient};

/// Longer than the server's default deadline, so that the server's answer arrives first.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// A local server accepts at once; one that is far away does not take seconds either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after the deadline for the server's DEADLINE_EXCEEDED to arrive, which has details.
const GRACE: Duration = Duration::from_millis(200);
/// A document of 4 MiB and the head around it.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Target {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051", value_parser = server)]
    addr: Uri,
    /// Sent as a bearer token
    #[arg(long, value_name = "TOKEN", env = "USERDATA_TOKEN", hide_env_values = true, value_parser = token)]
    token: Option<BearerToken>,
    /// The CA that signed the server's certificate, in PEM; for https://
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// A client certificate to show, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How long to wait, such as 5s or 500ms; 20s if not given, 1h for `warm`
    #[arg(long, value_name = "DURATION", value_parser = patience)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) type UserDataClient = UserDataServiceClient<Channel>;

impl Target {
    pub(super) fn format(&self) -> Format {
        self.output.output
    }

    pub(super) fn server(&self) -> String {
        // `Uri` adds a path.
        self.addr.to_string().trim_end_matches('/').to_owned()
    }

    /// With another default timeout.
    pub(super) fn patient(mut self, timeout: Duration) -> Self {
        self.timeout.get_or_insert(timeout);
        self
    }

    /// Makes a call on a new connection. The timeout includes connecting.
    pub(super) async fn within_timeout<T>(
        &self,
        work: impl AsyncFnOnce(Channel) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(BearerToken::Unusable) = self.token {
            return Err(Failure::new(
                Code::InvalidArgument,
                "--token: expected visible ASCII characters without spaces",
            ));
        }
        let call = async { work(self.connect().await?).await };
        tokio::time::timeout(self.timeout() + GRACE, call).await.unwrap_or_else(|_| Err(Failure::timed_out()))
    }

    /// Makes a unary call.
    pub(super) async fn call<Q, R>(
        &self,
        message: Q,
        rpc: impl AsyncFnOnce(UserDataClient, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.within_timeout(async |channel| Ok(rpc(service(channel), self.request(message)).await?.into_inner())).await
    }

    async fn connect(&self) -> Result<Channel, Failure> {
        let unreachable = |error| Failure::unreachable(&self.addr, &error);
        let mut endpoint = Endpoint::from(self.addr.clone()).connect_timeout(CONNECT_TIMEOUT);
        if self.addr.scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(self.tls()?).map_err(unreachable)?;
        }
        endpoint.connect().await.map_err(unreachable)
    }

    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let Some(ca) = &self.tls_ca else {
            return Err(Failure::new(
                Code::InvalidArgument,
                "https:// needs --tls-ca, the CA of the server's certificate",
            ));
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(tls)
    }

    /// With deadline and token.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout());
        if let Some(BearerToken::Bearer(bearer)) = &self.token {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }

    fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }
}

pub(super) fn service(channel: Channel) -> UserDataClient {
    UserDataServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// A duration, as in the configuration.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    read_duration(text).ok_or("expected a duration such as 5s, 100ms or 1h")
}

/// A day at most: `grpc-timeout` has eight digits.
fn patience(text: &str) -> Result<Duration, &'static str> {
    let timeout = duration(text)?;
    if timeout > TIMEOUT_MAX { Err("expected at most 1d") } else { Ok(timeout) }
}

fn server(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str = "expected http://HOST:PORT or https://HOST:PORT";
    let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.path() != "/" {
        return Err(EXPECTED);
    }
    Ok(uri)
}

/// What is sent. Clap would quote a value that its parser refuses.
#[derive(Clone, Debug)]
enum BearerToken {
    /// An empty variable.
    Absent,
    Unusable,
    Bearer(MetadataValue<Ascii>),
}

/// Without blanks around it: a file or a secret of Kubernetes often ends with a line feed.
fn token(text: &str) -> Result<BearerToken, Infallible> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(BearerToken::Absent);
    }
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let bearer = is_visible.then(|| MetadataValue::try_from(format!("Bearer {text}")).ok()).flatten();
    Ok(bearer.map_or(BearerToken::Unusable, |mut bearer| {
        // Neither logged nor kept in the compression table of HTTP/2.
        bearer.set_sensitive(true);
        BearerToken::Bearer(bearer)
    }))
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::new(Code::InvalidArgument, format!("{}: {error}", file.display())))
}
