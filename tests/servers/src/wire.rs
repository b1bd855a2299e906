//! HTTP/2 by hand: frames as an attacker writes them, with no library between that would refuse to.
//!
//! Only what goes out is made here; of what comes back it is enough to know how a connection or a stream ended.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What an HTTP/2 connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags of frames.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// How a connection or one of its streams ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The stream with an answer.
    Answered,
    /// The stream, with this error code.
    Reset(u32),
    /// The connection, with this error code.
    GoneAway(u32),
    /// The connection, without a word.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What came and was not looked at.
    received: Vec<u8>,
    /// How streams ended that were not asked about yet.
    ends: BTreeMap<u32, End>,
}

impl Wire {
    /// A connection on which nothing has been said.
    pub async fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: vec![], ends: BTreeMap::new() }
    }

    /// A connection that has begun as it should, with these settings.
    pub async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut wire = Self::silent(address).await;
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &pairs(settings))].concat()).await;
        wire
    }

    /// Sends, and says whether the peer still listens.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends, and reads replies meanwhile, so that neither side's buffers fill. Whether all of it was sent.
    pub async fn send_reading(&mut self, bytes: &[u8]) -> bool {
        let (mut from, mut to) = self.stream.split();
        let sending = to.write_all(bytes);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => return sent.is_ok(),
                read = from.read_buf(&mut self.received) => if !read.is_ok_and(|bytes| bytes > 0) { return false },
            }
        }
    }

    /// Reads until this stream or the connection has ended.
    pub async fn end(&mut self, stream: u32) -> End {
        let reading = async {
            loop {
                if let Some(end) = self.ends.remove(&stream) {
                    return end;
                }
                let Some((kind, flags, of, payload)) = self.frame().await else { return End::Closed };
                let end = match kind {
                    GOAWAY if code(&payload[4..]) != 0 => return End::GoneAway(code(&payload[4..])),
                    RST_STREAM => End::Reset(code(&payload)),
                    HEADERS | DATA if flags & END_STREAM != 0 => End::Answered,
                    _ => continue,
                };
                // Order: an answer may be followed by a reset of what was not read of the question.
                self.ends.entry(of).or_insert(end);
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reading).await.expect("an end within a minute")
    }

    /// Whether a frame with this flag on this stream is among what came and was not looked at.
    pub fn has_received(&self, flag: u8, stream: u32) -> bool {
        let mut rest = &self.received[..];
        while let Some((head, behind)) = rest.split_at_checked(9) {
            if [HEADERS, DATA].contains(&head[3]) && head[4] & flag != 0 && code(&head[5..]) == stream {
                return true;
            }
            rest = behind.get(code(&[0, head[0], head[1], head[2]]) as usize..).unwrap_or_default();
        }
        false
    }

    async fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.take(9).await?;
        let payload = self.take(code(&[0, head[0], head[1], head[2]]) as usize).await?;
        Some((head[3], head[4], code(&head[5..]), payload))
    }

    async fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        while self.received.len() < bytes {
            self.stream.read_buf(&mut self.received).await.ok().filter(|read| *read > 0)?;
        }
        Some(self.received.drain(..bytes).collect())
    }
}

fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The payload of SETTINGS.
pub fn pairs(settings: &[(u16, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}

/// A header block that uses no table and no Huffman code.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A string as HPACK writes it: its length in a prefix of seven bits, then itself.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    match text.len().checked_sub(127) {
        None => bytes.push(u8::try_from(text.len()).unwrap()),
        Some(mut rest) => {
            bytes.push(127);
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// The header block of a call as a good client makes it, with these headers added.
pub fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    block(&[&usual[..], more].concat())
}
