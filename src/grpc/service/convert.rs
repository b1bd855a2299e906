//! Requests parsed once, at the edge: the results are valid.
//!
//! All mistakes of a request are reported together, field by field, and never quoted.

use std::{collections::HashSet, time::Duration};

use self::violations::Violations;
use crate::{
    cache::{Freshness, InvalidateOptions, ReadOptions},
    grpc::refusal::Refusal,
    model::{Parameters, Scope, Section, SectionSet, StrategyId, Token, UserDataQuery, UserId},
    proto::{
        self,
        v1::{
            self, CleanupCacheRequest, GetCacheStatsRequest, GetComprehensiveUserDataRequest, InvalidateCacheRequest,
            Wait, WarmCacheRequest, WarmItem,
        },
    },
    text::first_unprintable,
};

mod violations;

/// No tier keeps older documents, so a longer limit would have no effect.
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A line in the audit log.
const REASON_BYTES_MAX: usize = 255;
const MOST_ACCESSED_DEFAULT: u32 = 5;
/// The statistics are for people, who read no longer lists.
const MOST_ACCESSED_MAX: i32 = 100;
const CLEANUP_ROWS_MAX: i32 = 1_000_000;
/// Documents that one call warms: a thousand loads take minutes.
const WARM_ITEMS_MAX: i32 = 1000;
const WARM_CONCURRENCY_DEFAULT: usize = 4;
/// As many as sources may be read at once: warming must leave room for callers that wait.
const WARM_CONCURRENCY_MAX: i32 = 16;
const UNKNOWN_VALUE: &str = "must be a known value";

/// A parsed GetComprehensiveUserData.
#[derive(Clone, Debug, PartialEq)]
pub struct GetRequest {
    /// The question.
    pub query: UserDataQuery,
    /// How fresh the answer has to be.
    pub options: ReadOptions,
    /// Whether to assemble it anew.
    pub refresh: bool,
}

/// A parsed InvalidateCache.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidateRequest {
    /// Whom it concerns.
    pub scope: Scope,
    /// How it is carried out.
    pub how: InvalidateOptions,
    /// Why, for the audit log.
    pub reason: String,
}

/// A parsed WarmCache.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmRequest {
    /// What to load.
    pub what: WarmWhat,
    /// Loads at once.
    pub concurrency: usize,
}

/// Which documents to load.
#[derive(Clone, Debug, PartialEq)]
pub enum WarmWhat {
    /// These, each once.
    Documents(Vec<UserDataQuery>),
    /// That many of the most accessed.
    MostAccessed(u32),
}

/// Parses GetComprehensiveUserData.
pub fn get(request: &GetComprehensiveUserDataRequest) -> Result<GetRequest, Refusal> {
    let mut violations = Violations::default();
    let user = violations.check("user_id", UserId::parse(&request.user_id));
    let strategy = strategy("strategy_id", request.strategy_id, &mut violations);
    let parameters = parameters(request.parameters.as_ref(), &mut violations);
    let sections = sections(&request.sections, &mut violations);
    let options = ReadOptions {
        sections,
        freshness: freshness(request.freshness, &mut violations),
        min_token: min_token(&request.min_token, &mut violations),
        max_age: max_age(request.max_age.as_ref(), &mut violations),
    };
    let (Some(user), Some(parameters)) = (user, parameters) else { return Err(violations.into()) };
    violations.none()?;
    let query = UserDataQuery::new(user, strategy, parameters);
    Ok(GetRequest { query, options, refresh: request.force_refresh })
}

/// Parses InvalidateCache.
pub fn invalidate(request: InvalidateCacheRequest) -> Result<InvalidateRequest, Refusal> {
    let mut violations = Violations::default();
    let user = violations.check("user_id", UserId::parse(&request.user_id));
    let strategy = strategy("strategy_id", request.strategy_id, &mut violations);
    let wait = violations.check("wait", Wait::try_from(request.wait).map_err(|_| UNKNOWN_VALUE));
    if request.reason.len() > REASON_BYTES_MAX {
        violations.add("reason", format!("must have at most {REASON_BYTES_MAX} bytes"));
    }
    if let Some(c) = first_unprintable(&request.reason) {
        violations.add("reason", format_args!("must be printable, and U+{:04X} is not", u32::from(c)));
    }
    let Some(user) = user else { return Err(violations.into()) };
    violations.none()?;
    Ok(InvalidateRequest {
        scope: Scope { user, strategy, sections: SectionSet::ALL },
        how: InvalidateOptions { wait_all: wait == Some(Wait::All), purge: request.purge },
        reason: request.reason,
    })
}

/// Parses GetCacheStats: how many of the most accessed documents to list; none if no database is to be asked.
pub fn stats(request: &GetCacheStatsRequest) -> Result<Option<u32>, Refusal> {
    let limit = match limit("most_accessed_limit", request.most_accessed_limit, MOST_ACCESSED_MAX)? {
        0 => MOST_ACCESSED_DEFAULT,
        limit => limit,
    };
    Ok((!request.instance_only).then_some(limit))
}

/// Parses CleanupCache: how many rows to delete at most; none for all expired ones.
pub fn cleanup(request: &CleanupCacheRequest) -> Result<Option<u64>, Refusal> {
    let limit = limit("limit", request.limit, CLEANUP_ROWS_MAX)?;
    Ok((limit > 0).then_some(limit.into()))
}

/// Parses WarmCache.
pub fn warm(request: &WarmCacheRequest) -> Result<WarmRequest, Refusal> {
    let mut violations = Violations::default();
    let concurrency = within(request.concurrency, WARM_CONCURRENCY_MAX);
    let concurrency = violations.check("concurrency", concurrency).filter(|many| *many > 0);
    let what = what(request, &mut violations);
    let Some(what) = what else { return Err(violations.into()) };
    violations.none()?;
    Ok(WarmRequest { what, concurrency: concurrency.map_or(WARM_CONCURRENCY_DEFAULT, |many| many as usize) })
}

fn limit(field: &str, number: i32, max: i32) -> Result<u32, Refusal> {
    let mut violations = Violations::default();
    violations.check(field, within(number, max)).ok_or_else(|| violations.into())
}

fn strategy(field: &str, id: Option<i64>, violations: &mut Violations) -> Option<StrategyId> {
    violations.check(field, StrategyId::new(id?).ok_or("must be at least 1"))
}

fn parameters(parameters: Option<&proto::Struct>, violations: &mut Violations) -> Option<Parameters> {
    let Some(parameters) = parameters else { return Some(Parameters::none()) };
    Parameters::parse(parameters)
        .map_err(|errors| errors.iter().for_each(|error| violations.add("parameters", error)))
        .ok()
}

fn sections(asked: &[i32], violations: &mut Violations) -> SectionSet {
    if asked.is_empty() {
        return SectionSet::ALL;
    }
    let mut sections = SectionSet::NONE;
    for (index, number) in asked.iter().enumerate() {
        match Section::try_from(*number) {
            Ok(section) if section != Section::Unspecified => sections = sections.with(section),
            _ => violations.add(format!("sections[{index}]"), "must be a known section"),
        }
    }
    sections
}

fn freshness(number: i32, violations: &mut Violations) -> Freshness {
    match violations.check("freshness", v1::Freshness::try_from(number).map_err(|_| UNKNOWN_VALUE)) {
        Some(v1::Freshness::Strict) => Freshness::Strict,
        Some(v1::Freshness::Linearizable) => Freshness::Linearizable,
        Some(v1::Freshness::Unspecified | v1::Freshness::Default) | None => Freshness::Default,
    }
}

fn min_token(text: &str, violations: &mut Violations) -> Option<Token> {
    if text.is_empty() {
        return None;
    }
    violations.check("min_token", text.parse())
}

fn max_age(duration: Option<&proto::Duration>, violations: &mut Violations) -> Option<Duration> {
    let age = Duration::try_from(duration?).ok().filter(|age| *age <= MAX_AGE_MAX);
    violations.check("max_age", age.ok_or("must be between 0 and 24 h"))
}

fn what(request: &WarmCacheRequest, violations: &mut Violations) -> Option<WarmWhat> {
    match (request.items.len(), request.most_accessed) {
        (0, 0) => violations.add("items", "must not be empty unless most_accessed is set"),
        (0, count) => {
            return violations.check("most_accessed", within(count, WARM_ITEMS_MAX)).map(WarmWhat::MostAccessed);
        }
        (_, count) if count != 0 => violations.add("most_accessed", "must be 0 if there are items"),
        (many, _) if many > WARM_ITEMS_MAX as usize => {
            violations.add("items", format_args!("must be at most {WARM_ITEMS_MAX}"));
        }
        _ => return Some(WarmWhat::Documents(documents(&request.items, violations))),
    }
    None
}

/// The items' queries, duplicates merged, in the order asked.
fn documents(items: &[WarmItem], violations: &mut Violations) -> Vec<UserDataQuery> {
    let mut seen = HashSet::new();
    let mut queries = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let user = violations.check(&format!("items[{index}].user_id"), UserId::parse(&item.user_id));
        let strategy = strategy(&format!("items[{index}].strategy_id"), item.strategy_id, violations);
        let Some(user) = user else { continue };
        let query = UserDataQuery::new(user, strategy, Parameters::none());
        if seen.insert(query.key().clone()) {
            queries.push(query);
        }
    }
    queries
}

/// A number of things, 0 to `max`.
fn within(number: i32, max: i32) -> Result<u32, String> {
    u32::try_from(number).ok().filter(|_| number <= max).ok_or_else(|| format!("must be between 0 and {max}"))
}

#[cfg(test)]
mod tests;
