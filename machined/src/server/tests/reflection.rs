//! What the API offers is told to whom it knows, and to nobody else.

use api::roles::Role;
use futures_util::stream;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{enrolment::client, *};

async fn services(channel: Channel) -> Result<Vec<String>, tonic::Status> {
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(stream::iter([request])).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(found)) = answer else { panic!("{answer:?}") };
    Ok(found.service.into_iter().map(|service| service.name).collect())
}

#[tokio::test]
async fn a_reader_is_told_of_every_service_and_a_stranger_of_none() {
    let stranger = node().await;
    let refused = services(stranger.connect().await).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");

    let (node, cas) = enrolment::configured(false).await;
    let told = services(node.channel(&client(&cas.ca, Role::Reader)).await).await.unwrap();
    for (method, _) in super::super::access::TABLE {
        let service = method.split('/').nth(1).unwrap();
        assert!(
            told.iter().any(|one| one == service) || service.starts_with("grpc.reflection."),
            "{service}: {told:?}"
        );
    }
}
