//! An identity provider: it signs users' tokens, and publishes the keys by which they are checked.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value as Json, json};

/// Who signs, and for whom.
pub const ISSUER: &str = "https://id.example";
pub const AUDIENCE: &str = "userdata";

/// Made for these tests; ring makes no RSA keys.
const RSA: &[u8] = include_bytes!("jwt/rsa-2048.pk8");

/// A key of the provider.
pub struct Issuer {
    id: String,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issuer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Signs by RS256. All have the same key.
    pub fn rsa(id: &str) -> Self {
        Self { id: id.to_owned(), key: Key::Rsa(RsaKeyPair::from_pkcs8(RSA).unwrap()) }
    }

    /// Signs by ES256, with a key of its own.
    pub fn p256(id: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            id: id.to_owned(),
            key: Key::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()),
        }
    }

    /// As a JWKS document has it.
    pub fn public_key(&self) -> Json {
        match &self.key {
            Key::Rsa(key) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "kid": self.id, "n": base64(&n), "e": base64(&e) })
            }
            Key::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": base64(x), "y": base64(y) })
            }
        }
    }

    /// The bytes of the public key, which everyone knows.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => key.public().as_ref().to_vec(),
            Key::P256(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> &'static str {
        match &self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
        }
    }

    /// A token of this user for the next five minutes.
    pub fn token(&self, user: &str) -> String {
        self.token_of(&claims(user))
    }

    pub fn token_of(&self, claims: &Json) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": self.id, "typ": "JWT" }), claims)
    }

    /// Signed by the key's algorithm, whatever the header says.
    pub fn token_with(&self, header: &Json, claims: &Json) -> String {
        let message = message(header, claims);
        let signature = match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Key::P256(key) => key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", base64(&signature))
    }
}

/// A document with these keys.
pub fn key_set(issuers: &[&Issuer]) -> Json {
    json!({ "keys": issuers.iter().map(|issuer| issuer.public_key()).collect::<Vec<_>>() })
}

/// All that a valid token has to say.
pub fn claims(user: &str) -> Json {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": user, "exp": now() + 300 })
}

/// Signed with a secret, as an attacker would who knows a public key only.
pub fn token_by_secret(secret: &[u8], header: &Json, claims: &Json) -> String {
    let message = message(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64(signature.as_ref()))
}

/// Not signed at all.
pub fn unsigned_token(header: &Json, claims: &Json) -> String {
    format!("{}.", message(header, claims))
}

/// Unix time in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn message(header: &Json, claims: &Json) -> String {
    format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
