//! The HTTP/2 frames that a caller of one gRPC method needs, by hand: a generator on the same machine has to be cheap,
//! and it has to know when each request was due.
//!
//! Replies are counted, not decoded. Errors are noticed: they have no message, so no DATA frame.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SERVICE: &str = "/userdata.v1.UserDataService";
/// The largest window of HTTP/2: this reader never blocks a writer.
const WINDOW: u32 = (1 << 31) - 1;
/// The initial window of every connection.
const WINDOW_AT_FIRST: u32 = (1 << 16) - 1;
/// The size of window updates, far below the window.
const WINDOW_PORTION: u32 = 1 << 29;
/// The frame header: length, kind, flags and stream.
const HEAD: usize = 9;
/// Holds several replies.
const BUFFER: usize = 256 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Invalidate,
}

/// Both halves write: calls, and replies of the protocol.
type Writer = Arc<Mutex<TcpStream>>;

/// Makes calls on a connection, numbered from 0.
#[derive(Debug)]
pub(super) struct Sender {
    writer: Writer,
    authority: String,
    calls: u32,
    unsent: Vec<u8>,
}

/// Receives the ends of calls.
#[derive(Debug)]
pub(super) struct Receiver {
    reader: TcpStream,
    writer: Writer,
    unread: Box<[u8]>,
    filled: usize,
    /// Missing bytes of a DATA frame.
    skip: usize,
    /// Bytes of messages by call.
    bytes: Vec<u32>,
    /// Bytes taken from the connection's window.
    taken: u32,
}

/// A connection of its own.
pub(super) fn connect(address: SocketAddr) -> (Sender, Receiver) {
    let reader = TcpStream::connect(address).unwrap();
    reader.set_nodelay(true).unwrap();
    let writer = Arc::new(Mutex::new(reader.try_clone().unwrap()));
    let mut preface = PREFACE.to_vec();
    const INITIAL_WINDOW_SIZE: u16 = 4;
    frame(&mut preface, SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat());
    frame(&mut preface, WINDOW_UPDATE, 0, 0, &(WINDOW - WINDOW_AT_FIRST).to_be_bytes());
    // Order: before the receiver replies to the server's first frames.
    write(&writer, &preface);
    let sender = Sender { writer: Arc::clone(&writer), authority: address.to_string(), calls: 0, unsent: vec![] };
    let unread = vec![0; BUFFER].into();
    (sender, Receiver { reader, writer, unread, filled: 0, skip: 0, bytes: vec![], taken: 0 })
}

impl Sender {
    /// Queues a call.
    pub(super) fn call(&mut self, method: Method, body: &[u8]) {
        let stream = 2 * self.calls + 1;
        let head = self.head(method);
        frame(&mut self.unsent, HEADERS, END_HEADERS, stream, &head);
        frame(&mut self.unsent, DATA, END_STREAM, stream, body);
        self.calls += 1;
    }

    pub(super) fn send(&mut self) {
        write(&self.writer, &self.unsent);
        self.unsent.clear();
    }

    /// HPACK (RFC 7541): the first call, which has to be a `Get`, puts the common headers into the server's table.
    fn head(&self, method: Method) -> Vec<u8> {
        const POST: u8 = 0x83;
        const HTTP: u8 = 0x86;
        let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        let mut head = vec![POST, HTTP];
        if self.calls == 0 {
            assert_eq!(method, Method::Get);
            // Added to the table under the names 4 (:path), 1 (:authority), 31 (content-type) and a new one.
            head.extend([vec![0x44], text(&format!("{SERVICE}/GetComprehensiveUserData"))].concat());
            head.extend([vec![0x41], text(&self.authority)].concat());
            head.extend([vec![0x5f], text("application/grpc")].concat());
            head.extend([vec![0x40], text("te"), text("trailers")].concat());
            return head;
        }
        match method {
            Method::Get => head.push(0x80 | 65),
            // Not added: it would move the others.
            Method::Invalidate => head.extend([vec![0x04], text(&format!("{SERVICE}/InvalidateCache"))].concat()),
        }
        head.extend([0x80 | 64, 0x80 | 63, 0x80 | 62]);
        head
    }
}

impl Receiver {
    /// Waits for frames, and reports the ended calls with the bytes of their messages.
    pub(super) fn receive(&mut self, mut ended: impl FnMut(usize, u32)) {
        let read = self.reader.read(&mut self.unread[self.filled..]).unwrap();
        assert!(read > 0, "the server has closed the connection");
        self.filled += read;
        let mut at = 0;
        loop {
            let skipped = self.skip.min(self.filled - at);
            (at, self.skip) = (at + skipped, self.skip - skipped);
            let Some(head) = self.unread[at..self.filled].first_chunk::<HEAD>() else { break };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let body = at + HEAD..at + HEAD + length as usize;
            if kind == DATA {
                (at, self.skip) = (body.start, body.len());
                self.taken += length;
                let call = call_of(stream);
                if self.bytes.len() <= call {
                    self.bytes.resize(call + 1, 0);
                }
                self.bytes[call] += length;
                continue;
            }
            if body.end > self.filled {
                break;
            }
            let content = &self.unread[body.clone()];
            match kind {
                HEADERS if flags & END_STREAM != 0 => {
                    let call = call_of(stream);
                    ended(call, self.bytes.get(call).copied().unwrap_or_default());
                }
                SETTINGS | PING if flags & ACK == 0 => {
                    let mut answer = Vec::new();
                    frame(&mut answer, kind, ACK, 0, if kind == PING { content } else { &[] });
                    write(&self.writer, &answer);
                }
                RST_STREAM | GOAWAY => panic!("frame {kind} on stream {stream}: {content:?}"),
                _ => {}
            }
            at = body.end;
        }
        self.unread.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.taken > WINDOW_PORTION {
            let mut given = Vec::new();
            frame(&mut given, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            write(&self.writer, &given);
            self.taken = 0;
        }
    }
}

/// The number of the call whose stream this is.
fn call_of(stream: u32) -> usize {
    (stream / 2) as usize
}

fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    into.extend(&length[1..]);
    into.extend([kind, flags]);
    into.extend(stream.to_be_bytes());
    into.extend(content);
}

fn write(writer: &Writer, bytes: &[u8]) {
    writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes).unwrap();
}
