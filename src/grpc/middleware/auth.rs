//! Who may call what. Decided from credentials and method alone, before any look-up: an unauthenticated request consumes
//! no permit and learns nothing, not even whether a user exists. A hit is judged like a miss.
//!
//! Deny by default. Health is open: load balancers have no credentials, and it tells one word.

mod callers;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};

pub use callers::{Callers, CallersError, Role};

use super::filter::CallFilter;
use crate::{
    grpc::{call::Call, method::Method, refusal::Refusal},
    reload::Reloaded,
};

/// Precedes a token, in any case (RFC 6750).
const BEARER: &str = "bearer ";

/// How callers are known. Clones share the lists of callers.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Every caller may do everything.
    Open,
    /// By a token in each request.
    Token(Reloaded<Callers<[u8; 32]>>),
    /// By the URI in the certificate of the connection.
    Certificate(Reloaded<Callers<String>>),
}

impl CallFilter for Auth {
    fn check<B>(&mut self, call: &mut Call<B>) -> Result<(), Refusal> {
        if call.peer.has_lost_credentials() && call.method != Method::Health {
            return Err(Refusal::Unauthenticated);
        }
        let admitted = self.admit(call.method, &call.head.headers, call.peer.uri());
        if matches!(admitted, Err(Refusal::Unauthenticated)) {
            call.peer.refuse();
        }
        call.caller = admitted?;
        if call.method.is_ours() {
            call.peer.admit();
        }
        Ok(())
    }
}

impl Auth {
    /// The caller's name for the log, if callers have names.
    fn admit(&mut self, method: Method, headers: &HeaderMap, uri: Option<&str>) -> Result<Option<Arc<str>>, Refusal> {
        if method == Method::Health {
            return Ok(None);
        }
        let known = match self {
            Self::Open => return Ok(None),
            Self::Token(callers) => token(headers).and_then(|token| callers.current().with_digest(&digest(token))),
            Self::Certificate(callers) => uri.and_then(|uri| callers.current().with_uri(uri)),
        };
        let Some((name, role)) = known else { return Err(Refusal::Unauthenticated) };
        if role.may(method) { Ok(Some(name)) } else { Err(Refusal::Forbidden { role: role.name(), method }) }
    }
}

/// The form in which tokens are kept and compared.
#[must_use]
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.to_str().ok()?;
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::grpc::{refusal::Outcome, request_id::RequestId, status};

    const READER: &str = "reader's token";

    fn tokens() -> Auth {
        let lines: String = [("reader", READER), ("writer", "writer's"), ("operator", "operator's")]
            .map(|(role, token)| format!("{role} {} the-{role}\n", hex::encode(digest(token))))
            .concat();
        Auth::Token(Reloaded::fixed(Callers::tokens(&lines).unwrap()))
    }

    fn bearing(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    }

    fn told(refusal: &Refusal) -> tonic::Status {
        assert_eq!(refusal.outcome(), Outcome::Denied);
        status::of(refusal, &RequestId::create())
    }

    fn code(auth: &Auth, method: Method, headers: &HeaderMap) -> Code {
        let admitted = auth.clone().admit(method, headers, None);
        admitted.map_or_else(|refusal| told(&refusal).code(), |_| Code::Ok)
    }

    #[test]
    fn each_role_may_do_what_it_is_for_and_nothing_else() {
        use Method::{Cleanup, Get, Invalidate, Reflection, Stats, Unknown, Warm};
        let auth = tokens();
        for (token, allowed) in [
            (READER, &[Get][..]),
            ("writer's", &[Get, Invalidate]),
            ("operator's", &[Invalidate, Stats, Cleanup, Warm]),
        ] {
            for method in Method::ALL {
                let open = [Method::Health, Reflection, Unknown].contains(&method);
                let expected = if open || allowed.contains(&method) { Code::Ok } else { Code::PermissionDenied };
                assert_eq!(code(&auth, method, &bearing(token)), expected, "{token} {method:?}");
            }
        }
    }

    #[test]
    fn without_one_valid_credential_only_health_is_answered() {
        let auth = tokens();
        let twice = {
            let mut headers = bearing(READER);
            headers.append(AUTHORIZATION, format!("Bearer {READER}").parse().unwrap());
            headers
        };
        let basic = HeaderMap::from_iter([(AUTHORIZATION, format!("Basic {READER}").parse().unwrap())]);
        for headers in [HeaderMap::new(), bearing(""), bearing("guessed"), bearing("reader's toke"), basic, twice] {
            for method in Method::ALL {
                let expected = if method == Method::Health { Code::Ok } else { Code::Unauthenticated };
                assert_eq!(code(&auth, method, &headers), expected, "{headers:?} {method:?}");
            }
        }
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("bEARER {READER}").parse().unwrap())]);
        assert_eq!(code(&tokens(), Method::Get, &headers), Code::Ok);
    }

    #[test]
    fn a_certificate_counts_by_its_one_uri() {
        let mut auth = Auth::Certificate(Reloaded::fixed(Callers::uris("reader spiffe://plan/web web\n").unwrap()));
        let mut admit = |uri| auth.admit(Method::Get, &bearing(READER), uri).map_err(|refusal| told(&refusal).code());
        assert_eq!(admit(Some("spiffe://plan/web")), Ok(Some("web".into())));
        assert_eq!(admit(Some("spiffe://plan/web2")), Err(Code::Unauthenticated));
        assert_eq!(admit(None), Err(Code::Unauthenticated), "a token is no certificate");
    }

    #[test]
    fn a_refusal_quotes_nothing() {
        let mut auth = tokens();
        for headers in [bearing("a-secret"), bearing(READER)] {
            let refusal = auth.admit(Method::Stats, &headers, None).unwrap_err();
            let told = format!("{:?} {refusal:?}", told(&refusal));
            assert!(!told.contains("a-secret") && !told.contains(READER), "{told}");
        }
    }
}
