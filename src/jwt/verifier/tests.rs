//! Each way in which a token is not one, and that those that are count.

use std::time::Duration;

use serde_json::json;
use servers::jwt::{AUDIENCE, ISSUER, Issuer, claims, key_set, now, token_by_secret, unsigned_token};

use super::*;
use crate::{reload::Reloaded, testing::withstands_mutated};

fn verifier(issuers: &[&Issuer], clock: &Clock) -> Verifier {
    let set = KeySet::parse(key_set(issuers).to_string().as_bytes()).unwrap();
    verifier_of(Reloaded::fixed(set), clock)
}

fn verifier_of(sets: Reloaded<KeySet>, clock: &Clock) -> Verifier {
    let config = AuthSettings {
        jwt_issuer: ISSUER.to_owned(),
        jwt_audience: AUDIENCE.to_owned(),
        jwt_user_claim: "sub".to_owned(),
        ..AuthSettings::default()
    };
    Verifier::new(SigningKeys::of_file(sets), &config, clock.clone())
}

fn refused(verifier: &mut Verifier, token: &str) -> &'static str {
    match verifier.user(token) {
        Err(Refused::Invalid(why)) => why,
        other => panic!("{other:?} for {token}"),
    }
}

fn with(claim: &str, value: Json) -> Json {
    let mut claims = claims("7");
    claims[claim] = value;
    claims
}

#[test]
fn a_token_of_either_algorithm_names_its_user_again_and_again() {
    let (rsa, p256) = (Issuer::rsa("r"), Issuer::p256("e"));
    let mut verifier = verifier(&[&rsa, &p256], &Clock::system());
    for issuer in [&rsa, &p256] {
        let token = issuer.token("user_33Gz");
        for _ in 0..2 {
            assert_eq!(verifier.user(&token).unwrap().as_str(), "user_33Gz");
        }
    }
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let (rsa, p256) = (Issuer::rsa("r"), Issuer::p256("e"));
    let mut verifier = verifier(&[&rsa, &p256], &Clock::system());
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    for alg in ["none", "None", "NONE", "", "HS256", "HS512", "PS256", "RS512", "ES256"] {
        let unsigned = unsigned_token(&header(alg, "r"), &claims("7"));
        assert_eq!(refused(&mut verifier, &unsigned), "algorithm", "{alg}");
        // Signed well, but called otherwise.
        let called = rsa.token_with(&header(alg, "r"), &claims("7"));
        assert_eq!(refused(&mut verifier, &called), "algorithm", "{alg}");
    }
    assert_eq!(refused(&mut verifier, &unsigned_token(&header("RS256", "r"), &claims("7"))), "signature");
    // A public key as the secret of HS256.
    for issuer in [&rsa, &p256] {
        let kid = if issuer.algorithm() == "RS256" { "r" } else { "e" };
        for secret in [issuer.public_bytes(), issuer.public_key().to_string().into_bytes()] {
            let forged = token_by_secret(&secret, &header("HS256", kid), &claims("7"));
            assert_eq!(refused(&mut verifier, &forged), "algorithm");
            let forged = token_by_secret(&secret, &header(issuer.algorithm(), kid), &claims("7"));
            assert_eq!(refused(&mut verifier, &forged), "signature");
        }
    }
    // Another key's token under this key's name.
    assert_eq!(refused(&mut verifier, &p256.token_with(&header("RS256", "r"), &claims("7"))), "signature");
    assert_eq!(refused(&mut verifier, &Issuer::p256("e").token("7")), "signature");
}

#[test]
fn another_issuer_another_audience_and_no_end_are_refused() {
    let issuer = Issuer::p256("e");
    let mut verifier = verifier(&[&issuer], &Clock::system());
    for (claim, value, why) in [
        ("iss", json!("https://evil.example"), "issuer"),
        ("iss", Json::Null, "issuer"),
        ("aud", json!("another service"), "audience"),
        ("aud", Json::Null, "audience"),
        ("exp", Json::Null, "exp or nbf"),
        ("exp", json!(now() - 61), "expired"),
        ("nbf", json!(now() + 120), "not yet valid"),
        ("sub", Json::Null, "no user"),
    ] {
        assert_eq!(refused(&mut verifier, &issuer.token_of(&with(claim, value))), why);
    }
}

#[test]
fn a_token_that_was_accepted_expires_all_the_same() {
    let (issuer, clock) = (Issuer::rsa("r"), Clock::system());
    let mut verifier = verifier(&[&issuer], &clock);
    let token = issuer.token_of(&with("exp", json!(now() + 100)));
    verifier.user(&token).unwrap();
    clock.advance(Duration::from_secs(155));
    verifier.user(&token).expect("a minute of leeway");
    clock.advance(Duration::from_secs(6));
    assert_eq!(refused(&mut verifier, &token), "expired");
}

#[test]
fn what_a_key_accepted_ends_with_the_key() {
    let (old, new, clock) = (Issuer::p256("old"), Issuer::p256("new"), Clock::system());
    let set = |issuer: &Issuer| KeySet::parse(key_set(&[issuer]).to_string().as_bytes()).unwrap();
    let (updates, sets) = Reloaded::first(set(&old));
    let mut verifier = verifier_of(sets, &clock);
    let token = old.token("7");
    verifier.user(&token).unwrap();
    updates.send_replace(Arc::new(set(&new)));
    assert_eq!(refused(&mut verifier, &token), "unknown key");
    verifier.user(&new.token("7")).unwrap();
}

#[test]
fn a_token_without_a_keys_id_means_the_only_key() {
    let (rsa, p256) = (Issuer::rsa("r"), Issuer::p256("e"));
    let token = p256.token_with(&json!({ "alg": "ES256" }), &claims("7"));
    verifier(&[&p256], &Clock::system()).user(&token).unwrap();
    assert_eq!(refused(&mut verifier(&[&rsa, &p256], &Clock::system()), &token), "unknown key");
}

#[test]
fn forms_that_are_not_understood_are_refused() {
    let issuer = Issuer::p256("e");
    let mut verifier = verifier(&[&issuer], &Clock::system());
    let critical = json!({ "alg": "ES256", "kid": "e", "crit": ["b64"], "b64": false });
    assert_eq!(refused(&mut verifier, &issuer.token_with(&critical, &claims("7"))), "a critical extension");
    let long = with("padding", json!("x".repeat(TOKEN_BYTES_MAX)));
    assert_eq!(refused(&mut verifier, &issuer.token_of(&long)), "too long");
    for text in ["", ".", "..", "a.b.c", "e30.e30.", "e30.e30.e30"] {
        assert_eq!(refused(&mut verifier, text), "malformed", "{text}");
    }
    let token = issuer.token("7");
    assert_eq!(refused(&mut verifier, &format!("{token}.AA")), "signature");
    assert_eq!(refused(&mut verifier, &format!("{token}=")), "malformed");
}

#[test]
fn without_keys_no_token_is_judged() {
    let mut verifier = verifier_of(Reloaded::fixed(KeySet::empty()), &Clock::system());
    assert_eq!(verifier.user(&Issuer::p256("e").token("7")), Err(Refused::NoKeys));
}

#[test]
fn any_text_is_a_valid_token_or_refused_and_only_the_signed_one_is_valid() {
    let issuer = Issuer::p256("e");
    let mut verifier = verifier(&[&issuer], &Clock::system());
    let token = issuer.token("7");
    let (mut accepted, mut refusals) = (0, 0);
    withstands_mutated(
        &[token.clone().into_bytes()],
        |length| 64 * length + 64 * 1024,
        |bytes| match verifier.user(&String::from_utf8_lossy(&bytes)) {
            Ok(_) => {
                accepted += 1;
                assert_eq!(bytes, token.as_bytes());
            }
            Err(_) => refusals += 1,
        },
    );
    assert!(refusals > 100, "{accepted} accepted, {refusals} refused");
}
