//! Checks tokens: signature, then claims, then times.
//!
//! A check of an RSA signature costs several times what a hit costs. A token that was accepted once is therefore known by
//! its digest, as long as its key set is in use; its times are compared at each request.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};
use tracing::debug;

use super::{
    claims::{Accepted, ClaimRules, WrongClaim},
    key_set::{self, KeySet, PublicKey},
    keys::SigningKeys,
};
use crate::{clock::Clock, config::AuthSettings, model::UserId};

/// Half of what all headers of a request may have. A usual token has some 800 bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is wrong, expired, or not for this service. The caller does not learn which; the log does at level `debug`.
    Invalid(&'static str),
    /// No key is known yet, because the endpoint has not answered.
    NoKeys,
}

/// Checks tokens. Clones share keys and what has been accepted.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: SigningKeys,
    rules: Arc<ClaimRules>,
    clock: Clock,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
    /// Extensions that a reader has to understand, and this one does not.
    crit: Option<Json>,
}

impl Verifier {
    #[must_use]
    pub fn new(keys: SigningKeys, config: &AuthSettings, clock: Clock) -> Self {
        let rules = ClaimRules {
            issuer: config.jwt_issuer.clone(),
            audience: config.jwt_audience.clone(),
            user_claim: config.jwt_user_claim.clone(),
        };
        Self { keys, rules: Arc::new(rules), clock }
    }

    /// Whether a text has the form of a signed token: three parts with dots between them.
    #[must_use]
    pub fn is_token(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The user whom a valid token names.
    pub fn user(&mut self, token: &str) -> Result<UserId, Refused> {
        self.accepted(token).map(|accepted| accepted.user).inspect_err(|refused| {
            if let Refused::Invalid(why) = refused {
                debug!(why, "a user's token is refused");
            }
        })
    }

    fn accepted(&mut self, token: &str) -> Result<Accepted, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Invalid("too long"));
        }
        let now = self.clock.utc().timestamp();
        let set = Arc::clone(self.keys.current());
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = set.accepted.get(&digest);
        let is_new = known.is_none();
        let accepted = match known {
            Some(accepted) => accepted,
            None => self.judge(token, &set)?,
        };
        if !accepted.has_begun(now) {
            return Err(Refused::Invalid("not yet valid"));
        }
        if accepted.has_expired(now) {
            return Err(Refused::Invalid("expired"));
        }
        if is_new {
            set.accepted.insert(digest, accepted.clone());
        }
        Ok(accepted)
    }

    fn judge(&self, token: &str, set: &KeySet) -> Result<Accepted, Refused> {
        let malformed = || Refused::Invalid("malformed");
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = message.split_once('.').ok_or_else(malformed)?;
        let header: TokenHeader = read(header).ok_or_else(malformed)?;
        if header.crit.is_some() {
            return Err(Refused::Invalid("a critical extension"));
        }
        let key = self.key(&header, set)?;
        let signature = key_set::bytes(signature).ok_or_else(malformed)?;
        if !key.has_signed(message.as_bytes(), &signature) {
            return Err(Refused::Invalid("signature"));
        }
        let claims: Map<String, Json> = read(claims).ok_or_else(malformed)?;
        self.rules.judge(&claims).map_err(|wrong| {
            Refused::Invalid(match wrong {
                WrongClaim::Issuer => "issuer",
                WrongClaim::Audience => "audience",
                WrongClaim::Times => "exp or nbf",
                WrongClaim::User => "no user",
            })
        })
    }

    /// The key of the token's id, whose algorithm the token has to name.
    fn key<'a>(&self, header: &TokenHeader, set: &'a KeySet) -> Result<&'a PublicKey, Refused> {
        if set.is_empty() {
            return Err(Refused::NoKeys);
        }
        let mut keys = set.with_id(header.kid.as_deref()).peekable();
        if keys.peek().is_none() {
            // The provider may have a new key.
            self.keys.want_newer();
            return Err(Refused::Invalid("unknown key"));
        }
        keys.find(|key| key.algorithm().name() == header.alg).ok_or(Refused::Invalid("algorithm"))
    }
}

fn read<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&key_set::bytes(part)?).ok()
}

#[cfg(test)]
mod tests;
