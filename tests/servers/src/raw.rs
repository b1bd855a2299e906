//! Calls by bare HTTP/2: no client library that has timers, checks or opinions of its own.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Status;

/// The path of the call that most tests make.
pub const GET: &str = "/userdata.v1.UserDataService/GetComprehensiveUserData";

/// Types of frames by which a server says that it is about to close a connection.
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// A connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Bytes>,
    _tasks: Arc<JoinSet<()>>,
}

impl Connection {
    /// A connection of the usual kind.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(address, TcpStream::connect(address).await.unwrap(), JoinSet::new()).await
    }

    /// A connection over a network so slow that a server's goodbye never arrives.
    pub async fn open_deaf_to_goodbyes(address: SocketAddr) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (from_server, mut to_server) = TcpStream::connect(address).await.unwrap().into_split();
        let (mut from_client, to_client) = tokio::io::split(theirs);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(copy(&mut from_client, &mut to_server).await) });
        tasks.spawn(without_goodbyes(from_server, to_client));
        Self::over(address, ours, tasks).await
    }

    async fn over(
        address: SocketAddr,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        mut tasks: JoinSet<()>,
    ) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tasks.spawn(async move { drop(connection.await) });
        Self { address, sender, _tasks: Arc::new(tasks) }
    }

    /// Sends these headers and bytes, and returns the status that the call ends with.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Status {
        let mut request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (_, status) = self.ask(request.body(()).unwrap(), body).await;
        status.expect("every call ends with a status")
    }

    /// Sends any request, and returns how HTTP and how gRPC says that it ended.
    pub async fn ask(&self, request: http::Request<()>, body: Bytes) -> (http::StatusCode, Option<Status>) {
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (response, mut sending) = sender.send_request(request, false).unwrap();
        // An answer may be there before the whole question is.
        let _ = sending.send_data(body, true);
        let (head, mut body) = response.await.unwrap().into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return (head.status, Some(status));
        }
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        let trailers: Option<HeaderMap> = body.trailers().await.ok().flatten();
        (head.status, trailers.as_ref().and_then(Status::from_header_map))
    }
}

/// One call on a connection of its own.
pub async fn call(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: Bytes) -> Status {
    Connection::open(address).await.call(path, headers, body).await
}

/// A message in gRPC's frame.
pub fn framed(message: &impl Message) -> Bytes {
    framed_bytes(&message.encode_to_vec())
}

/// Any bytes in gRPC's frame.
pub fn framed_bytes(bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), bytes].concat().into()
}

/// Hands on every frame but those by which a server says goodbye.
async fn without_goodbyes(mut from: impl AsyncRead + Unpin + Send, mut to: tokio::io::WriteHalf<DuplexStream>) {
    let mut head = [0; 9];
    while from.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if from.read_exact(&mut payload).await.is_err() {
            return;
        }
        if ![PING, GOAWAY].contains(&head[3])
            && (to.write_all(&head).await.is_err() || to.write_all(&payload).await.is_err())
        {
            return;
        }
    }
}
