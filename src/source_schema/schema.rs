//! The statements for one database's tables, made once, and when they have to be made anew.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbErr};
use tokio::time::Instant;

use super::{
    catalogue::{Catalogue, Difference},
    statement::{Adapted, adapt},
};
use crate::{
    database::SqlFile,
    sync::{Mutex, RwLock},
};

/// The application may change its tables at any time; a change is seen after this, or at once if a statement fails.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// One database's tables, with the statements adapted to them.
#[derive(Debug)]
pub struct Schema {
    catalogue: Catalogue,
    adapted: Mutex<HashMap<&'static str, Arc<Adapted>>>,
}

impl Schema {
    #[must_use]
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, adapted: Mutex::default() }
    }

    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The statement for these tables.
    #[must_use]
    pub fn adapted(&self, statement: SqlFile) -> Arc<Adapted> {
        let text = self.catalogue.dialect().text_of(statement);
        let mut adapted = self.adapted.lock();
        Arc::clone(adapted.entry(text).or_insert_with(|| Arc::new(adapt(text, &self.catalogue))))
    }

    /// What these statements cannot read, each once.
    #[must_use]
    pub fn differences(&self, statements: &[SqlFile]) -> Vec<String> {
        let mut differences = Vec::new();
        for statement in statements {
            for difference in &self.adapted(*statement).differences {
                let warning = difference.to_string();
                if !differences.contains(&warning) {
                    differences.push(warning);
                }
            }
        }
        differences
    }
}

/// The schemas of databases of one kind: where each user has a file, most have the same tables.
#[derive(Debug, Default)]
pub struct Schemas(Mutex<HashMap<Catalogue, Arc<Schema>>>);

/// More than the application has had; each takes some 100 KiB.
const SCHEMAS_MAX: usize = 32;

impl Schemas {
    /// The schema of these tables. The first database that has them is reported.
    fn of(&self, catalogue: Catalogue) -> Arc<Schema> {
        let mut schemas = self.0.lock();
        if let Some(schema) = schemas.get(&catalogue) {
            return Arc::clone(schema);
        }
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        report(&catalogue);
        let schema = Arc::new(Schema::new(catalogue.clone()));
        schemas.insert(catalogue, Arc::clone(&schema));
        schema
    }
}

/// The schema of a database whose tables may change meanwhile.
#[derive(Debug, Default)]
pub struct SchemaCache {
    schemas: Arc<Schemas>,
    current: RwLock<Option<KnownSchema>>,
    /// How many statements have failed as they do when tables have changed.
    suspicions: AtomicU64,
}

/// What a look at the catalogue has found.
#[derive(Clone, Debug)]
struct KnownSchema {
    schema: Arc<Schema>,
    at: Instant,
    /// The suspicions before it. While a source reads the catalogue because of a new one, no other may go on with the
    /// schema that is suspected.
    suspicions: u64,
}

impl SchemaCache {
    /// With the schemas of other databases.
    #[must_use]
    pub fn sharing(schemas: Arc<Schemas>) -> Self {
        Self { schemas, ..Self::default() }
    }

    /// The schema that `db` has. The catalogue is read if that was never done, if it was done a while ago, or if a
    /// statement has failed since.
    pub async fn get(&self, db: &impl ConnectionTrait) -> Result<Arc<Schema>, DbErr> {
        let known = self.current.read().clone();
        let (at, suspicions) = (Instant::now(), self.suspicions.load(Ordering::Acquire));
        if let Some(known) = &known
            && at.duration_since(known.at) < LOOK_EVERY
            && known.suspicions == suspicions
        {
            return Ok(Arc::clone(&known.schema));
        }
        let catalogue = Catalogue::read(db).await?;
        let schema = match known {
            Some(known) if *known.schema.catalogue() == catalogue => known.schema,
            _ => self.schemas.of(catalogue),
        };
        let mut current = self.current.write();
        if current.as_ref().is_none_or(|known| (known.suspicions, known.at) <= (suspicions, at)) {
            *current = Some(KnownSchema { schema: Arc::clone(&schema), at, suspicions });
        }
        Ok(schema)
    }

    /// A statement failed as it does when tables have changed: the next call reads the catalogue.
    pub fn suspect(&self) {
        self.suspicions.fetch_add(1, Ordering::AcqRel);
    }
}

fn report(catalogue: &Catalogue) {
    let differences = catalogue.differences();
    if differences.is_empty() {
        tracing::info!("sources: all described tables and columns are there");
        return;
    }
    let missing: Vec<String> = differences.iter().map(Difference::to_string).collect();
    tracing::warn!(
        missing = missing.join(", "),
        "sources: some described tables or columns are not there; what they would hold is absent from documents"
    );
}
