//! What an operator is told about a file per user.

use std::fs;

use testkit::{
    command::{Ran, userdata_with},
    server::serve,
    user_folder::UserFolder,
};

/// The command over the folder, with these further variables.
async fn run(folder: &UserFolder, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let settings = folder.settings().environment;
    let own = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    userdata_with(arguments, &own.chain(environment.iter().copied()).collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_the_banner_say_where_the_files_are_and_how_many() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    folder.add("8", 1);
    // No user's.
    fs::create_dir(folder.root().join("exports")).unwrap();
    let template = folder.template();
    let server = serve(folder.settings()).await;
    let banner = server.log();
    let said = format!("{template} (2 files on a local file system; changes are looked for every 250ms)");
    assert!(banner.contains(&said), "{banner}");

    let found = run(&folder, &["doctor"], &[]).await.printed();
    for expected in
        [&format!("{template}: 2 users have a file, on a local file system"), "are made in /dev/shm", "not needed"]
    {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    fs::remove_dir_all(folder.root()).unwrap();
    let found = run(&folder, &["doctor"], &[]).await.printed();
    assert!(found.contains("cannot be read: No such file"), "{found}");
    fs::create_dir(folder.root()).unwrap();
    let found = run(&folder, &["doctor"], &[]).await.printed();
    assert!(found.contains("no user has a file there"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_write_there_is_refused() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    let before = folder.state();
    for arguments in [&["triggers", "install"][..], &["triggers", "status"], &["demo", "seed"]] {
        let refused = run(&folder, arguments, &[]).await;
        assert_ne!(refused.exit_code, 0);
        assert!(refused.stderr.contains("sources.database_url names a file per user"), "{}", refused.stderr);
    }
    let relay = [("USERDATA__SOURCES__RELAY_DATABASE_URL", "postgres://h/d")];
    let refused = run(&folder, &["config", "check"], &relay).await;
    assert!(refused.stderr.contains("must be empty with a file per user in"), "{}", refused.stderr);
    let wrong = [("USERDATA__SOURCES__DATABASE_URL", "sqlite:///srv/{user_id}/alwrity.db")];
    let refused = run(&folder, &["config", "check"], &wrong).await;
    assert!(refused.stderr.contains("sources.database_url: expected"), "{}", refused.stderr);
    assert!(folder.state() == before);
}
