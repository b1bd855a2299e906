//! `ai_response_cache`: the cache of AI responses. A row is a function of its key, so it never becomes outdated. It is
//! deleted when it has been unused for 30 days, or when the user whose request caused it is erased.
//!
//! A row without a model's name says that the last response could not be used, and how often that happened in a row. It
//! never replaces an answer. Code from before these rows cannot read them, and asks again.

mod encrypted;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait, OnConflict, Query},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{answer::ModelAnswer, failure::FailureReason, input::ResponseKey, reply::Usage};
use crate::{
    database::{self, Dialect, Pool, read_time},
    entity::ai_response,
    model::UserId,
    privacy::{KeyError, UserKeys},
    proto::v1::AiAnalysisResults,
};

/// `last_used_at` is written when it is this old, so that not every hit is a write.
const USE_WRITTEN_EVERY: TimeDelta = TimeDelta::days(1);
const UNUSED_MAX: TimeDelta = TimeDelta::days(30);

/// The table, in the cache's own database.
#[derive(Clone, Debug)]
pub struct ResponseCache {
    pool: Pool,
    /// None: responses are in clear.
    encryption: Option<Arc<UserKeys>>,
}

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResponseCacheError {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// An answer and its origin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CachedResponse {
    pub(super) key: ResponseKey,
    pub(super) answer: ModelAnswer,
    pub(super) model: String,
    pub(super) prompt_version: String,
    pub(super) usage: Usage,
    pub(super) created_at: DateTime<Utc>,
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Remembered {
    Answer(CachedResponse),
    Unusable(UnusableResponse),
    /// A row that cannot be read: it counts as nothing, and is replaced.
    Unreadable,
}

/// The last response to an input, which could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct UnusableResponse {
    pub(super) reason: FailureReason,
    /// In a row, this one included.
    pub(super) times: u32,
    /// The row's `created_at`.
    #[serde(skip)]
    pub(super) at: DateTime<Utc>,
}

/// The member of `response` that holds an [`UnusableResponse`].
const UNUSABLE: &str = "unusable";

impl CachedResponse {
    /// The message. The caller adds the strategy.
    pub(super) fn results(&self) -> AiAnalysisResults {
        AiAnalysisResults {
            analysis_date: Some(self.created_at.into()),
            model: Some(self.model.clone()),
            prompt_version: Some(self.prompt_version.clone()),
            prompt_tokens: self.usage.prompt_tokens,
            completion_tokens: self.usage.completion_tokens,
            request_hash: Some(self.key.as_str().to_owned()),
            ..self.answer.results()
        }
    }
}

impl ResponseCache {
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { pool, encryption: None }
    }

    /// Encrypts responses by the keys of the users whose loads have caused them. What says that a response could not be used
    /// stays in clear: it holds a reason from a closed list, and a number.
    #[must_use]
    pub fn encrypted_by(self, encryption: Option<Arc<UserKeys>>) -> Self {
        Self { encryption, ..self }
    }

    /// A condition: a response is stored under a key.
    pub(super) fn is_stored(&self, key: &ResponseKey) -> Expr {
        let stored = ai_response::Entity::find_by_id(key.as_str()).select_only().expr(Expr::cust("1"));
        Expr::exists(stored.into_query())
    }

    /// What is stored under a key. Notes its use.
    pub(super) async fn find(
        &self,
        key: &ResponseKey,
        now: DateTime<Utc>,
    ) -> Result<Option<Remembered>, ResponseCacheError> {
        use ai_response::Column;
        let dialect = Dialect::of(&self.pool);
        let times = [Column::CreatedAt, Column::LastUsedAt].map(|time| dialect.time_text(Expr::col(time)));
        let [created_at, last_used_at] = times;
        let stored = Query::select()
            .columns([Column::UserId, Column::Model, Column::PromptVersion, Column::Response])
            .columns([Column::PromptTokens, Column::CompletionTokens])
            .expr_as(created_at, "created_at")
            .expr_as(last_used_at, "last_used_at")
            .from(ai_response::Entity)
            .and_where(Expr::col(Column::RequestHash).eq(key.as_str()))
            .to_owned();
        let Some(row) = self.pool.query_one_raw(dialect.build(&stored)).await? else { return Ok(None) };
        let found = match StoredResponse::of(&row) {
            Ok(row) => self.decrypted(row, key).await?.and_then(|row| Ok((row.last_used_at, row.read(key)?))),
            Err(why) => Err(why),
        };
        let (last_used_at, remembered) = match found {
            Ok(found) => found,
            Err(why) => {
                tracing::warn!(key = key.as_str(), why, "cached AI response cannot be read; the model is asked again");
                return Ok(Some(Remembered::Unreadable));
            }
        };
        if last_used_at <= now - USE_WRITTEN_EVERY
            && let Err(error) = self.note_use(key, now).await
        {
            // At worst, the response is swept too early and the model asked again.
            tracing::warn!(%error, "use of a cached AI response could not be noted");
        }
        Ok(Some(remembered))
    }

    async fn note_use(&self, key: &ResponseKey, now: DateTime<Utc>) -> Result<(), DbErr> {
        ai_response::Entity::update_many()
            .col_expr(ai_response::Column::LastUsedAt, Expr::value(now.naive_utc()))
            .filter(ai_response::Column::RequestHash.eq(key.as_str()))
            .exec(&self.pool)
            .await?;
        Ok(())
    }

    /// Stores a new response, unless another process was first: then returns the stored one.
    pub(super) async fn keep(
        &self,
        user: &UserId,
        fresh: CachedResponse,
    ) -> Result<CachedResponse, ResponseCacheError> {
        let first = OnConflict::column(ai_response::Column::RequestHash).do_nothing().to_owned();
        let rows = self.insert(user, &fresh, first).await?;
        if rows > 0 {
            return Ok(fresh);
        }
        match self.find(&fresh.key, fresh.created_at).await? {
            Some(Remembered::Answer(theirs)) => Ok(theirs),
            // The stored one cannot be used or read, or was erased meanwhile.
            Some(Remembered::Unusable(_) | Remembered::Unreadable) | None => self.overwrite(user, fresh).await,
        }
    }

    /// Stores a new response in place of any other.
    pub(super) async fn overwrite(
        &self,
        user: &UserId,
        fresh: CachedResponse,
    ) -> Result<CachedResponse, ResponseCacheError> {
        self.insert(user, &fresh, replacing()).await?;
        Ok(fresh)
    }

    /// Remembers that a response could not be used, unless there is an answer under this key.
    pub(super) async fn note_unusable(
        &self,
        user: &UserId,
        key: &ResponseKey,
        reason: FailureReason,
        now: DateTime<Utc>,
    ) -> Result<(), ResponseCacheError> {
        let model = Expr::col((ai_response::Entity, ai_response::Column::Model));
        let no_answer = replacing().action_and_where(model.eq("")).to_owned();
        let (times, conflict) = match self.find(key, now).await? {
            Some(Remembered::Answer(_)) => return Ok(()),
            Some(Remembered::Unusable(before)) => (before.times.saturating_add(1), no_answer),
            None => (1, no_answer),
            // Its model may be anything. At worst an answer is lost that another process has just stored, and asked again.
            Some(Remembered::Unreadable) => (1, replacing()),
        };
        let row = unusable_row(user, key, &UnusableResponse { reason, times, at: now });
        self.write(row, conflict).await?;
        Ok(())
    }

    async fn insert(
        &self,
        user: &UserId,
        fresh: &CachedResponse,
        conflict: OnConflict,
    ) -> Result<u64, ResponseCacheError> {
        let mut row = row(user, fresh);
        if let Some(keys) = &self.encryption {
            row.response = Set(encrypted::encrypt(fresh.answer.as_json(), user, &fresh.key, keys).await?);
        }
        Ok(self.write(row, conflict).await?)
    }

    /// The row with its response in clear, or why it cannot be read.
    async fn decrypted(
        &self,
        row: StoredResponse,
        key: &ResponseKey,
    ) -> Result<Result<StoredResponse, String>, ResponseCacheError> {
        // Without a model's name the row says that a response could not be used.
        let Some(keys) = self.encryption.as_ref().filter(|_| !row.model.is_empty()) else { return Ok(Ok(row)) };
        let response = encrypted::decrypt(&row.response, &row.user, key, keys).await?;
        Ok(response.map(|response| StoredResponse { response, ..row }))
    }

    /// Repeats while another writer holds the database, because the call is already paid for.
    async fn write(&self, row: ai_response::ActiveModel, conflict: OnConflict) -> Result<u64, DbErr> {
        let insert = || {
            let row = ai_response::Entity::insert(row.clone()).on_conflict(conflict.clone());
            row.exec_without_returning(&self.pool)
        };
        database::repeat_while(database::is_busy, insert).await
    }

    /// Deletes the response that a user's load has stored.
    pub(super) async fn forget(&self, user: &UserId, key: &ResponseKey) -> Result<(), DbErr> {
        let delete = || async {
            let transaction = self.pool.begin_durable().await?;
            let stored = ai_response::Entity::delete_many()
                .filter(ai_response::Column::RequestHash.eq(key.as_str()))
                .filter(ai_response::Column::UserId.eq(user.as_str()));
            stored.exec(&transaction).await?;
            transaction.commit().await
        };
        database::repeat_while(database::is_busy, delete).await
    }

    /// Deletes at most `rows_max` rows that have been unused for 30 days. Returns their number.
    pub async fn sweep(&self, now: DateTime<Utc>, rows_max: u64) -> Result<u64, DbErr> {
        let unused = Query::select()
            .column(ai_response::Column::RequestHash)
            .from(ai_response::Entity)
            .and_where(Expr::col(ai_response::Column::LastUsedAt).lte((now - UNUSED_MAX).naive_utc()))
            .limit(rows_max)
            .to_owned();
        let deleted = ai_response::Entity::delete_many()
            .filter(ai_response::Column::RequestHash.in_subquery(unused))
            .exec(&self.pool)
            .await?;
        Ok(deleted.rows_affected)
    }
}

/// Replaces the row under the same key.
fn replacing() -> OnConflict {
    use ai_response::Column;
    OnConflict::column(Column::RequestHash)
        .update_columns([
            Column::UserId,
            Column::Model,
            Column::PromptVersion,
            Column::Response,
            Column::PromptTokens,
            Column::CompletionTokens,
            Column::CreatedAt,
            Column::LastUsedAt,
        ])
        .to_owned()
}

/// A row, whatever stands in it. What cannot be read is asked for again, and replaced.
struct StoredResponse {
    user: String,
    model: String,
    prompt_version: String,
    response: Json,
    usage: Usage,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

impl StoredResponse {
    fn of(row: &QueryResult) -> Result<Self, String> {
        let columns = || -> Result<_, DbErr> {
            let usage = Usage {
                prompt_tokens: row.try_get("", "prompt_tokens")?,
                completion_tokens: row.try_get("", "completion_tokens")?,
            };
            let texts = (row.try_get("", "user_id")?, row.try_get("", "model")?, row.try_get("", "prompt_version")?);
            let times: [String; 2] = [row.try_get("", "created_at")?, row.try_get("", "last_used_at")?];
            Ok((texts, row.try_get("", "response")?, usage, times))
        };
        let ((user, model, prompt_version), response, usage, times) =
            columns().map_err(|_| "a column of another type")?;
        let [Some(created_at), Some(last_used_at)] = times.map(|time| read_time(&time)) else {
            return Err("a time out of range".to_owned());
        };
        Ok(Self { user, model, prompt_version, response, usage, created_at, last_used_at })
    }

    fn read(self, key: &ResponseKey) -> Result<Remembered, String> {
        let Self { model, prompt_version, response, usage, created_at, .. } = self;
        if model.is_empty() {
            let unusable = response.get(UNUSABLE).ok_or("no reason why it is unusable")?;
            let unusable = UnusableResponse::deserialize(unusable).map_err(|_| "an unknown reason")?;
            return Ok(Remembered::Unusable(UnusableResponse { at: created_at, ..unusable }));
        }
        let answer = ModelAnswer::check(response)?;
        Ok(Remembered::Answer(CachedResponse { key: key.clone(), answer, model, prompt_version, usage, created_at }))
    }
}

fn row(user: &UserId, fresh: &CachedResponse) -> ai_response::ActiveModel {
    ai_response::ActiveModel {
        request_hash: Set(fresh.key.as_str().to_owned()),
        user_id: Set(user.as_str().to_owned()),
        model: Set(fresh.model.clone()),
        prompt_version: Set(fresh.prompt_version.clone()),
        response: Set(fresh.answer.as_json().clone()),
        prompt_tokens: Set(fresh.usage.prompt_tokens),
        completion_tokens: Set(fresh.usage.completion_tokens),
        created_at: Set(fresh.created_at.naive_utc()),
        last_used_at: Set(fresh.created_at.naive_utc()),
    }
}

fn unusable_row(user: &UserId, key: &ResponseKey, unusable: &UnusableResponse) -> ai_response::ActiveModel {
    let response: Json = json!({ UNUSABLE: unusable });
    ai_response::ActiveModel {
        request_hash: Set(key.as_str().to_owned()),
        user_id: Set(user.as_str().to_owned()),
        model: Set(String::new()),
        prompt_version: Set(String::new()),
        response: Set(response),
        prompt_tokens: Set(None),
        completion_tokens: Set(None),
        created_at: Set(unusable.at.naive_utc()),
        last_used_at: Set(unusable.at.naive_utc()),
    }
}
