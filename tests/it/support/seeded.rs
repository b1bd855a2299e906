//! Databases that hold the demo. It is written once for a base day; every test gets a copy.

use std::{collections::BTreeMap, sync::Arc};

use chrono::NaiveDate;
use sea_orm::DatabaseConnection;
use tokio::sync::Mutex;
use userdata::{clock::Clock, demo};
use userdata_migrations::{Tables, up};

use super::database::{Kind, TestDatabase, copy_of_file, copy_of_template, database, template};

/// A database with all tables and the demo's rows, dated from `base_day`.
pub(crate) async fn seeded(kind: Kind, base_day: NaiveDate) -> (TestDatabase, DatabaseConnection) {
    let place = match kind {
        Kind::Sqlite => copy_of_file(&sqlite(base_day).await),
        Kind::Postgres => copy_of_template(&postgres(base_day).await).await,
    };
    let db = place.connect().await;
    (place, db)
}

/// The same, dated from today: for servers, which have a clock of their own.
pub(crate) async fn seeded_today(kind: Kind) -> (TestDatabase, DatabaseConnection) {
    seeded(kind, today()).await
}

/// The day on which this test runs.
pub(crate) fn today() -> NaiveDate {
    Clock::system().utc().date_naive()
}

/// The bytes of a database file.
async fn sqlite(base_day: NaiveDate) -> Arc<[u8]> {
    static FILES: Mutex<BTreeMap<NaiveDate, Arc<[u8]>>> = Mutex::const_new(BTreeMap::new());
    let mut files = FILES.lock().await;
    if let Some(file) = files.get(&base_day) {
        return Arc::clone(file);
    }
    let place = database(Kind::Sqlite).await;
    // The last connection leaves everything in the one file.
    fill(place.connect().await, base_day).await;
    let file: Arc<[u8]> = place.file_bytes().into();
    files.insert(base_day, Arc::clone(&file));
    file
}

/// The name of a template in the tests' server, which goes with it.
async fn postgres(base_day: NaiveDate) -> String {
    static TEMPLATES: Mutex<Vec<String>> = Mutex::const_new(Vec::new());
    let mut templates = TEMPLATES.lock().await;
    let name = format!("demo_{}", base_day.format("%Y%m%d"));
    if !templates.contains(&name) {
        fill(template(&name).await, base_day).await;
        templates.push(name.clone());
    }
    name
}

async fn fill(db: DatabaseConnection, base_day: NaiveDate) {
    up(&db, Tables::CacheAndSources).await.unwrap();
    demo::seed(&db, &demo::Options::on(base_day), |_, _| ()).await.unwrap();
    db.close().await.unwrap();
}
