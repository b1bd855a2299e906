//! The application's folder is left as it was, whoever owns it and however the service ends.

use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::fs::symlink, time::Duration};

use tonic::Code;

use super::{answer, seen};
use testkit::{
    ask::{get, of},
    command::program,
    server::serve,
    user_folder::{UserFolder, count},
    wait_for,
};

const APPLICATION: u32 = 64_001;
const SERVICE: u32 = 64_002;

/// Whether the test may start processes of other users that can run the service. Otherwise the requirement stays untested
/// here, and the test says so.
fn can_change_users() -> bool {
    let run = std::process::Command::new("setpriv")
        .args([&format!("--reuid={SERVICE}"), &format!("--regid={SERVICE}"), "--clear-groups"])
        .arg(program())
        .arg("--version")
        .output();
    let can = run.is_ok_and(|ran| ran.status.success());
    if !can {
        eprintln!("not tested: two users need a test that runs as root, and a program that all may execute");
    }
    can
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_another_user_stays_untouched_and_its_next_write_works() {
    if !can_change_users() {
        return;
    }
    // Writable for the service, or not.
    for mode in [0o777, 0o755] {
        for journal in ["delete", "wal"] {
            let folder = UserFolder::owned_by(APPLICATION).await;
            folder.add("7", 0);
            let place = folder.file("7");
            for path in [place.parent().unwrap().parent().unwrap(), place.parent().unwrap(), &place] {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            let mut server = serve(folder.settings_of(SERVICE)).await;
            let client = server.client().await;
            let what = format!("{mode:o} {journal}");
            let mut writer = folder.writer("7");
            writer.execute(&format!("PRAGMA journal_mode={journal}"));
            for next in 1..4 {
                count(&mut writer, next);
                let before = folder.state();
                seen(&[&client], "7", next, tokio::time::Instant::now(), &what).await;
                assert!(folder.state() == before, "{what}: while the application has the file open");
            }
            writer.end();
            let before = folder.state();
            answer(&client, "7").await;
            // In the middle of reading, for all that it knows.
            server.kill().await;
            assert!(folder.state() == before, "{what}: after the service was killed");
            let mut writer = folder.writer("7");
            count(&mut writer, 10);
            server.start().await;
            let client = server.client().await;
            seen(&[&client], "7", 10, tokio::time::Instant::now(), &what).await;
            count(&mut writer, 11);
            writer.end();
            server.terminate().await;
            let owners: Vec<_> = folder.state().iter().map(|entry| (entry.1, entry.2)).collect();
            assert!(owners.iter().all(|owner| *owner == (APPLICATION, APPLICATION)), "{what}: {owners:?}");
            assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1, "{what}: the file alone is left");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_services_leave_no_copies() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    let copies = folder.outside().join("copies");
    fs::create_dir(&copies).unwrap();
    let mut server = serve(folder.settings().with("sources.file_copies_in", copies.display())).await;
    answer(&server.client().await, "7").await;
    let folders = || fs::read_dir(&copies).unwrap().count();
    assert_eq!(folders(), 1);
    server.kill().await;
    assert_eq!(folders(), 1, "a killed process removes nothing");
    server.start().await;
    assert_eq!(folders(), 1, "the next start removes it");
    server.terminate().await;
    assert_eq!(folders(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_folder_is_not_followed() {
    let folder = UserFolder::new().await;
    folder.add("7", 1);
    let outside = folder.outside().join("elsewhere");
    fs::rename(folder.root().join("workspace_7"), &outside).unwrap();
    folder.add("1", 1);
    symlink(&outside, folder.root().join("workspace_7")).unwrap();
    let server = serve(folder.settings()).await;
    let client = server.client().await;
    for _ in 0..2 {
        assert_eq!(get(&client, of("7")).await.unwrap_err().code(), Code::Unavailable);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.log().contains("has a symbolic link"), "{}", server.log());
    fs::remove_file(folder.root().join("workspace_7")).unwrap();
    fs::rename(&outside, folder.root().join("workspace_7")).unwrap();
    wait_for("the user", async || get(&client, of("7")).await.ok()).await;
}
