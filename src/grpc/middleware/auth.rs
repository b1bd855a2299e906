//! Who may call what. Decided from credentials and method alone, before any look-up: an unauthenticated request consumes
//! no permit and learns nothing, not even whether a user exists. A hit is judged like a miss.
//!
//! A user's own token (JWT) entitles to this user's documents: the request has to be understood first, so the RPCs ask the
//! caller ([`Caller::may_concern`]).
//!
//! Deny by default. Health is open: load balancers have no credentials, and it tells one word.

mod callers;

use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};

pub use callers::{Callers, CallersError, Role};

use super::filter::CallFilter;
use crate::{
    grpc::{call::Call, caller::Caller, method::Method, refusal::Refusal},
    jwt::{Refused, Verifier},
    reload::Reloaded,
};

/// Precedes a token, in any case (RFC 6750).
const BEARER: &str = "bearer ";

/// How callers are known. Clones share the lists of callers and the keys.
#[derive(Clone, Debug)]
pub struct Auth {
    services: Services,
    /// None: users have no tokens.
    users: Option<Verifier>,
}

/// How services are known.
#[derive(Clone, Debug)]
pub enum Services {
    /// Every caller may do everything.
    Open,
    /// By a token in each request.
    Token(Reloaded<Callers<[u8; 32]>>),
    /// By the URI in the certificate of the connection.
    Certificate(Reloaded<Callers<String>>),
    /// None is: only users call.
    Closed,
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
    #[must_use]
    pub fn new(services: Services, users: Option<Verifier>) -> Self {
        Self { services, users }
    }

    /// Who it is, if it may call the method.
    fn admit(&mut self, method: Method, headers: &HeaderMap, uri: Option<&str>) -> Result<Caller, Refusal> {
        if method == Method::Health || matches!(self.services, Services::Open) {
            return Ok(Caller::service(None));
        }
        let (caller, role) = self.known(headers, uri)?;
        if role.may(method) { Ok(caller) } else { Err(Refusal::Forbidden { role: role.name(), method }) }
    }

    /// A user's token counts for that user alone, whatever the connection's certificate is good for: a service may pass it
    /// on, and must not lend its own rights with it.
    fn known(&mut self, headers: &HeaderMap, uri: Option<&str>) -> Result<(Caller, Role), Refusal> {
        let service = match &mut self.services {
            Services::Token(callers) => token(headers).and_then(|token| callers.current().with_digest(&digest(token))),
            Services::Certificate(callers) if self.users.is_none() || users_token(headers).is_none() => {
                uri.and_then(|uri| callers.current().with_uri(uri))
            }
            Services::Certificate(_) | Services::Closed | Services::Open => None,
        };
        if let Some((name, role)) = service {
            return Ok((Caller::service(Some(name)), role));
        }
        let users = self.users.as_mut().zip(users_token(headers));
        let (users, token) = users.ok_or(Refusal::Unauthenticated)?;
        match users.user(token) {
            Ok(user) => Ok((Caller::user(user), Role::User)),
            Err(Refused::NoKeys) => Err(Refusal::KeysUnknown),
            Err(Refused::Invalid(_)) => Err(Refusal::Unauthenticated),
        }
    }
}

fn users_token(headers: &HeaderMap) -> Option<&str> {
    token(headers).filter(|token| Verifier::is_token(token))
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
mod tests;
