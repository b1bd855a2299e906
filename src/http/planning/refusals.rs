//! Errors as the planning application writes them: a status and `{"detail": ..}`, which its pages show.

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt as _};

use super::parameters::WrongParameters;
use crate::http::{body::HttpBody, reply::JSON, route::PlanningRoute};

/// The response to a call that failed.
pub(super) fn response(route: &PlanningRoute, headers: HeaderMap, status: &Status) -> Response<HttpBody> {
    let mut response = match wrong_fields(route, status) {
        Some(refused) => refused.response(),
        None => {
            let detail = detail(route, status);
            let mut response = Response::new(HttpBody::whole(json!({ "detail": detail }).to_string().into()));
            *response.status_mut() = http_status(status.code());
            response
        }
    };
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The fields that are wrong, in the form of the application's framework.
fn wrong_fields(route: &PlanningRoute, status: &Status) -> Option<WrongParameters> {
    let refused = |FieldViolation { field, description, .. }: FieldViolation| {
        let place = match (route, field.as_str()) {
            (_, "min_token") => ["header", "x-userdata-token"],
            (PlanningRoute::Invalidate(_), "user_id") => ["path", "user_id"],
            (_, field) => ["query", field],
        };
        WrongParameters::field(place, &description)
    };
    status.get_details_bad_request()?.field_violations.into_iter().map(refused).reduce(WrongParameters::and)
}

/// What the application says for each route if something fails; a caller's mistake is said as it is.
fn detail(route: &PlanningRoute, status: &Status) -> String {
    let message = status.message();
    if !matches!(status.code(), Code::Internal | Code::Unavailable | Code::DeadlineExceeded | Code::Unknown) {
        return message.to_owned();
    }
    match route {
        PlanningRoute::Document => format!("Error retrieving comprehensive user data: {message}"),
        PlanningRoute::CacheStats | PlanningRoute::MonitoringStats => format!("Failed to get cache stats: {message}"),
        PlanningRoute::Invalidate(_) => format!("Failed to invalidate cache: {message}"),
        PlanningRoute::Cleanup => format!("Failed to clean up cache: {message}"),
    }
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
