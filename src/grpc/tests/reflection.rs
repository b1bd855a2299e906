//! Reflection: a bidirectional stream, whose client keeps its side open.

use futures::{StreamExt as _, stream};

use super::{config, run};

#[tokio::test]
async fn reflection_speaks_v1_and_v1alpha() {
    use tonic_reflection::pb::{v1, v1alpha};
    let server = run(config::ServerSettings::default()).await;
    let ask = stream::iter([v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    }]);
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let answer = client.server_reflection_info(ask).await.unwrap().into_inner().next().await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer.message_response
    else {
        panic!("a list of services")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"userdata.v1.UserDataService".to_owned()), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");

    let ask = stream::iter([v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "userdata.v1.ComprehensiveUserData".to_owned(),
        )),
    }]);
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let answer = client.server_reflection_info(ask).await.unwrap().into_inner().next().await.unwrap().unwrap();
    assert!(
        matches!(
            answer.message_response,
            Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_reflection_client_may_send_its_second_request_after_the_first_reply() {
    use tonic_reflection::pb::v1;
    let server = run(config::ServerSettings::default()).await;
    let list = || v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    sender.send(list()).await.unwrap();
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    for _ in 0..2 {
        assert!(replies.message().await.unwrap().unwrap().message_response.is_some());
        sender.send(list()).await.unwrap();
    }
}
