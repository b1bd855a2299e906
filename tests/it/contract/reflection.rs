//! Reflection tells a client that has no files everything it needs, in both versions of the protocol.

use futures::{StreamExt, stream};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value, prost_types::FileDescriptorProto};
use tonic_reflection::pb::{v1, v1alpha};

use testkit::{
    ask::{get, of},
    database::Kind,
    demo::serve_demo,
    server::Server,
};
use userdata::proto::google::rpc;

const SERVICE: &str = "userdata.v1.UserDataService";
const HEALTH: &str = "grpc.health.v1.Health";
/// `google.api.field_behavior`, an extension of a field's options.
const FIELD_BEHAVIOR: &str = "google.api.field_behavior";
const OPTIONAL: i32 = 1;
const REQUIRED: i32 = 2;

/// What both versions answer: names of services, or files that describe a symbol.
trait Reflection {
    async fn services(&self) -> Vec<String>;
    async fn files_with(&self, symbol: &str) -> Vec<Vec<u8>>;
    async fn files_named(&self, name: &str) -> Vec<Vec<u8>>;
}

/// The two versions differ in their package alone, so their clients are told apart by module only.
macro_rules! reflection {
    ($name:ident, $version:ident) => {
        struct $name<'a>(&'a Server);

        impl $name<'_> {
            async fn ask(
                &self,
                request: $version::server_reflection_request::MessageRequest,
            ) -> $version::server_reflection_response::MessageResponse {
                let request = $version::ServerReflectionRequest { host: String::new(), message_request: Some(request) };
                let channel = self.0.channel().await;
                let mut client = $version::server_reflection_client::ServerReflectionClient::new(channel);
                let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
                answers.next().await.expect("an answer").unwrap().message_response.expect("a response")
            }
        }

        impl Reflection for $name<'_> {
            async fn services(&self) -> Vec<String> {
                use $version::{
                    server_reflection_request::MessageRequest::ListServices,
                    server_reflection_response::MessageResponse::ListServicesResponse,
                };
                let ListServicesResponse(list) = self.ask(ListServices(String::new())).await else {
                    panic!("a list of services")
                };
                list.service.into_iter().map(|service| service.name).collect()
            }

            async fn files_with(&self, symbol: &str) -> Vec<Vec<u8>> {
                use $version::{
                    server_reflection_request::MessageRequest::FileContainingSymbol,
                    server_reflection_response::MessageResponse::FileDescriptorResponse,
                };
                let FileDescriptorResponse(files) = self.ask(FileContainingSymbol(symbol.to_owned())).await else {
                    panic!("files that describe {symbol}")
                };
                files.file_descriptor_proto
            }

            async fn files_named(&self, name: &str) -> Vec<Vec<u8>> {
                use $version::{
                    server_reflection_request::MessageRequest::FileByFilename,
                    server_reflection_response::MessageResponse::FileDescriptorResponse,
                };
                let FileDescriptorResponse(files) = self.ask(FileByFilename(name.to_owned())).await else {
                    panic!("the file {name}")
                };
                files.file_descriptor_proto
            }
        }
    };
}

reflection!(V1, v1);
reflection!(V1Alpha, v1alpha);

async fn lists_and_describes(reflection: impl Reflection) {
    let services = reflection.services().await;
    for name in [SERVICE, HEALTH] {
        assert!(services.iter().any(|service| service == name), "{name}: {services:?}");
    }
    for symbol in [SERVICE, "userdata.v1.ComprehensiveUserData", "userdata.v1.UserDataService.WarmCache", HEALTH] {
        assert!(!reflection.files_with(symbol).await.is_empty(), "{symbol}");
    }
}

#[tokio::test]
async fn reflection_lists_and_describes_the_service_in_both_versions() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    lists_and_describes(V1(&server)).await;
    lists_and_describes(V1Alpha(&server)).await;
}

/// The descriptor of a message, from the files that a client fetches: the message's own, and what they import.
async fn described(reflection: &impl Reflection, message: &str) -> MessageDescriptor {
    let mut files: Vec<FileDescriptorProto> = Vec::new();
    let mut fetched = reflection.files_with(message).await;
    while let Some(bytes) = fetched.pop() {
        let file = FileDescriptorProto::decode(&bytes[..]).unwrap();
        if files.iter().any(|known| known.name() == file.name()) {
            continue;
        }
        for import in &file.dependency {
            fetched.extend(reflection.files_named(import).await);
        }
        files.push(file);
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files).unwrap();
    pool.get_message_by_name(message).unwrap_or_else(|| panic!("{message} is described"))
}

async fn reads_errors(reflection: impl Reflection, server: &Server) {
    for (user, message, field, expected) in [
        ("", "google.rpc.ErrorInfo", "reason", "INVALID_ARGUMENT"),
        ("", "google.rpc.BadRequest", "field_violations", "user_id"),
        ("nobody", "google.rpc.ErrorInfo", "reason", "USER_NOT_FOUND"),
        ("nobody", "google.rpc.ResourceInfo", "resource_type", "userdata.v1/User"),
    ] {
        let refused = get(&server.client().await, of(user)).await.unwrap_err();
        let details = rpc::Status::decode(refused.details()).unwrap().details;
        let detail = details.iter().find(|detail| detail.type_url == format!("type.googleapis.com/{message}")).unwrap();
        let read = DynamicMessage::decode(described(&reflection, message).await, &detail.value[..]).unwrap();
        let said = read.get_field_by_name(field).unwrap().to_string();
        assert!(said.contains(expected), "{message}.{field}: {said}");
    }
}

#[tokio::test]
async fn the_details_of_errors_can_be_read_by_reflection_alone_in_both_versions() {
    let (_database, server) = serve_demo(Kind::Sqlite, &[]).await;
    reads_errors(V1(&server), &server).await;
    reads_errors(V1Alpha(&server), &server).await;
}

/// The messages that a caller fills in: inputs of the methods, and ours within them.
fn filled_in_by_callers(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    let service = pool.get_service_by_name(SERVICE).unwrap();
    let mut messages: Vec<MessageDescriptor> = service.methods().map(|method| method.input()).collect();
    let mut next = 0;
    while let Some(message) = messages.get(next).cloned() {
        let within = message.fields().filter_map(|field| field.kind().as_message().cloned());
        messages.extend(within.filter(|message| message.package_name() == "userdata.v1").collect::<Vec<_>>());
        next += 1;
    }
    messages
}

#[test]
fn every_field_of_a_request_says_whether_it_is_required() {
    let pool = DescriptorPool::decode(userdata::proto::DESCRIPTORS).unwrap();
    let behavior = pool.get_extension_by_name(FIELD_BEHAVIOR).unwrap();
    let mut required = Vec::new();
    let mut fields = 0;
    for message in filled_in_by_callers(&pool) {
        for field in message.fields() {
            let options = field.options();
            let said = options.get_extension(&behavior);
            let said: Vec<_> = said.as_list().unwrap().iter().filter_map(Value::as_enum_number).collect();
            match said[..] {
                [REQUIRED] => required.push(field.full_name().to_owned()),
                [OPTIONAL] => {}
                ref other => panic!("{}: {other:?}", field.full_name()),
            }
            fields += 1;
        }
    }
    assert_eq!(fields, 8 + 5 + 2 + 1 + 3 + 2);
    let expected = ["GetComprehensiveUserDataRequest", "InvalidateCacheRequest", "WarmItem"];
    assert_eq!(required, expected.map(|message| format!("userdata.v1.{message}.user_id")));
}
