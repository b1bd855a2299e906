//! A set of public keys (RFC 7517), as an identity provider publishes it.
//!
//! A key of another kind, for another use or of a weak size costs itself only: providers publish several. Private and
//! symmetric keys are not used either; by a symmetric key everyone who can check a token could make one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use quick_cache::sync::Cache;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value as Json;

use super::claims::Accepted;

/// A provider publishes two to ten keys of some hundred bytes; with certificates, some KiB.
pub(super) const BYTES_MAX: usize = 256 * 1024;
const KEYS_MAX: usize = 100;
/// RSA of 2048 to 8192 bits, as ring takes it.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const COORDINATE_BYTES: usize = 32;
/// Tokens that are known to be valid. Each takes some 200 bytes; without it, each request costs a signature's check.
const ACCEPTED_MAX: usize = 10_000;

/// Why a text is no usable set of keys. It quotes nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is no JSON object with an array `keys`")]
    Form,
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    #[error("it has no public key for RS256 (RSA, 2048 bits or more) or ES256 (P-256)")]
    NoKey,
}

/// The algorithms that are accepted, as headers spell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// Public keys, and the tokens that they are known to have signed. What a set accepted is forgotten with the set.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    ignored: usize,
    pub(super) accepted: Cache<[u8; 32], Accepted>,
}

#[derive(Debug)]
pub(super) struct PublicKey {
    id: Option<String>,
    material: KeyMaterial,
}

#[derive(Debug, PartialEq, Eq)]
enum KeyMaterial {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
}

#[derive(Deserialize)]
struct KeyDocument {
    keys: Vec<Json>,
}

/// The members of a key that count (RFC 7518, section 6).
#[derive(Deserialize)]
struct JsonKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Of private keys only.
    d: Option<Json>,
}

impl KeySet {
    /// Reads a JWKS document.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let document: KeyDocument = serde_json::from_slice(bytes).map_err(|_| KeySetError::Form)?;
        let all = document.keys.len();
        if all > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<_> = document.keys.into_iter().filter_map(PublicKey::of).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKey);
        }
        Ok(Self { ignored: all - keys.len(), keys, accepted: Cache::new(ACCEPTED_MAX) })
    }

    /// None yet.
    pub(super) fn empty() -> Self {
        Self { keys: Vec::new(), ignored: 0, accepted: Cache::new(ACCEPTED_MAX) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys can be used, and how many of the document cannot.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.keys.len(), self.ignored)
    }

    /// The keys of this id. A token without an id may only mean the one key that there is.
    pub(super) fn with_id(&self, id: Option<&str>) -> impl Iterator<Item = &PublicKey> {
        let is_meant = move |key: &&PublicKey| match id {
            Some(_) => key.id.as_deref() == id,
            None => self.keys.len() == 1,
        };
        self.keys.iter().filter(is_meant)
    }
}

impl PublicKey {
    fn of(json: Json) -> Option<Self> {
        let key: JsonKey = serde_json::from_value(json).ok()?;
        let signs = key.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && key.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|name| name == "verify"));
        if !signs || key.d.is_some() {
            return None;
        }
        let material = match key.kty.as_str() {
            "RSA" => {
                let modulus = number(key.n.as_deref()?)?;
                let exponent = number(key.e.as_deref()?)?;
                MODULUS_BYTES.contains(&modulus.len()).then_some(KeyMaterial::Rsa { modulus, exponent })?
            }
            "EC" if key.crv.as_deref() == Some("P-256") => {
                let coordinate = |text: Option<String>| bytes(&text?).filter(|bytes| bytes.len() == COORDINATE_BYTES);
                KeyMaterial::P256([&[4][..], &coordinate(key.x)?, &coordinate(key.y)?].concat())
            }
            _ => return None,
        };
        let key_alg = key.alg;
        let key = Self { id: key.kid, material };
        key_alg.is_none_or(|name| name == key.algorithm().name()).then_some(key)
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self.material {
            KeyMaterial::Rsa { .. } => Algorithm::Rs256,
            KeyMaterial::P256(_) => Algorithm::Es256,
        }
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            KeyMaterial::Rsa { modulus: n, exponent: e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            KeyMaterial::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
        }
    }
}

pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Without the zeros that some encoders put first: ring takes none.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use servers::jwt::Issuer;

    use super::*;

    fn parsed(keys: &Json) -> Result<(usize, usize), KeySetError> {
        KeySet::parse(keys.to_string().as_bytes()).map(|set| set.counts())
    }

    #[test]
    fn a_key_of_another_kind_costs_itself_only() {
        let [rsa, p256] = [Issuer::rsa("a"), Issuer::p256("b")].map(|issuer| issuer.public_key());
        let with = |key: &Json, member: &str, value: Json| {
            let mut key = key.clone();
            key[member] = value;
            key
        };
        assert_eq!(parsed(&json!({ "keys": [rsa, p256] })), Ok((2, 0)));
        for unusable in [
            with(&rsa, "use", json!("enc")),
            with(&rsa, "alg", json!("PS256")),
            with(&rsa, "alg", json!("ES256")),
            with(&rsa, "key_ops", json!(["encrypt"])),
            with(&rsa, "n", json!("AQAB")),
            with(&rsa, "n", json!("no base64!")),
            with(&rsa, "d", json!("AQAB")),
            with(&p256, "crv", json!("P-384")),
            with(&p256, "x", json!("AQAB")),
            json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "c" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQAB" }),
            json!({ "kid": "no type" }),
            json!(17),
        ] {
            assert_eq!(parsed(&json!({ "keys": [unusable, p256] })), Ok((1, 1)), "{unusable}");
            assert_eq!(parsed(&json!({ "keys": [unusable] })), Err(KeySetError::NoKey), "{unusable}");
        }
        for usable in [with(&rsa, "use", json!("sig")), with(&rsa, "key_ops", json!(["verify"]))] {
            assert_eq!(parsed(&json!({ "keys": [usable] })), Ok((1, 0)), "{usable}");
        }
    }

    #[test]
    fn a_set_has_limits() {
        let key = Issuer::p256("a").public_key();
        assert_eq!(parsed(&json!({ "keys": vec![key.clone(); KEYS_MAX + 1] })), Err(KeySetError::TooMany));
        let padding = " ".repeat(BYTES_MAX);
        assert_eq!(parsed(&json!({ "keys": [key], "padding": padding })), Err(KeySetError::TooLarge));
        for text in ["", "[]", "{}", "{\"keys\": 1}", "\u{feff}"] {
            assert_eq!(KeySet::parse(text.as_bytes()).map(|set| set.counts()), Err(KeySetError::Form), "{text}");
        }
        assert_eq!(parsed(&json!({ "keys": [] })), Err(KeySetError::NoKey));
    }
}
