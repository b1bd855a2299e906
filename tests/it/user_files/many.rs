//! A thousand users, each with a file: all are served, and what that takes is bounded.

use std::{fs, time::Duration};

use super::answer;
use testkit::{
    server::{Server, serve},
    user_folder::{UserFolder, count},
    wait_for,
};

const USERS: usize = 1000;
const COPIES_MAX: usize = 32;

/// Of the process: descriptors, threads, and seconds of CPU.
fn takes(server: &Server) -> (usize, usize, f64) {
    let of = |path: &str| format!("/proc/{}/{path}", server.pid());
    let count = |path: &str| fs::read_dir(of(path)).unwrap().count();
    let stat = fs::read_to_string(of("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    (count("fd"), count("task"), ticks / 100.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_are_served_with_a_bounded_number_of_copies() {
    let folder = UserFolder::new().await;
    folder.add_many(USERS);
    let server = serve(folder.settings()).await;
    let client = server.client().await;
    let (before, rss_before) = (takes(&server), server.memory_mib());
    let mut descriptors_max = 0;
    for user in 0..USERS {
        let served = answer(&client, &user.to_string()).await;
        assert_eq!((served.count, served.verified), (i64::try_from(user).unwrap(), true));
        if user % 10 == 0 {
            descriptors_max = descriptors_max.max(takes(&server).0);
        }
    }
    // A copy has two connections with three files each at most.
    assert!(descriptors_max < before.0 + COPIES_MAX * 6 + 50, "{descriptors_max} descriptors");
    let (busy, rss) = (takes(&server), server.memory_mib());
    assert!(rss < rss_before + 150, "{rss} MiB");

    const IDLE: Duration = Duration::from_secs(10);
    tokio::time::sleep(IDLE).await;
    let idle = takes(&server);
    let share = (idle.2 - busy.2) / IDLE.as_secs_f64();
    eprintln!(
        "{USERS} users: RSS {rss_before} MiB before, {rss} MiB after; descriptors {} before, {descriptors_max} at most, {} \
         after; threads {} before, {} after; looking at all files takes {:.1} % of a core",
        before.0,
        idle.0,
        before.1,
        idle.1,
        share * 100.0
    );
    assert!(share < 0.2, "{share}");

    // One of a thousand changes.
    let mut writer = folder.writer("567");
    count(&mut writer, -1);
    let written = tokio::time::Instant::now();
    wait_for("the change", async || (answer(&client, "567").await.count == -1).then_some(())).await;
    assert!(written.elapsed() < super::SEEN_WITHIN, "{:?}", written.elapsed());
}
