//! ListConfigResources: what has configurations. Topics and this broker; loggers, client metrics and groups have none
//! here, and version 0 asks for client metrics only.

use super::View;
use super::describe_configs::{BROKER, TOPIC};
use crate::wire::ErrorCode;
use crate::wire::list_config_resources::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

/// The resource types of Kafka that may be asked for: topics, brokers, loggers, client metrics, groups.
const TYPES: [i8; 5] = [TOPIC, BROKER, 8, 16, 32];

pub fn answer<'a>(
    request: &ListConfigResourcesRequest,
    version: i16,
    view: &View<'a>,
) -> ListConfigResourcesResponse<'a> {
    if !request.resource_types.iter().all(|wanted| TYPES.contains(wanted)) {
        let error_code = ErrorCode::UNSUPPORTED_VERSION;
        return ListConfigResourcesResponse { error_code, ..ListConfigResourcesResponse::default() };
    }
    let wants =
        |wanted: i8| version >= 1 && (request.resource_types.is_empty() || request.resource_types.contains(&wanted));
    let mut config_resources = Vec::new();
    if wants(TOPIC) {
        let names = view.image.topics().map(|topic| Cow::Borrowed(topic.name.as_str()));
        config_resources.extend(names.map(|resource_name| ConfigResource { resource_name, resource_type: TOPIC }));
    }
    if wants(BROKER) {
        let resource_name = Cow::Owned(view.node.0.to_string());
        config_resources.push(ConfigResource { resource_name, resource_type: BROKER });
    }
    ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() }
}
