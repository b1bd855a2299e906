//! Who may call what. Decided from credentials and method alone, before admission and any look-up: who is not
//! entitled learns nothing, not even whether a user exists, and a hit is judged like a miss.
//!
//! Deny by default. Health is open to everybody: what asks it has no credentials, and it tells one word.

mod callers;

use std::sync::Arc;

use http::{Extensions, HeaderMap, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};
use tonic::Status;

pub use callers::{Callers, CallersError, Role};

use crate::{
    grpc::{
        method::Method,
        refusal::{Outcome, Refusal},
        status,
        transport::listener::Peer,
    },
    reload::Reloaded,
};

/// What precedes a token, in any case (RFC 6750).
const BEARER: &str = "bearer ";

/// How callers are known. Cloning shares it.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Whoever reaches the port may do everything.
    Open,
    /// By a token in each request.
    Token(Reloaded<Callers<[u8; 32]>>),
    /// By the URI in the certificate that the connection was made with.
    Certificate(Reloaded<Callers<String>>),
}

impl Auth {
    /// The caller's name for the log, if callers have names, or why the request is refused.
    pub fn admit(
        &self,
        method: Method,
        headers: &HeaderMap,
        connection: &Extensions,
    ) -> Result<Option<Arc<str>>, Refusal> {
        if method == Method::Health {
            return Ok(None);
        }
        let known = match self {
            Self::Open => return Ok(None),
            Self::Token(callers) => token(headers).and_then(|token| callers.now().with_digest(&digest(token))),
            Self::Certificate(callers) => connection.get::<Peer>().and_then(|Peer(uri)| callers.now().with_uri(uri)),
        };
        let Some((name, role)) = known else { return Err(refused(status::unauthenticated())) };
        if role.may(method) { Ok(Some(name)) } else { Err(refused(status::forbidden(role.name(), method.name()))) }
    }
}

/// What a token is kept and compared as.
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

fn refused(status: Status) -> Refusal {
    Refusal { outcome: Outcome::Denied, status }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

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

    fn code(auth: &Auth, method: Method, headers: &HeaderMap) -> Code {
        match auth.admit(method, headers, &Extensions::new()) {
            Ok(_) => Code::Ok,
            Err(refusal) => {
                assert_eq!(refusal.outcome, Outcome::Denied);
                refusal.status.code()
            }
        }
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
        let auth = Auth::Certificate(Reloaded::fixed(Callers::uris("reader spiffe://plan/web web\n").unwrap()));
        let with = |uri: Option<&str>| {
            let mut extensions = Extensions::new();
            uri.and_then(|uri| extensions.insert(Peer(uri.into())));
            extensions
        };
        let admit =
            |uri| auth.admit(Method::Get, &bearing(READER), &with(uri)).map_err(|refusal| refusal.status.code());
        assert_eq!(admit(Some("spiffe://plan/web")), Ok(Some("web".into())));
        assert_eq!(admit(Some("spiffe://plan/web2")), Err(Code::Unauthenticated));
        assert_eq!(admit(None), Err(Code::Unauthenticated), "a token is no certificate");
    }

    #[test]
    fn a_refusal_tells_what_to_do_and_quotes_nothing() {
        let auth = tokens();
        let refusal = auth.admit(Method::Get, &bearing("a-secret"), &Extensions::new()).unwrap_err();
        let told = format!("{:?}", refusal.status);
        assert!(told.contains("authorization") && !told.contains("a-secret"), "{told}");
        assert_eq!(refusal.status.get_details_error_info().unwrap().reason, "UNAUTHENTICATED");
        let refusal = auth.admit(Method::Stats, &bearing(READER), &Extensions::new()).unwrap_err();
        assert_eq!(refusal.status.get_details_error_info().unwrap().reason, "PERMISSION_DENIED");
    }
}
