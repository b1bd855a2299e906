//! The planning application's own routes, for its callers: the plan's four and `monitoring/cache-stats`. Paths, bodies
//! and errors are as the application has them: docs/http.md.

mod parameters;
mod refusals;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderValue, Request, Response, header};
use prost::Message;
use serde::Serialize;
use serde_json::{Value as Json, json};
use tower::BoxError;
use tracing::error;

use self::parameters::QueryParameters;
use super::{
    body::HttpBody,
    exchange::Exchange,
    json::{self, JsonError},
    message::RequestMessage,
    reply::{self, Described, JSON, Reply, ReplyContent, TOKEN},
    route::PlanningRoute,
};
use crate::{
    cache::tiers::memory::JsonForm,
    grpc::method::Method,
    planning_json::{CallerGeneration, planning_json},
    proto::{
        SealedResponse, Timestamp,
        v1::{
            AccessedEntry, CacheInfo, CleanupCacheRequest, CleanupCacheResponse, ComprehensiveUserData,
            GetCacheStatsRequest, GetCacheStatsResponse, GetComprehensiveUserDataRequest, InvalidateCacheRequest,
            InvalidateCacheResponse,
        },
    },
};

/// As many as the application lists.
const MOST_ACCESSED: i32 = 5;
/// In the audit line of an invalidation.
const REASON: &str = "DELETE cache/invalidate";

/// What the reply says beside the document.
#[derive(Serialize)]
struct DocumentEnvelope {
    status: &'static str,
    cache_info: Json,
    message: String,
}

/// The call that a request is, and what the answer repeats of it.
struct PlanningCall {
    method: Method,
    message: Vec<u8>,
    user: Option<String>,
    strategy: Option<i64>,
}

/// The response to a request of the application's callers.
pub(super) async fn answer<B>(exchange: &Exchange<'_>, route: PlanningRoute, request: Request<B>) -> Response<HttpBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (head, _) = request.into_parts();
    let callers = exchange.front.callers;
    let parameters = QueryParameters::of(head.uri.query().unwrap_or_default(), callers);
    // What is no text is no token either: the layers below refuse it.
    let token = head.headers.get(TOKEN).map(|token| token.to_str().unwrap_or("?")).unwrap_or_default();
    let call = match call_of(&route, parameters, token) {
        Ok(call) => call,
        Err(refused) => return exchange.refused(method(&route), tonic::Code::InvalidArgument, refused.response()),
    };
    let epoch = exchange.front.documents.epoch();
    let known = reply::known_tags(&head.headers);
    let message = RequestMessage::<B>::ready(&call.message);
    let Reply { mut headers, content } = Reply::of(exchange.call(call.method, head.headers, None, message).await).await;
    reply::keep_private(&mut headers);
    let body = match content {
        Err(status) => return refusals::response(&route, headers, &status),
        Ok(ReplyContent::Document(sealed, record)) => {
            let described = Described::of(&sealed);
            let form = JsonForm::Planning(callers);
            let make = || of_document(&sealed, callers);
            let documents = &exchange.front.documents;
            let document = documents.get_or_make(epoch, sealed.data(), described.sections.is_all(), form, make);
            document.and_then(|document| {
                headers.insert(header::ETAG, reply::etag(document.hash));
                headers.insert(TOKEN, HeaderValue::try_from(&described.info.token).expect("ASCII"));
                Ok(HttpBody::document(json::around(&envelope(&described.info), document.json)?, record))
            })
        }
        Ok(ReplyContent::Message(message)) => {
            if let PlanningRoute::Invalidate(_) = route
                && let Ok(done) = InvalidateCacheResponse::decode(message.clone())
            {
                headers.insert(TOKEN, HeaderValue::try_from(done.token).expect("ASCII"));
            }
            of_message(&route, &call, callers, &message).map(|json| HttpBody::whole(json.to_string().into()))
        }
    };
    let mut response = match body {
        Ok(body) => Response::new(body),
        Err(failed) => {
            error!(error = &failed as &dyn std::error::Error, "a reply could not be written as JSON");
            return refusals::response(&route, headers, &tonic::Status::internal("internal error"));
        }
    };
    headers.insert(header::CONTENT_TYPE, JSON);
    *response.headers_mut() = headers;
    reply::leave_out_if_known(&mut response, &known);
    response
}

fn method(route: &PlanningRoute) -> Method {
    match route {
        PlanningRoute::Document => Method::Get,
        PlanningRoute::CacheStats | PlanningRoute::MonitoringStats => Method::Stats,
        PlanningRoute::Invalidate(_) => Method::Invalidate,
        PlanningRoute::Cleanup => Method::Cleanup,
    }
}

fn call_of(
    route: &PlanningRoute,
    mut parameters: QueryParameters,
    token: &str,
) -> Result<PlanningCall, parameters::WrongParameters> {
    let (mut user, mut strategy) = (None, None);
    let message = match route {
        PlanningRoute::Document => {
            let (user_id, force_refresh) = (parameters.user("user_id"), parameters.switch("force_refresh"));
            let strategy_id = parameters.integer("strategy_id");
            parameters.check()?;
            GetComprehensiveUserDataRequest {
                user_id: user_id.unwrap_or_default(),
                strategy_id,
                force_refresh,
                min_token: token.to_owned(),
                ..Default::default()
            }
            .encode_to_vec()
        }
        PlanningRoute::Invalidate(of) => {
            user = parameters.user_in_path(of);
            strategy = parameters.integer("strategy_id");
            parameters.check()?;
            let user_id = user.clone().unwrap_or_default();
            InvalidateCacheRequest { user_id, strategy_id: strategy, reason: REASON.to_owned(), ..Default::default() }
                .encode_to_vec()
        }
        PlanningRoute::CacheStats | PlanningRoute::MonitoringStats => {
            GetCacheStatsRequest { most_accessed_limit: MOST_ACCESSED, ..Default::default() }.encode_to_vec()
        }
        PlanningRoute::Cleanup => CleanupCacheRequest::default().encode_to_vec(),
    };
    Ok(PlanningCall { method: method(route), message, user, strategy })
}

fn of_document(sealed: &SealedResponse, callers: CallerGeneration) -> Result<Vec<u8>, JsonError> {
    let document = ComprehensiveUserData::decode(sealed.data().clone())?;
    json::as_the_end(&planning_json(&document, callers)?)
}

fn envelope(info: &CacheInfo) -> DocumentEnvelope {
    let hit = if info.is_cached { "HIT" } else { "MISS" };
    DocumentEnvelope {
        status: "success",
        cache_info: json!({
            "is_cached": info.is_cached,
            "force_refresh": info.force_refresh,
            "timestamp": time(info.timestamp.as_ref()),
        }),
        message: format!("Comprehensive user data retrieved successfully (cache: {hit})"),
    }
}

fn of_message(
    route: &PlanningRoute,
    call: &PlanningCall,
    callers: CallerGeneration,
    message: &[u8],
) -> Result<Json, JsonError> {
    Ok(match route {
        PlanningRoute::CacheStats => entries(&GetCacheStatsResponse::decode(message)?, callers),
        PlanningRoute::MonitoringStats => {
            let stats = GetCacheStatsResponse::decode(message)?;
            let mut data = entries(&stats, callers);
            let hits = hits(&stats);
            data["hits"] = hits.into();
            data["misses"] = (stats.requests - hits).into();
            data["hit_rate"] = stats.hit_rate.into();
            data["total_requests"] = stats.requests.into();
            json!({
                "status": "success",
                "success": true,
                "data": data,
                "message": "Cache statistics retrieved successfully",
            })
        }
        PlanningRoute::Invalidate(_) => {
            let user = call.user.clone().unwrap_or_default();
            let of_strategy = call.strategy.map(|id| format!(" and strategy {id}")).unwrap_or_default();
            json!({
                "status": "success",
                "message": format!("Cache invalidated for user {user}{of_strategy}"),
                "user_id": user_json(&user, callers),
                "strategy_id": call.strategy,
            })
        }
        PlanningRoute::Cleanup => {
            let deleted = CleanupCacheResponse::decode(message)?.deleted_count;
            json!({
                "status": "success",
                "message": format!("Cleaned up {deleted} expired cache entries"),
                "deleted_count": deleted,
            })
        }
        // Its reply is always a document.
        PlanningRoute::Document => Json::Null,
    })
}

/// The counts of the cache table, as the application has them.
fn entries(stats: &GetCacheStatsResponse, callers: CallerGeneration) -> Json {
    let entry = |entry: &AccessedEntry| {
        json!({
            "user_id": user_json(&entry.user_id, callers),
            "strategy_id": entry.strategy_id,
            "access_count": entry.access_count,
            "last_accessed": time(entry.last_accessed.as_ref()),
        })
    };
    json!({
        "total_entries": stats.total_entries,
        "expired_entries": stats.expired_entries,
        "valid_entries": stats.valid_entries,
        "most_accessed": stats.most_accessed.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// Requests answered without a load of their own: what the hit rate counts.
fn hits(stats: &GetCacheStatsResponse) -> i64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a count of requests")]
    let hits = (stats.hit_rate * stats.requests as f64).round() as i64;
    hits
}

/// A user id in digits is a number for callers of August 2025.
fn user_json(user: &str, callers: CallerGeneration) -> Json {
    match (callers, user.parse::<i32>()) {
        (CallerGeneration::Aug22, Ok(number)) if number >= 0 && number.to_string() == user => number.into(),
        _ => user.into(),
    }
}

/// In UTC with microseconds and a `Z`, without which JavaScript would take it for local time.
fn time(time: Option<&Timestamp>) -> Option<String> {
    let time = time?;
    let time = DateTime::<Utc>::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
