//! Which server is called, and how long the caller waits.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

use super::super::{OutputArgs, failure::Failure, output::Format};
use crate::{config::read_duration, proto::v1::user_data_service_client::UserDataServiceClient};

/// Longer than the server's own default, so that the server's answer arrives and not this timer's.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// A local server accepts at once; one that is far away does not take seconds either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What may arrive beyond the deadline: the server answers DEADLINE_EXCEEDED with details, which is worth waiting for.
const GRACE: Duration = Duration::from_millis(200);
/// A document of 4 MiB and the head around it.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The server and the terms of the call.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Target {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051", value_parser = server)]
    addr: Uri,
    /// Sent as a bearer token
    #[arg(long, value_name = "TOKEN", env = "USERDATA_TOKEN", hide_env_values = true, value_parser = bearer)]
    token: Option<MetadataValue<Ascii>>,
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

impl Target {
    /// How the result is printed.
    pub(super) fn format(&self) -> Format {
        self.output.output
    }

    /// Where the server is.
    pub(super) fn server(&self) -> String {
        // A `Uri` without path is shown with one.
        self.addr.to_string().trim_end_matches('/').to_owned()
    }

    /// The same server for work that may take `timeout` unless the caller said otherwise.
    pub(super) fn patient(mut self, timeout: Duration) -> Self {
        self.timeout.get_or_insert(timeout);
        self
    }

    /// Makes a call on a new connection; all of it ends with the timeout.
    pub(super) async fn within_timeout<T>(
        &self,
        work: impl AsyncFnOnce(Channel) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let call = async { work(self.connect().await?).await };
        tokio::time::timeout(self.timeout() + GRACE, call).await.unwrap_or_else(|_| Err(Failure::timed_out()))
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

    /// A message that tells the server how long its caller waits.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout());
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }
}

/// The service on a connection.
pub(super) fn service(channel: Channel) -> UserDataServiceClient<Channel> {
    UserDataServiceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

/// A duration, in the configuration's words.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    read_duration(text).ok_or("expected a duration such as 5s, 100ms or 1h")
}

/// A day at most: nobody waits longer, and `grpc-timeout` has eight digits.
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

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, &'static str> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| "expected ASCII without spaces")?;
    // Neither shown nor kept in the compression table of HTTP/2.
    value.set_sensitive(true);
    Ok(value)
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::new(Code::InvalidArgument, format!("{}: {error}", file.display())))
}
