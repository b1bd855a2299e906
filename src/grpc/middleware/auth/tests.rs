//! Who may call what, by tokens, certificates and users' own tokens.

use std::sync::Arc;

use serde_json::json;
use servers::jwt::{AUDIENCE, ISSUER, Issuer, claims, key_set, now};
use tonic::Code;

use super::*;
use crate::{
    clock::Clock,
    config::AuthSettings,
    grpc::{refusal::Outcome, request_id::RequestId, status},
    jwt::{KeySet, SigningKeys},
    model::UserId,
};

const READER: &str = "reader's token";

fn tokens() -> Auth {
    let lines: String = [("reader", READER), ("writer", "writer's"), ("operator", "operator's")]
        .map(|(role, token)| format!("{role} {} the-{role}\n", hex::encode(digest(token))))
        .concat();
    Auth::new(Services::Token(Reloaded::fixed(Callers::tokens(&lines).unwrap())), None)
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
    for (token, allowed) in
        [(READER, &[Get][..]), ("writer's", &[Get, Invalidate]), ("operator's", &[Invalidate, Stats, Cleanup, Warm])]
    {
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
    let mut auth = Auth::new(certificates(), None);
    let mut admit = |uri| {
        let admitted = auth.admit(Method::Get, &bearing(READER), uri);
        admitted.map(|caller| caller.name).map_err(|refusal| told(&refusal).code())
    };
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

fn certificates() -> Services {
    Services::Certificate(Reloaded::fixed(Callers::uris("reader spiffe://plan/web web\n").unwrap()))
}

fn users(issuer: &Issuer) -> Verifier {
    let set = KeySet::parse(key_set(&[issuer]).to_string().as_bytes()).unwrap();
    let config =
        AuthSettings { jwt_issuer: ISSUER.to_owned(), jwt_audience: AUDIENCE.to_owned(), ..AuthSettings::default() };
    Verifier::new(SigningKeys::of_file(Reloaded::fixed(set)), &config, Clock::system())
}

#[test]
fn a_users_token_counts_beside_tokens_and_certificates_for_reading_and_invalidating() {
    let issuer = Issuer::p256("e");
    let token = issuer.token("7");
    let Auth { services, .. } = tokens();
    for services in [services, certificates(), Services::Closed] {
        let auth = Auth::new(services, Some(users(&issuer)));
        for method in Method::ALL {
            use Method::{Get, Health, Invalidate, Reflection, Unknown};
            let may = [Get, Invalidate, Health, Reflection, Unknown].contains(&method);
            let expected = if may { Code::Ok } else { Code::PermissionDenied };
            assert_eq!(code(&auth, method, &bearing(&token)), expected, "{method:?}");
        }
        let expired = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "7", "exp": now() - 120 });
        for token in [issuer.token_of(&expired), Issuer::p256("e").token("7"), "a.b.c".to_owned()] {
            assert_eq!(code(&auth, Method::Get, &bearing(&token)), Code::Unauthenticated, "{token}");
        }
    }
}

#[test]
fn a_service_that_passes_a_users_token_on_lends_it_no_rights() {
    let issuer = Issuer::p256("e");
    let mut auth = Auth::new(certificates(), Some(users(&issuer)));
    let web = Some("spiffe://plan/web");
    let [own, other] = ["7", "8"].map(|id| UserId::parse(id).unwrap());
    let caller = auth.admit(Method::Get, &bearing(&issuer.token("7")), web).unwrap();
    caller.may_concern(&own).unwrap();
    assert_eq!(told(&caller.may_concern(&other).unwrap_err()).code(), Code::PermissionDenied);
    let expired = issuer.token_of(&{
        let mut claims = claims("7");
        claims["exp"] = json!(now() - 120);
        claims
    });
    let refused = auth.admit(Method::Get, &bearing(&expired), web).unwrap_err();
    assert_eq!(told(&refused).code(), Code::Unauthenticated, "its certificate does not stand in");
    let caller = auth.admit(Method::Get, &bearing("opaque"), web).unwrap();
    assert_eq!(caller.name, Some(Arc::from("web")));
    caller.may_concern(&other).unwrap();
}
