//! A query, parsed once at the edge, and its key.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest, Sha256};

use super::{
    StrategyId, UserId,
    canonical::{CanonicalError, canonical_json},
};
use crate::proto::Struct;

/// User, strategy and parameters of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct UserDataQuery {
    /// The user.
    pub user: UserId,
    /// None: the active strategy.
    pub strategy: Option<StrategyId>,
    parameters: Parameters,
    key: CacheKey,
}

impl UserDataQuery {
    /// Computes the key: one SHA-256 over a few dozen bytes.
    #[must_use]
    pub fn new(user: UserId, strategy: Option<StrategyId>, parameters: Parameters) -> Self {
        let key = CacheKey::new(user.clone(), strategy, &parameters);
        Self { user, strategy, parameters, key }
    }

    #[must_use]
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// Parameters in their canonical text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("must have at most {} entries at the top level", Parameters::ENTRIES_MAX)]
    TooManyEntries,
    #[error("must have at most {} bytes as canonical JSON", Parameters::BYTES_MAX)]
    TooLarge,
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl Parameters {
    /// Parameters select a variant of a document; they are no payload.
    pub const ENTRIES_MAX: usize = 32;
    /// Of canonical JSON.
    pub const BYTES_MAX: usize = 4096;

    #[must_use]
    pub fn none() -> Self {
        Self("{}".to_owned())
    }

    /// Reports all violated limits.
    pub fn parse(parameters: &Struct) -> Result<Self, Vec<QueryError>> {
        let mut errors = Vec::new();
        if parameters.fields.len() > Self::ENTRIES_MAX {
            errors.push(QueryError::TooManyEntries);
        }
        match canonical_json(parameters) {
            Ok(text) if text.len() > Self::BYTES_MAX => errors.push(QueryError::TooLarge),
            Ok(text) if errors.is_empty() => return Ok(Self(text)),
            Ok(_) => {}
            Err(error) => errors.push(error.into()),
        }
        Err(errors)
    }

    /// The canonical JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of `{user}_{strategy or None}_{parameters}`: the plan's formula.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataHash([u8; 32]);

impl DataHash {
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hex digits.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let lower_case = !digits.bytes().any(|digit| digit.is_ascii_uppercase());
        lower_case.then(|| hex::decode_to_slice(digits, &mut hash).ok())?.map(|()| Self(hash))
    }
}

impl fmt::Display for DataHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).expect("two digits a byte");
        formatter.write_str(std::str::from_utf8(&digits).expect("hex digits"))
    }
}

impl fmt::Debug for DataHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The key of a document: the hash, with user and strategy, by which documents are invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKey {
    pub hash: DataHash,
    /// The user.
    pub user: UserId,
    pub strategy: Option<StrategyId>,
}

impl CacheKey {
    fn new(user: UserId, strategy: Option<StrategyId>, parameters: &Parameters) -> Self {
        let mut digest = Sha256::new();
        digest.update(user.as_str());
        match strategy {
            Some(strategy) => digest.update(format!("_{}_", strategy.get())),
            None => digest.update("_None_"),
        }
        digest.update(parameters.as_str());
        Self { hash: DataHash(digest.finalize().into()), user, strategy }
    }
}

/// Bytes of a digest are uniform already, so eight of them are enough.
impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.hash.0[..8]);
        state.write_u64(u64::from_le_bytes(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(user: &str, strategy: Option<i64>) -> String {
        let user = UserId::parse(user).unwrap();
        UserDataQuery::new(user, strategy.and_then(StrategyId::new), Parameters::none()).key().hash.to_string()
    }

    #[test]
    fn data_hashes_are_those_of_the_plans_formula() {
        for (user, strategy, expected) in [
            ("1", None, "b344bf28a524085fa6df83d7a5bd26eb42474d30bc53d793e08eff8586b9504d"),
            ("1", Some(1), "158353a02182990af38afd903ae118c016af9e76d0d96fe3ff3d79cd4afc5b67"),
            ("42", Some(7), "21f0ed58837c550b377dc329912665a7d5151dbb30e8412792df4acd53b7893b"),
            ("user_33Gz1FPI86V", None, "9cda3061c1f894b6958fe3345e996ba207b3c636daa3721ef57914e0e17c23d4"),
        ] {
            assert_eq!(hash(user, strategy), expected);
            assert_eq!(DataHash::parse(expected).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn numbers_print_as_python_prints_them() {
        let text = |number: f64| {
            let value = crate::proto::Kind::NumberValue(number).into();
            canonical_json(&Struct { fields: [("n".to_owned(), value)].into() }).unwrap()
        };
        for (number, expected) in [
            (1.0, "1"),
            (-0.0, "0"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (9_007_199_254_740_992.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680_000.0, "1.2345678901234568e+20"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (123_456.789, "123456.789"),
            // As near to ..25.3: the even one.
            (-784_672_282_232_325.3, "-784672282232325.2"),
            (784_672_282_232_325.8, "784672282232325.8"),
        ] {
            assert_eq!(text(number), format!(r#"{{"n": {expected}}}"#));
        }
    }

    #[test]
    fn text_form_is_the_designs_example() {
        let parameters: Struct = serde_json::from_str(r#"{"z": 0.1, "a": {"b": [], "é": "😀/\t"}}"#).unwrap();
        let expected = r#"{"a": {"b": [], "\u00e9": "\ud83d\ude00/\t"}, "z": 0.1}"#;
        assert_eq!(canonical_json(&parameters).unwrap(), expected);
    }

    #[test]
    fn parameters_report_every_violated_limit() {
        let many = Struct {
            fields: (0..33).map(|n| (n.to_string(), crate::proto::Kind::NumberValue(f64::NAN).into())).collect(),
        };
        assert_eq!(
            Parameters::parse(&many).unwrap_err(),
            [QueryError::TooManyEntries, QueryError::Canonical(CanonicalError::NotFinite)]
        );
        let large =
            Struct { fields: [("k".to_owned(), crate::proto::Kind::StringValue("x".repeat(4096)).into())].into() };
        assert_eq!(Parameters::parse(&large).unwrap_err(), [QueryError::TooLarge]);
    }
}
