//! What an answer has to be: the sources as they are now, with nothing read again that no change concerns.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use prost::Message as _;
use serde_json::Value as Json;
use userdata::{
    aggregate::{AggregateError, Plan},
    cache::ReadOptions,
    error::Error,
    model::{
        Parameters, SECTIONS, Section, SectionSet, Served, State, StrategyId, UserDataQuery, UserId,
        section::DOCUMENT_ORDER,
    },
    proto::v1::ComprehensiveUserData,
};

use super::ground::{Concerned, Ground};

/// Whose rows are changed and who is asked for. Of the demo's stories: everything there is, two strategies, none that is
/// active, broken columns, both kinds under one number, no number.
pub(super) const USERS: [&str; 6] = ["1", "6", "5", "28", "30", "demo_anna"];
const QUESTIONS: [(&str, Option<i64>); 10] = [
    ("1", None),
    ("6", None),
    ("5", None),
    ("28", None),
    ("30", None),
    ("demo_anna", None),
    ("1", Some(12)),
    ("6", Some(63)),
    ("5", Some(51)),
    ("30", Some(302)),
];

/// One of the questions.
pub(super) fn question(place: usize) -> UserDataQuery {
    let (user, strategy) = QUESTIONS[place];
    UserDataQuery::new(UserId::parse(user).unwrap(), strategy.and_then(StrategyId::new), Parameters::none())
}

/// The questions about these users.
pub(super) fn questions_about(concerned: &Concerned) -> Vec<usize> {
    (0..QUESTIONS.len()).filter(|place| concerned.contains_key(QUESTIONS[*place].0)).collect()
}

/// How many questions there are.
pub(super) const fn questions() -> usize {
    QUESTIONS.len()
}

/// What is known of one question's documents.
#[derive(Debug, Default)]
struct Known {
    /// When each section of a document that was handed out had been read.
    read_at: BTreeMap<i32, BTreeSet<DateTime<Utc>>>,
    /// What changes have concerned since it was last judged.
    concerned: BTreeSet<i32>,
    strategy: Option<Json>,
}

/// What has been answered so far.
#[derive(Debug, Default)]
pub(super) struct Judge {
    known: BTreeMap<usize, Known>,
    pub(super) judged: usize,
    pub(super) read_again: usize,
}

impl Judge {
    /// A change was committed: what it concerns may be read again.
    pub(super) fn expect(&mut self, concerned: &Option<Concerned>) {
        let Some(concerned) = concerned else { return };
        for place in questions_about(concerned) {
            let sections = &concerned[QUESTIONS[place].0];
            let sections: SectionSet =
                SECTIONS.into_iter().filter(|section| sections.contains(&(*section as i32))).collect();
            let known = self.known.entry(place).or_default();
            known.concerned.extend(sections.with_dependents().iter().map(|section| section as i32));
        }
    }

    /// An answer of a load that a change may have overtaken: only when it was read is known of it.
    pub(super) fn hear(&mut self, place: usize, answer: &Result<Served, Error>) {
        let Ok(served) = answer else { return };
        let known = self.known.entry(place).or_default();
        for section in &served.snapshot.sections {
            known.read_at.entry(section.facts.section as i32).or_default().insert(section.facts.read_at);
        }
    }

    /// Asks one instance, which has read the log since the last change was relayed.
    pub(super) async fn judge(&mut self, ground: &Ground, member: usize, place: usize) -> Result<(), String> {
        let query = question(place);
        let cache = &ground.members[member].cache;
        cache.invalidation_log().catch_up().await.map_err(|error| error.to_string())?;
        let answer = cache.get(&query, &ReadOptions::default()).await;
        self.judged += 1;
        let wrong = |what: String| format!("{:?} at {member}: {what}", QUESTIONS[place]);
        // Its windows end when it was read.
        let as_of = answer.as_ref().map_or_else(|_| ground.clock.utc(), |served| read_at(served, Section::Performance));
        let plan = Plan {
            sections: SectionSet::ALL,
            as_of,
            refresh: false,
            budget: std::time::Duration::from_secs(120),
            onboarding: None,
            ai_calls: None,
        };
        // On the heap: the sources' statements make it large.
        let fresh = Box::pin(ground.sources.aggregate(&query, &plan)).await;
        let (served, fresh) = match (answer, fresh) {
            (Ok(served), Ok(fresh)) => (served, fresh),
            (Err(Error::NotFound { .. }), Err(AggregateError::UnknownUser | AggregateError::UnknownStrategy)) => {
                self.known.remove(&place);
                return Ok(());
            }
            (served, fresh) => {
                let served = served.map(|served| served.status);
                return Err(wrong(format!("{served:?}, but the sources say {:?}", fresh.map(|fresh| fresh.strategy))));
            }
        };
        let known = self.known.entry(place).or_default();
        let strategy = document(&served.snapshot.select(SectionSet::NONE.with(Section::Strategy)));
        let strategy = Some(serde_json::json!([
            strategy.pointer("/strategy_data/kind"),
            strategy.pointer("/strategy_data/strategy_id")
        ]));
        let switched = std::mem::replace(&mut known.strategy, strategy.clone()) != strategy;
        for section in DOCUMENT_ORDER {
            let sealed = served.snapshot.section(section).ok_or_else(|| wrong(format!("{section:?} is missing")))?;
            let part = fresh.parts.iter().find(|part| part.facts.section == section).unwrap();
            let expected = (part.facts.state, document(&part.bytes));
            let found = (sealed.facts.state, document(&served.snapshot.payload.slice(sealed.range.clone())));
            if found != expected || matches!(found.0, State::Failed | State::Stale) {
                let (status, differs) = (served.status, difference(&found.1, &expected.1));
                return Err(wrong(format!("{section:?}, {status:?}, {:?} for {:?}: {differs}", found.0, expected.0)));
            }
            let read_before = known.read_at.entry(section as i32).or_default();
            let first = read_before.is_empty();
            if read_before.insert(sealed.facts.read_at) && !first {
                self.read_again += 1;
                let may = known.concerned.contains(&(section as i32)) || (switched && section != Section::Onboarding);
                if !may {
                    return Err(wrong(format!("{section:?} was read again, but nothing of it was touched")));
                }
            }
        }
        Ok(())
    }

    /// It has been judged at every instance: from now on nothing of it may be read again.
    pub(super) fn settle(&mut self, place: usize) {
        if let Some(known) = self.known.get_mut(&place) {
            known.concerned.clear();
        }
    }
}

fn read_at(served: &Served, section: Section) -> DateTime<Utc> {
    served.snapshot.section(section).map_or(served.snapshot.as_of, |section| section.facts.read_at)
}

/// A section without what changes without being a change: when a row was last saved (docs/data.md, section 13), and when
/// the rules were applied.
fn document(bytes: &[u8]) -> Json {
    let document = ComprehensiveUserData::decode(bytes).unwrap();
    let mut json = serde_json::to_value(document).unwrap();
    remove(&mut json);
    json
}

fn remove(json: &mut Json) {
    match json {
        Json::Object(members) => {
            members.retain(|key, _| !["updated_at", "last_analyzed_at", "analysis_date"].contains(&key.as_str()));
            members.values_mut().for_each(remove);
        }
        Json::Array(items) => items.iter_mut().for_each(remove),
        _ => {}
    }
}

/// Where two documents differ first, and how.
fn difference(found: &Json, expected: &Json) -> String {
    match (found, expected) {
        (Json::Object(left), Json::Object(right)) => {
            let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            let differs = keys.into_iter().find(|key| left.get(*key) != right.get(*key));
            differs.map_or_else(String::new, |key| {
                let of = |of: &serde_json::Map<String, Json>| of.get(key).cloned().unwrap_or_default();
                format!("{key}.{}", difference(&of(left), &of(right)))
            })
        }
        (Json::Array(left), Json::Array(right)) if left.len() == right.len() => {
            let place = left.iter().zip(right).position(|(left, right)| left != right).unwrap_or_default();
            format!("{place}.{}", difference(&left[place], &right[place]))
        }
        _ => format!(" {found} for {expected}"),
    }
}
