//! `ai_response_cache`: the cache of AI responses. A row is a function of its key, so it never becomes outdated. It is
//! deleted when it has been unused for 30 days, or when the user whose request caused it is erased.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, OnConflict, Query},
};

use super::{answer::ModelAnswer, input::ResponseKey, reply::Usage};
use crate::{
    database::{self, Pool},
    lease::DoneCheck,
    model::UserId,
    proto::v1::AiAnalysisResults,
};

/// `last_used_at` is written when it is this old, so that not every hit is a write.
const USE_WRITTEN_EVERY: TimeDelta = TimeDelta::days(1);
const UNUSED_MAX: TimeDelta = TimeDelta::days(30);

/// The table, in the cache's own database.
#[derive(Clone, Debug)]
pub struct ResponseCache {
    pool: Pool,
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
        Self { pool }
    }

    /// SQL that says whether a response is stored under a key.
    pub(super) fn is_stored(&self, key: &ResponseKey) -> DoneCheck {
        let sql = "EXISTS (SELECT 1 FROM ai_response_cache WHERE request_hash = $7)";
        DoneCheck { sql, values: vec![key.as_str().into()] }
    }

    /// The response under a key. Notes its use.
    pub(super) async fn find(&self, key: &ResponseKey, now: DateTime<Utc>) -> Result<Option<CachedResponse>, DbErr> {
        let Some(row) = row::Entity::find_by_id(key.as_str()).one(&self.pool).await? else { return Ok(None) };
        if row.last_used_at <= (now - USE_WRITTEN_EVERY).naive_utc()
            && let Err(error) = self.note_use(key, now).await
        {
            // At worst, the response is swept too early and the model asked again.
            tracing::warn!(%error, "use of a cached AI response could not be noted");
        }
        Ok(read(key, row))
    }

    async fn note_use(&self, key: &ResponseKey, now: DateTime<Utc>) -> Result<(), DbErr> {
        row::Entity::update_many()
            .col_expr(row::Column::LastUsedAt, Expr::value(now.naive_utc()))
            .filter(row::Column::RequestHash.eq(key.as_str()))
            .exec(&self.pool)
            .await?;
        Ok(())
    }

    /// Stores a new response, unless another process was first: then returns the stored one.
    pub(super) async fn keep(&self, user: &UserId, fresh: CachedResponse) -> Result<CachedResponse, DbErr> {
        let first = OnConflict::column(row::Column::RequestHash).do_nothing().to_owned();
        let rows = self.insert(user, &fresh, first).await?;
        if rows > 0 {
            return Ok(fresh);
        }
        match self.find(&fresh.key, fresh.created_at).await? {
            Some(theirs) => Ok(theirs),
            // The stored one cannot be read, or was erased meanwhile.
            None => self.overwrite(user, fresh).await,
        }
    }

    /// Stores a new response in place of any other.
    pub(super) async fn overwrite(&self, user: &UserId, fresh: CachedResponse) -> Result<CachedResponse, DbErr> {
        use row::Column;
        let newest = OnConflict::column(Column::RequestHash)
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
            .to_owned();
        self.insert(user, &fresh, newest).await?;
        Ok(fresh)
    }

    /// Repeats while another writer holds the database, because the call is already paid for.
    async fn insert(&self, user: &UserId, fresh: &CachedResponse, conflict: OnConflict) -> Result<u64, DbErr> {
        let insert = || {
            let row = row::Entity::insert(write(user, fresh)).on_conflict(conflict.clone());
            row.exec_without_returning(&self.pool)
        };
        database::repeat_while(database::is_busy, insert).await
    }

    /// Deletes at most `rows_max` rows that have been unused for 30 days. Returns their number.
    pub async fn sweep(&self, now: DateTime<Utc>, rows_max: u64) -> Result<u64, DbErr> {
        let unused = Query::select()
            .column(row::Column::RequestHash)
            .from(row::Entity)
            .and_where(Expr::col(row::Column::LastUsedAt).lte((now - UNUSED_MAX).naive_utc()))
            .limit(rows_max)
            .to_owned();
        let deleted =
            row::Entity::delete_many().filter(row::Column::RequestHash.in_subquery(unused)).exec(&self.pool).await?;
        Ok(deleted.rows_affected)
    }
}

/// None if the row breaks the answer's limits: the model is asked again, and the row replaced.
fn read(key: &ResponseKey, row: row::Model) -> Option<CachedResponse> {
    let answer = ModelAnswer::check(row.response)
        .inspect_err(|why| {
            tracing::warn!(key = key.as_str(), why, "cached AI response cannot be read; the model is asked again")
        })
        .ok()?;
    Some(CachedResponse {
        key: key.clone(),
        answer,
        model: row.model,
        prompt_version: row.prompt_version,
        usage: Usage { prompt_tokens: row.prompt_tokens, completion_tokens: row.completion_tokens },
        created_at: row.created_at.and_utc(),
    })
}

fn write(user: &UserId, fresh: &CachedResponse) -> row::ActiveModel {
    row::ActiveModel {
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

mod row {
    //! The table as SeaORM sees it.

    use chrono::NaiveDateTime;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "ai_response_cache")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) request_hash: String,
        pub(super) user_id: String,
        pub(super) model: String,
        pub(super) prompt_version: String,
        pub(super) response: Json,
        pub(super) prompt_tokens: Option<i32>,
        pub(super) completion_tokens: Option<i32>,
        pub(super) created_at: NaiveDateTime,
        pub(super) last_used_at: NaiveDateTime,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
