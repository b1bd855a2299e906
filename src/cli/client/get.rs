//! `userdata get`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json};

use super::{
    super::{
        failure::Failure,
        output::{Output, pairs, table},
    },
    human,
    target::{Target, UserDataClient, duration},
};
use crate::{
    model::{SECTIONS, Section},
    proto::v1::{
        self, CacheInfo, ComprehensiveUserData, GetComprehensiveUserDataRequest, GetComprehensiveUserDataResponse,
        SectionReport,
    },
};

const SECTION_PREFIX: &str = "SECTION_";
/// Characters of a text that the outline shows.
const EXCERPT_CHARS: usize = 48;

/// Get the document of a user.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The user's id
    #[arg(value_name = "USER")]
    user: String,
    /// The strategy; the user's active one if not given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    strategy: Option<i64>,
    /// Read nothing from any cache
    #[arg(long)]
    refresh: bool,
    /// Only these sections, such as onboarding,gap_analysis
    #[arg(long, value_name = "SECTION,..", value_delimiter = ',', value_parser = section)]
    sections: Vec<Section>,
    /// A parameter: JSON if it is JSON, else text; repeatable
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Json)>,
    /// Nothing older than the invalidation that returned this token
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    min_token: String,
    /// How fresh the answer has to be
    #[arg(long, value_name = "WISH", default_value = "default")]
    freshness: FreshnessArg,
    /// Nothing older than this, such as 5s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_age: Option<Duration>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FreshnessArg {
    /// Verified within half a second, or flagged
    Default,
    /// Never unverified, never stale
    Strict,
    /// Newer than every invalidation acknowledged anywhere
    Linearizable,
}

fn section(text: &str) -> Result<Section, String> {
    let section = Section::from_str_name(&format!("{SECTION_PREFIX}{}", text.to_uppercase()));
    section.filter(|section| SECTIONS.contains(section)).ok_or_else(|| {
        let names = SECTIONS.map(|section| section_name(section).to_lowercase());
        format!("expected some of {}", names.join(","))
    })
}

fn parameter(text: &str) -> Result<(String, Json), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

impl GetArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let rpc = async |mut service: UserDataClient, request| service.get_comprehensive_user_data(request).await;
        let reply = self.target.call(self.message(), rpc).await?;
        output.show(self.target.format(), &reply, in_words)
    }

    fn message(&self) -> GetComprehensiveUserDataRequest {
        let parameters: Map<String, Json> = self.parameters.iter().cloned().collect();
        GetComprehensiveUserDataRequest {
            user_id: self.user.clone(),
            strategy_id: self.strategy,
            force_refresh: self.refresh,
            parameters: (!parameters.is_empty()).then(|| parameters.into()),
            sections: self.sections.iter().map(|section| (*section).into()).collect(),
            min_token: self.min_token.clone(),
            freshness: match self.freshness {
                FreshnessArg::Default => v1::Freshness::Default,
                FreshnessArg::Strict => v1::Freshness::Strict,
                FreshnessArg::Linearizable => v1::Freshness::Linearizable,
            }
            .into(),
            max_age: self.max_age.map(Into::into),
        }
    }
}

fn in_words(reply: &GetComprehensiveUserDataResponse) -> String {
    let info = reply.cache_info.clone().unwrap_or_default();
    let sections = reply.sections.iter().map(|report| section_row(report, &info));
    let document = reply.data.as_ref().map(outline).unwrap_or_default();
    [
        head(&info),
        table(["section", "state", "generator", "read", "took", "notes"], sections),
        table(["field", "size", "content"], document),
    ]
    .join("\n\n")
}

fn head(info: &CacheInfo) -> String {
    pairs([
        ("status", human::name(info.status().as_str_name(), "CACHE_STATUS_")),
        ("age", human::duration(info.age.as_ref())),
        ("expires", human::time(info.expires_at.as_ref())),
        ("complete", info.complete.to_string()),
        ("verified", info.verified.to_string()),
        ("token", human::text(&info.token)),
        ("key", human::text(&info.data_hash)),
    ])
}

fn section_row(report: &SectionReport, info: &CacheInfo) -> [String; 6] {
    let notes = [&report.reason, &report.detail].into_iter().chain(&report.warnings).filter(|note| !note.is_empty());
    [
        section_name(report.section()).to_lowercase(),
        human::name(report.state().as_str_name(), "STATE_"),
        human::name(report.generator().as_str_name(), "GENERATOR_"),
        human::ago(report.read_at.as_ref(), info.timestamp.as_ref()),
        human::duration(report.took.as_ref()),
        notes.cloned().collect::<Vec<_>>().join("\n"),
    ]
}

fn section_name(section: Section) -> String {
    human::name(section.as_str_name(), SECTION_PREFIX)
}

/// The document's fields that hold something, with what they hold in a few words; `-o json` shows the rest.
fn outline(document: &ComprehensiveUserData) -> Vec<[String; 3]> {
    let Ok(Json::Object(fields)) = serde_json::to_value(document) else { return Vec::new() };
    let holds = |value: &Json| match value {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let present = fields.into_iter().filter(|(_, value)| holds(value));
    present.map(|(name, value)| [name, human::bytes(value.to_string().len() as u64), excerpt(&value)]).collect()
}

fn excerpt(value: &Json) -> String {
    match value {
        Json::Object(fields) => format!("{} fields", fields.len()),
        Json::Array(items) => format!("{} items", items.len()),
        Json::String(text) if text.chars().count() > EXCERPT_CHARS => {
            format!("{}…", text.chars().take(EXCERPT_CHARS).collect::<String>())
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
