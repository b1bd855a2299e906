//! What a token has to say: issuer, audience, end and user (RFC 7519, section 4.1).

use serde_json::{Map, Value as Json};

use crate::model::UserId;

/// The clocks of provider and service differ by less, in seconds.
const LEEWAY: i64 = 60;

/// What tokens have to say.
#[derive(Debug)]
pub(super) struct ClaimRules {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// The claim that names the user.
    pub(super) user_claim: String,
}

/// What a token says whose signature is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) user: UserId,
    /// In seconds of Unix time, with leeway.
    from: i64,
    until: i64,
}

/// A claim that is wrong or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongClaim {
    Issuer,
    Audience,
    Times,
    User,
}

impl ClaimRules {
    /// Whether the times hold now is another question, asked at each request.
    pub(super) fn judge(&self, claims: &Map<String, Json>) -> Result<Accepted, WrongClaim> {
        if claims.get("iss").and_then(Json::as_str) != Some(&self.issuer) {
            return Err(WrongClaim::Issuer);
        }
        if !claims.get("aud").is_some_and(|audience| self.is_meant(audience)) {
            return Err(WrongClaim::Audience);
        }
        let expires = claims.get("exp").and_then(seconds).ok_or(WrongClaim::Times)?;
        let begins = match claims.get("nbf") {
            Some(begins) => seconds(begins).ok_or(WrongClaim::Times)?,
            None => i64::MIN,
        };
        let user = claims.get(&self.user_claim).and_then(user).ok_or(WrongClaim::User)?;
        Ok(Accepted { user, from: begins.saturating_sub(LEEWAY), until: expires.saturating_add(LEEWAY) })
    }

    /// One audience, or several.
    fn is_meant(&self, audience: &Json) -> bool {
        match audience {
            Json::String(name) => *name == self.audience,
            Json::Array(names) => names.iter().any(|name| name.as_str() == Some(&self.audience)),
            _ => false,
        }
    }
}

impl Accepted {
    pub(super) fn has_begun(&self, now: i64) -> bool {
        now >= self.from
    }

    pub(super) fn has_expired(&self, now: i64) -> bool {
        now >= self.until
    }
}

/// A NumericDate may have a fraction, which is cut off.
#[expect(clippy::cast_possible_truncation, reason = "what does not fit becomes the first or the last second")]
fn seconds(date: &Json) -> Option<i64> {
    date.as_i64().or_else(|| date.as_f64().map(|seconds| seconds.floor() as i64))
}

/// An integer id is the user of that decimal number, as in requests.
fn user(claim: &Json) -> Option<UserId> {
    match claim {
        Json::String(id) => UserId::parse(id).ok(),
        Json::Number(id) if id.is_i64() || id.is_u64() => UserId::parse(&id.to_string()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(claims: Json) -> Result<Accepted, WrongClaim> {
        let rules =
            ClaimRules { issuer: "https://id.example".into(), audience: "userdata".into(), user_claim: "sub".into() };
        let Json::Object(claims) = claims else { panic!("an object") };
        rules.judge(&claims)
    }

    #[test]
    fn issuer_audience_end_and_user_are_required() {
        let whole = json!({ "iss": "https://id.example", "aud": "userdata", "exp": 1_000, "sub": "7" });
        assert_eq!(judged(whole.clone()).unwrap().user.as_str(), "7");
        for (claim, wrong, error) in [
            ("iss", json!(["https://id.example"]), WrongClaim::Issuer),
            ("iss", json!("https://id.example/"), WrongClaim::Issuer),
            ("iss", Json::Null, WrongClaim::Issuer),
            ("aud", json!("user"), WrongClaim::Audience),
            ("aud", json!([]), WrongClaim::Audience),
            ("aud", json!(["other", 1]), WrongClaim::Audience),
            ("aud", json!({ "userdata": true }), WrongClaim::Audience),
            ("aud", Json::Null, WrongClaim::Audience),
            ("exp", json!("1000"), WrongClaim::Times),
            ("exp", Json::Null, WrongClaim::Times),
            ("nbf", json!("soon"), WrongClaim::Times),
            ("nbf", Json::Null, WrongClaim::Times),
            ("sub", json!(""), WrongClaim::User),
            ("sub", json!(1.5), WrongClaim::User),
            ("sub", json!(["7"]), WrongClaim::User),
            ("sub", Json::Null, WrongClaim::User),
        ] {
            let mut claims = whole.clone();
            claims[claim] = wrong;
            assert_eq!(judged(claims.clone()), Err(error), "{claims}");
            if claim != "nbf" {
                claims.as_object_mut().unwrap().remove(claim);
                assert_eq!(judged(claims.clone()), Err(error), "{claims}");
            }
        }
        let mut several = whole;
        several["aud"] = json!(["other", "userdata"]);
        several["sub"] = json!(42);
        assert_eq!(judged(several).unwrap().user.as_str(), "42");
    }

    #[test]
    fn times_have_a_minute_of_leeway_and_no_more() {
        let claims = json!({ "iss": "https://id.example", "aud": "userdata", "exp": 1_000.9, "nbf": 500, "sub": "7" });
        let accepted = judged(claims).unwrap();
        assert!(!accepted.has_begun(439) && accepted.has_begun(440));
        assert!(!accepted.has_expired(1_059) && accepted.has_expired(1_060));
        let never = json!({ "iss": "https://id.example", "aud": "userdata", "exp": 1e300, "sub": "7" });
        assert!(!judged(never).unwrap().has_expired(i64::MAX - 1));
    }
}
