//! Which request is for what: a closed list of paths.

use http::Method as HttpMethod;

use crate::grpc::method::Method;

/// Before the application's paths, as it has them.
const CALENDAR: &str = "/api/content-planning/calendar-generation";
const MONITORING: &str = "/api/content-planning/monitoring";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// An RPC, by Connect's protocol.
    Connect(Method),
    Planning(PlanningRoute),
    OpenApi,
    /// A browser asks what a page may send.
    Preflight,
    /// To a host that this port is not called by.
    Misdirected,
    /// From a page that may not call.
    OtherOrigin,
    /// A known path that takes these methods only.
    WrongMethod(&'static [HttpMethod]),
    Unknown,
}

/// A route of the planning application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlanningRoute {
    Document,
    CacheStats,
    /// Of this user, as the path has it.
    Invalidate(String),
    Cleanup,
    /// The same statistics, for the application's monitoring page.
    MonitoringStats,
}

impl Route {
    pub(super) fn of(method: &HttpMethod, path: &str) -> Self {
        const GET: &[HttpMethod] = &[HttpMethod::GET];
        const POST: &[HttpMethod] = &[HttpMethod::POST];
        const DELETE: &[HttpMethod] = &[HttpMethod::DELETE];
        const READS: &[HttpMethod] = &[HttpMethod::GET, HttpMethod::POST];
        let (route, methods) = match Self::named(path) {
            Route::Connect(rpc) if rpc.has_no_side_effects() => (Route::Connect(rpc), READS),
            Route::Connect(rpc) => (Route::Connect(rpc), POST),
            Route::Planning(PlanningRoute::Invalidate(user)) => {
                (Route::Planning(PlanningRoute::Invalidate(user)), DELETE)
            }
            Route::Planning(PlanningRoute::Cleanup) => (Route::Planning(PlanningRoute::Cleanup), POST),
            route => (route, GET),
        };
        if route == Route::Unknown || methods.contains(method) { route } else { Route::WrongMethod(methods) }
    }

    fn named(path: &str) -> Self {
        let rpc = Method::of(path);
        if rpc.is_ours() {
            return Self::Connect(rpc);
        }
        if path == "/openapi.json" {
            return Self::OpenApi;
        }
        if path.strip_prefix(MONITORING) == Some("/cache-stats") {
            return Self::Planning(PlanningRoute::MonitoringStats);
        }
        let Some(path) = path.strip_prefix(CALENDAR) else { return Self::Unknown };
        let route = match path {
            "/comprehensive-user-data" => PlanningRoute::Document,
            "/cache/stats" => PlanningRoute::CacheStats,
            "/cache/cleanup" => PlanningRoute::Cleanup,
            _ => match path.strip_prefix("/cache/invalidate/") {
                Some(user) if !user.is_empty() && !user.contains('/') => PlanningRoute::Invalidate(user.to_owned()),
                _ => return Self::Unknown,
            },
        };
        Self::Planning(route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_name_routes() {
        let of = |method: &str, path: &str| Route::of(&method.parse().unwrap(), path);
        let rpc = |name: &str| format!("/userdata.v1.UserDataService/{name}");
        assert_eq!(of("POST", &rpc("GetComprehensiveUserData")), Route::Connect(Method::Get));
        assert_eq!(of("GET", &rpc("GetComprehensiveUserData")), Route::Connect(Method::Get));
        assert!(matches!(of("GET", &rpc("InvalidateCache")), Route::WrongMethod(_)), "it has a side effect");
        assert_eq!(of("POST", &rpc("Other")), Route::Unknown);
        let planning = |path: &str| format!("{CALENDAR}{path}");
        assert_eq!(of("GET", &planning("/comprehensive-user-data")), Route::Planning(PlanningRoute::Document));
        assert_eq!(
            of("DELETE", &planning("/cache/invalidate/user_33")),
            Route::Planning(PlanningRoute::Invalidate("user_33".to_owned()))
        );
        assert!(matches!(of("GET", &planning("/cache/cleanup")), Route::WrongMethod([HttpMethod::POST])));
        for unknown in [planning(""), planning("/cache/invalidate/"), planning("/cache/invalidate/a/b"), "/".to_owned()]
        {
            assert_eq!(of("GET", &unknown), Route::Unknown, "{unknown}");
        }
    }
}
