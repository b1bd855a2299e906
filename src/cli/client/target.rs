//! Which server is called, and how long the caller waits.

use std::time::Duration;

use clap::Args;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
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
        let connected = Endpoint::from(self.addr.clone()).connect_timeout(CONNECT_TIMEOUT).connect().await;
        connected.map_err(|error| Failure::unreachable(&self.addr, &error))
    }

    /// A message that tells the server how long its caller waits.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout());
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
    let uri: Uri = text.parse().map_err(|_| "expected http://HOST:PORT")?;
    if uri.scheme_str() != Some("http") || uri.path() != "/" {
        return Err("expected http://HOST:PORT");
    }
    Ok(uri)
}
