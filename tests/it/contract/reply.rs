//! What surrounds every reply: the request's id, and where the answer came from.

use tonic::{Request, metadata::MetadataMap};
use userdata::proto::v1::{GetCacheStatsRequest, GetComprehensiveUserDataRequest};

use testkit::{
    database::Kind,
    demo::serve_demo,
    server::{Client, Server},
};

async fn metadata_of_get(client: &mut Client, user: &str, id: Option<&str>) -> MetadataMap {
    let mut request = Request::new(GetComprehensiveUserDataRequest { user_id: user.to_owned(), ..Default::default() });
    if let Some(id) = id {
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
    }
    match client.get_comprehensive_user_data(request).await {
        Ok(response) => response.metadata().clone(),
        Err(status) => status.metadata().clone(),
    }
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> &'a str {
    metadata.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

async fn started() -> (impl Sized, Server, Client) {
    let (database, server) = serve_demo(Kind::Sqlite, &[]).await;
    let client = server.client().await;
    (database, server, client)
}

#[tokio::test]
async fn a_request_id_is_echoed_or_created_on_answers_and_on_errors() {
    let (_database, server, mut client) = started().await;
    for user in ["1", "nobody", ""] {
        let echoed = metadata_of_get(&mut client, user, Some("abc-1")).await;
        assert_eq!(text(&echoed, "x-request-id"), "abc-1", "{user:?}");
        for id in [None, Some(""), Some(&*"x".repeat(129))] {
            let created = metadata_of_get(&mut client, user, id).await;
            let created = text(&created, "x-request-id");
            assert!(uuid::Uuid::parse_str(created).is_ok(), "{user:?} {id:?}: {created}");
        }
    }
    let stats = server.client().await.get_cache_stats(GetCacheStatsRequest::default()).await.unwrap();
    assert!(uuid::Uuid::parse_str(text(stats.metadata(), "x-request-id")).is_ok());
}

#[tokio::test]
async fn metadata_says_where_the_answer_came_from() {
    let (_database, _server, mut client) = started().await;
    for expected in ["MISS; age=", "HIT; tier=memory; age="] {
        let metadata = metadata_of_get(&mut client, "1", None).await;
        let x_cache = text(&metadata, "x-cache");
        let age = x_cache.strip_prefix(expected).unwrap_or_else(|| panic!("{x_cache}, expected {expected}"));
        assert!(age.parse::<u32>().is_ok(), "{x_cache}");
    }
}
