//! Users' tokens: JSON Web Tokens that an identity provider signs, and the keys by which they are checked.
//!
//! A token says who the user is. It is believed if a known key has signed it, and if it names this service as audience,
//! the configured issuer, and an end that has not passed. Nothing is decided here about what a user may do.
//!
//! Decision: checked by hand over `ring`, not by a library. The newest `jsonwebtoken` has no cryptography that this
//! service may use (`deny.toml`), needs one for the whole process, and reads the system's clock; what is left of it are
//! the comparisons in `claims.rs`.
//!
//! Invariant: the key says which algorithm is used, never the token.

mod claims;
mod endpoint;
mod key_set;
mod keys;
mod verifier;

pub use endpoint::KeyEndpointError;
pub use key_set::{KeySet, KeySetError};
pub use keys::{KeySource, SigningKeys};
pub use verifier::{Refused, Verifier};
