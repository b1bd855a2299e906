//! What pages of the web may do: nothing, unless their origin is listed.
//!
//! A page can make its reader's browser send requests anywhere, with the reader's client certificate. Browsers say where
//! a request comes from; other clients send neither header.

use http::{HeaderMap, HeaderValue, Method, Request, header};

use crate::config::WebOrigin;

/// Why a request of a page is refused.
pub(super) const REFUSED: &str = "pages of this origin may not call; http.allowed_origins lists those that may";

/// How long a browser may remember that a page may call.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, connect-protocol-version, connect-timeout-ms, if-none-match, x-request-id, \
     x-userdata-token, traceparent",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-cache, x-request-id, x-error-reason, x-userdata-token, etag, retry-after, grpc-retry-pushback-ms",
);
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The origins whose pages may call.
#[derive(Debug)]
pub(super) struct AllowedOrigins(Vec<WebOrigin>);

impl AllowedOrigins {
    pub(super) fn new(allowed: Vec<WebOrigin>) -> Self {
        Self(allowed)
    }

    fn is_listed(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|allowed| allowed.is(origin.as_bytes()))
    }

    /// Whether a browser asks what a page of a listed origin may send.
    pub(super) fn is_preflight<B>(&self, request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && request.headers().get(header::ORIGIN).is_some_and(|origin| self.is_listed(origin))
    }

    /// Whether the request may go on. A read counts too: it can cost a load. A page cannot send the authorization header
    /// without a preflight.
    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        if headers.contains_key(header::AUTHORIZATION) {
            return true;
        }
        match headers.get(header::ORIGIN) {
            Some(origin) => self.is_listed(origin) || is_same_site(headers),
            None => headers.get(SEC_FETCH_SITE).is_none() || is_same_site(headers),
        }
    }

    /// Lets a page of a listed origin read the answer.
    pub(super) fn stamp(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if !self.is_listed(&origin) {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
    }
}

/// Whether the browser says that this server's own page, or its user, sends the request.
fn is_same_site(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| [&b"none"[..], b"same-origin"].contains(&site.as_bytes()))
}

/// Whether a browser can have been misled to the host that a request names: a public name can be made to lead to this
/// machine (DNS rebinding), an address or a name without a dot cannot.
pub(super) fn may_be_rebound<B>(request: &Request<B>) -> bool {
    let named = request.uri().authority().map(http::uri::Authority::as_str);
    let host = named.or_else(|| request.headers().get(header::HOST)?.to_str().ok()).unwrap_or_default();
    // An address of IPv6 stands in brackets.
    let host = match host.strip_prefix('[') {
        Some(_) => return false,
        None => host.split(':').next().unwrap_or_default().trim_end_matches('.'),
    };
    host.contains('.') && !host.ends_with(".localhost") && host.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn origins() -> AllowedOrigins {
        let mut config = Config::default();
        let setting = crate::config::Setting::find("http.allowed_origins").unwrap();
        assert!((setting.set)(&mut config, "https://app.example"));
        AllowedOrigins::new(config.http.allowed_origins)
    }

    fn request(method: &str, headers: &[(&'static str, &'static str)]) -> Request<()> {
        let request = Request::builder().method(method);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let origins = origins();
        for (method, headers, is_allowed) in [
            ("POST", &[][..], true),
            ("POST", &[("origin", "https://app.example")], true),
            ("POST", &[("origin", "https://evil.example")], false),
            ("POST", &[("origin", "null")], false),
            ("DELETE", &[("origin", "https://evil.example")], false),
            ("POST", &[("sec-fetch-site", "cross-site")], false),
            ("POST", &[("sec-fetch-site", "same-site")], false),
            ("POST", &[("sec-fetch-site", "none")], true),
            ("POST", &[("sec-fetch-site", "same-origin"), ("origin", "https://userdata.example")], true),
            ("POST", &[("origin", "https://evil.example"), ("authorization", "Bearer t")], true),
            ("GET", &[("origin", "https://evil.example")], false),
            ("GET", &[("sec-fetch-site", "cross-site")], false),
        ] {
            assert_eq!(origins.allow(&request(method, headers)), is_allowed, "{method} {headers:?}");
        }
    }

    #[test]
    fn only_public_names_can_be_rebound() {
        for (host, may) in [
            ("127.0.0.1:8080", false),
            ("[::1]:8080", false),
            ("localhost:8080", false),
            ("app.localhost", false),
            ("userdata:8080", false),
            ("evil.example", true),
            ("evil.example.:8080", true),
            ("127.0.0.1.evil.example", true),
        ] {
            assert_eq!(may_be_rebound(&request("GET", &[("host", host)])), may, "{host}");
        }
    }

    #[test]
    fn only_listed_origins_are_shown_answers() {
        let origins = origins();
        for (origin, is_listed) in [("https://app.example", true), ("https://evil.example", false)] {
            let asks = request("OPTIONS", &[("origin", origin), ("access-control-request-method", "POST")]);
            assert_eq!(origins.is_preflight(&asks), is_listed);
            let mut headers = HeaderMap::new();
            origins.stamp(&mut headers, HeaderValue::from_static(origin));
            assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), is_listed);
            assert_eq!(headers[header::VARY], "origin");
        }
    }
}
