//! Files of each of the application's versions, side by side, give the documents that one database gives.

use std::{fs, path::Path};

use userdata::{
    model::{SECTIONS, document},
    proto::v1::{ComprehensiveUserData, Section},
};

use testkit::{
    call::Answer,
    database::{Kind, migrate_cache},
    generations::{FORMS, GENERATIONS, Planning, USERS, Who},
    server::{Settings, serve},
    sqlite_writer::SqliteWriter,
};

/// The document's sections, without those that tell when they were made.
fn sections(answer: &Answer) -> Vec<(Section, ComprehensiveUserData)> {
    let mut document = answer.document();
    let sections =
        SECTIONS.into_iter().filter(|section| !matches!(section, Section::Performance | Section::AiAnalysis));
    sections.map(|section| (section, document::take(&mut document, section))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gives_the_document_that_a_shared_database_gives() {
    for ids in FORMS {
        let directory = tempfile::tempdir().unwrap();
        let place = |generation| format!("{}/{generation:?}", directory.path().display());
        for generation in GENERATIONS {
            let planning = Planning::of(generation, ids);
            let database = planning.database(Kind::Sqlite).await;
            fs::create_dir(place(generation)).unwrap();
            let mut writer = SqliteWriter::of(Path::new(database.file()));
            for who in USERS {
                writer.execute(&format!("VACUUM INTO '{}/{}.db'", place(generation), ids.of(who)));
            }
            writer.end();
            let cache =
                |name: &str| format!("sqlite://{}/{name}{generation:?}.db?mode=rwc", directory.path().display());
            for url in [cache("shared"), cache("files")] {
                migrate_cache(&url).await;
            }
            let shared = Settings::on(&cache("shared")).with("sources.database_url", &database.url);
            let template = format!("sqlite://{}/{{user}}.db", place(generation));
            let files = Settings::on(&cache("files")).with("sources.database_url", template);
            let (shared, files) = (serve(shared).await, serve(files).await);
            let (shared, files) = (shared.caller().await, files.caller().await);
            for who in USERS {
                let (one, other) = (shared.get(ids.of(who)).await, files.get(ids.of(who)).await);
                let (of_one, of_other) = (sections(&one), sections(&other));
                let differing: Vec<_> = of_one.iter().zip(&of_other).filter(|(one, other)| one != other).collect();
                assert!(differing.is_empty(), "{generation:?} {ids:?} {who:?}: {differing:#?}");
                let warnings = |answer: &Answer| {
                    answer.sections.iter().map(|section| section.warnings.clone()).collect::<Vec<_>>()
                };
                assert_eq!(warnings(&one), warnings(&other), "{generation:?} {ids:?} {who:?}");
                assert!(other.info.verified);
                if who == Who::Onboarded {
                    assert!(other.document().onboarding_data.is_some());
                }
            }
        }
    }
}
