//! The statements on `change_feed`.

use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Expr, ExprTrait, Query},
};

use uuid::Uuid;

use super::{consumption::Consumption, table::LogTable};
use crate::{
    database::Transaction,
    entity::{
        change_feed::{self, Column},
        invalidation_log_head,
    },
    model::{Invalidation, Token},
};

impl LogTable {
    pub(super) async fn consumption(&self) -> Result<Consumption, DbErr> {
        let row = Query::select()
            .columns([Column::Cluster, Column::Nonces, Column::Consumed, Column::Version])
            .from(change_feed::Entity)
            .and_where(Expr::col(Column::Id).eq(change_feed::ID))
            .to_owned();
        let row = self.pool.query_one_raw(self.dialect.build(&row)).await?;
        let row = row
            .ok_or_else(|| DbErr::RecordNotFound("change_feed has no row: the database is not migrated".to_owned()))?;
        let version = row.try_get_by("version")?;
        let readable = || -> Option<Consumption> {
            let cluster: String = row.try_get_by("cluster").ok()?;
            let nonces: String = row.try_get_by("nonces").ok()?;
            let nonces = nonces.split_whitespace().map(Uuid::parse_str).collect::<Result<_, _>>().ok()?;
            let consumed = row.try_get_by("consumed").ok()?;
            Some(Consumption { cluster: Uuid::parse_str(&cluster).ok()?, nonces, consumed, version })
        };
        Ok(readable().unwrap_or_else(|| {
            tracing::error!("change_feed has an unreadable row; the outbox is read as by a new cluster");
            Consumption { cluster: Uuid::new_v4(), nonces: Vec::new(), consumed: None, version }
        }))
    }

    /// The last position, or None if the version is another one.
    pub(super) async fn append_consuming(
        &self,
        entries: &[Invalidation],
        version: i64,
        next: &Consumption,
    ) -> Result<Option<Token>, DbErr> {
        let transaction = self.begin().await?;
        // Order: first the head, whose lock orders the commits.
        let last = self.insert(&transaction, entries).await?;
        if !self.consume(&transaction, version, next).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        self.commit(transaction).await?;
        Ok(Some(last))
    }

    /// Whether the version was still this one.
    pub(super) async fn begin_epoch_consuming(&self, version: i64, next: &Consumption) -> Result<bool, DbErr> {
        use invalidation_log_head::Column as Head;
        let transaction = self.begin().await?;
        let begun = Query::update()
            .table(invalidation_log_head::Entity)
            .value(Head::Epoch, uuid::Uuid::new_v4().to_string())
            .value(Head::LowWatermark, Expr::col(Head::Position))
            .and_where(Expr::col(Head::Id).eq(invalidation_log_head::ID))
            .to_owned();
        transaction.execute_raw(self.dialect.build(&begun)).await?;
        if !self.consume(&transaction, version, next).await? {
            transaction.rollback().await?;
            return Ok(false);
        }
        self.commit(transaction).await?;
        Ok(true)
    }

    async fn consume(&self, transaction: &Transaction, version: i64, next: &Consumption) -> Result<bool, DbErr> {
        let nonces: Vec<String> = next.nonces.iter().map(Uuid::to_string).collect();
        let update = Query::update()
            .table(change_feed::Entity)
            .value(Column::Cluster, next.cluster.to_string())
            .value(Column::Nonces, nonces.join(" "))
            .value(Column::Consumed, next.consumed.clone())
            .value(Column::Version, next.version)
            .and_where(Expr::col(Column::Id).eq(change_feed::ID))
            .and_where(Expr::col(Column::Version).eq(version))
            .to_owned();
        Ok(transaction.execute_raw(self.dialect.build(&update)).await?.rows_affected() == 1)
    }
}
