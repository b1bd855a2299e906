//! A small OpenAI-compatible endpoint on loopback that says what a test has written down. The AI
//! source's unit tests include this file too.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// The endpoint. Dropping it closes it.
#[derive(Debug)]
pub struct FakeAi {
    address: SocketAddr,
    script: Arc<Script>,
    _server: AbortOnDropHandle<()>,
}

/// One scripted reply.
#[derive(Clone, Debug)]
pub enum Say {
    /// This status, these further header lines and this body.
    Http(u16, &'static str, Vec<u8>),
    /// Nothing: the connection is closed.
    Nothing,
}

#[derive(Debug)]
struct Script {
    /// Said one after the other; the last one is said for ever.
    replies: Mutex<VecDeque<Say>>,
    /// Heads and bodies of the calls so far.
    calls: watch::Sender<Vec<(String, Json)>>,
    held: watch::Sender<bool>,
}

impl Say {
    /// A completion with this answer, finished for this reason.
    pub fn answer_finished(answer: &Json, finish_reason: &str) -> Self {
        Self::json(json!({
            "model": "fake-1-mini",
            "choices": [{
                "finish_reason": finish_reason,
                "message": { "role": "assistant", "content": answer.to_string(), "refusal": null },
            }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 20 },
        }))
    }

    /// A completion with this answer.
    pub fn answer(answer: &Json) -> Self {
        Self::answer_finished(answer, "stop")
    }

    /// Any JSON.
    pub fn json(body: Json) -> Self {
        Self::Http(200, "", body.to_string().into_bytes())
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::Http(status, "", Vec::new())
    }
}

impl FakeAi {
    /// Starts to listen. The last reply is repeated.
    pub async fn saying(replies: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script {
            replies: Mutex::new(replies.into_iter().collect()),
            calls: watch::Sender::new(Vec::new()),
            held: watch::Sender::new(false),
        });
        let server = AbortOnDropHandle::new(TaskTracker::new().spawn(serve(listener, script.clone())));
        Self { address, script, _server: server }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on calls are taken and not answered.
    pub fn hold(&self) {
        self.script.held.send_replace(true);
    }

    /// Answers what is held.
    pub fn release(&self) {
        self.script.held.send_replace(false);
    }

    pub fn calls(&self) -> usize {
        self.script.calls.borrow().len()
    }

    /// Waits until so many calls have arrived.
    pub async fn called(&self, times: usize) {
        let mut calls = self.script.calls.subscribe();
        let arrived = tokio::time::timeout(Duration::from_secs(60), calls.wait_for(|calls| calls.len() >= times));
        arrived.await.unwrap_or_else(|_| panic!("waited a minute for {times} calls")).unwrap();
    }

    /// The head and the body of the newest call.
    pub fn newest_call(&self) -> (String, Json) {
        self.script.calls.borrow().last().cloned().unwrap()
    }
}

/// A valid answer with one element in each list.
pub fn valid_answer() -> Json {
    json!({
        "market_positioning": {
            "industry_position": "niche",
            "competitive_advantage": "Own data",
            "market_share": "small",
            "differentiation_factors": ["depth"],
        },
        "competitive_advantages": [{"type": "data", "name": "Own data", "description": "d", "strength": "high"}],
        "strategic_scores": {
            "market_positioning_score": 0,
            "competitive_advantage_score": 1,
            "content_strategy_score": 0.25,
            "overall_strategic_score": 0.5,
        },
        "risk_assessment": [{"type": "churn", "severity": "low", "description": "d", "mitigation": "m"}],
        "opportunity_analysis": [{"type": "niche", "priority": "medium", "description": "d", "action_items": ["go"]}],
        "content_recommendations": [{
            "type": "series", "title": "Start", "description": "d", "priority": "high", "estimated_impact": "large",
            "implementation_time": "soon\u{7}\nor later", "ai_confidence": 0.75, "content_suggestions": ["one"],
        }],
    })
}

async fn serve(listener: TcpListener, script: Arc<Script>) {
    let connections = TaskTracker::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(converse(connection, script.clone()));
    }
}

/// Answers one call and closes the connection. A caller that leaves is none of its business.
async fn converse(mut connection: TcpStream, script: Arc<Script>) {
    let Some(call) = read_call(&mut connection).await else { return };
    script.calls.send_modify(|calls| calls.push(call));
    let say = {
        let mut replies = script.replies.lock().unwrap_or_else(PoisonError::into_inner);
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    };
    let _ = script.held.subscribe().wait_for(|held| !held).await;
    if let Some(Say::Http(status, headers, body)) = say {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} Scripted\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
        let _ = connection.write_all(&[head.into_bytes(), body].concat()).await;
    }
}

async fn read_call(connection: &mut TcpStream) -> Option<(String, Json)> {
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let body = &received[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                return Some((head, serde_json::from_slice(body).unwrap_or_default()));
            }
        }
        if connection.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
}
