//! QueryParameters of the application's routes, read as its framework reads them, with errors in that framework's form.

use http::{Response, StatusCode, header};
use serde_json::{Value as Json, json};

use crate::{
    http::{body::HttpBody, reply::JSON},
    planning_json::CallerGeneration,
};

/// The parameters of a query. Unknown ones are ignored, as the application does.
pub(super) struct QueryParameters {
    pairs: Vec<(String, String)>,
    callers: CallerGeneration,
    wrong: Vec<Json>,
}

/// QueryParameters that are missing or wrong.
pub(super) struct WrongParameters(Vec<Json>);

impl QueryParameters {
    pub(super) fn of(query: &str, callers: CallerGeneration) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { pairs, callers, wrong: Vec::new() }
    }

    /// The last of a name counts, as in the application.
    fn find(&self, name: &str) -> Option<String> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn refuse(&mut self, place: &str, name: &str, kind: &str, message: &str) {
        self.wrong.push(json!({ "type": kind, "loc": [place, name], "msg": message }));
    }

    pub(super) fn user(&mut self, name: &str) -> Option<String> {
        let user = self.find(name);
        if user.is_none() {
            self.refuse("query", name, "missing", "Field required");
        }
        self.checked_user("query", name, user?)
    }

    /// A user in the path, which may be percent-encoded.
    pub(super) fn user_in_path(&mut self, user: &str) -> Option<String> {
        // A plus is itself in a path.
        let query = format!("user={}", user.replace('+', "%2B").replace('&', "%26"));
        let user = form_urlencoded::parse(query.as_bytes()).next().map(|(_, user)| user.into_owned());
        self.checked_user("path", "user_id", user?)
    }

    fn checked_user(&mut self, place: &str, name: &str, user: String) -> Option<String> {
        if user.contains(char::REPLACEMENT_CHARACTER) {
            self.refuse(place, name, "value_error", "must be UTF-8");
            return None;
        }
        if self.callers != CallerGeneration::Aug22 {
            return Some(user);
        }
        let number = user.trim().parse::<i64>();
        if number.is_err() {
            self.refuse(place, name, "int_parsing", NO_INTEGER);
        }
        number.ok().map(|number| number.to_string())
    }

    pub(super) fn integer(&mut self, name: &str) -> Option<i64> {
        let number = self.find(name)?.trim().parse();
        if number.is_err() {
            self.refuse("query", name, "int_parsing", NO_INTEGER);
        }
        number.ok()
    }

    /// False if it is not there.
    pub(super) fn switch(&mut self, name: &str) -> bool {
        let Some(text) = self.find(name) else { return false };
        match text.to_lowercase().as_str() {
            "true" | "1" | "t" | "yes" | "y" | "on" => true,
            "false" | "0" | "f" | "no" | "n" | "off" => false,
            _ => {
                self.refuse("query", name, "bool_parsing", NO_BOOLEAN);
                false
            }
        }
    }

    /// All that is wrong, at once.
    pub(super) fn check(self) -> Result<(), WrongParameters> {
        if self.wrong.is_empty() { Ok(()) } else { Err(WrongParameters(self.wrong)) }
    }
}

const NO_INTEGER: &str = "Input should be a valid integer, unable to parse string as an integer";
const NO_BOOLEAN: &str = "Input should be a valid boolean, unable to interpret input";

impl WrongParameters {
    /// The same form for one field that a layer below has refused.
    pub(super) fn field(place: [&str; 2], description: &str) -> Self {
        Self(vec![json!({ "type": "value_error", "loc": place, "msg": description })])
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn response(self) -> Response<HttpBody> {
        let mut response = Response::new(HttpBody::whole(json!({ "detail": self.0 }).to_string().into()));
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> QueryParameters {
        QueryParameters::of(query, CallerGeneration::Newest)
    }

    #[test]
    fn parameters_are_read_as_the_applications_framework_reads_them() {
        let mut read = parameters("user_id=1&user_id=user%5F33&force_refresh=Yes&strategy_id=-7&unknown=x");
        assert_eq!(read.user("user_id").as_deref(), Some("user_33"), "the last counts");
        assert!(read.switch("force_refresh"));
        assert_eq!(read.integer("strategy_id"), Some(-7));
        assert!(read.check().is_ok());
        assert_eq!(parameters("").user_in_path("a%2Fb+c").as_deref(), Some("a/b+c"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut read = parameters("force_refresh=perhaps&strategy_id=many");
        assert_eq!(
            (read.user("user_id"), read.switch("force_refresh"), read.integer("strategy_id")),
            (None, false, None)
        );
        let Err(WrongParameters(wrong)) = read.check() else { panic!("nothing is wrong") };
        let kinds: Vec<_> = wrong.iter().map(|wrong| wrong["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["missing", "bool_parsing", "int_parsing"]);
        assert_eq!(wrong[0], json!({ "type": "missing", "loc": ["query", "user_id"], "msg": "Field required" }));
    }

    #[test]
    fn user_ids_of_august_2025_are_integers() {
        let mut read = QueryParameters::of("user_id=user_33", CallerGeneration::Aug22);
        assert_eq!(read.user("user_id"), None);
        assert!(read.check().is_err());
        for query in ["user_id=7", "user_id=007", "user_id=%2B7", "user_id=%207"] {
            assert_eq!(QueryParameters::of(query, CallerGeneration::Aug22).user("user_id").as_deref(), Some("7"));
        }
    }

    #[test]
    fn an_id_that_is_no_utf_8_is_refused() {
        for callers in [CallerGeneration::Newest, CallerGeneration::Aug22] {
            assert_eq!(QueryParameters::of("user_id=%FF", callers).user("user_id"), None);
            assert_eq!(QueryParameters::of("", callers).user_in_path("%FF"), None);
        }
    }
}
