//! Everything a node knows of itself at one moment: its resources and its controllers. For `explain` and `support`.
//!
//! The parts are asked one after the other: what changes meanwhile may not fit together.

use api::v1::{
    Controller, ControllersRequest, ControllersResponse, ListRequest, Object, Type, TypesRequest,
    diagnostics_client::DiagnosticsClient, resource_client::ResourceClient,
};
use serde_json::Value;

use crate::{exit::Result, node::Node};

/// A resource with its value read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) tearing_down: bool,
    pub(crate) value: Value,
}

/// A node, as far as it lets itself be seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) types: Vec<Type>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) controllers: Vec<Controller>,
}

/// All types with all their resources.
pub(crate) async fn take(node: &Node) -> Result<Snapshot> {
    let types = types(node).await?;
    let mut resources = Vec::new();
    for of in &types {
        resources.extend(list(node, &of.name).await?.iter().map(Resource::of));
    }
    Ok(Snapshot { types, resources, controllers: controllers(node).await?.controllers })
}

/// The types there are.
pub(crate) async fn types(node: &Node) -> Result<Vec<Type>> {
    Ok(ResourceClient::new(node.channel.clone()).types(TypesRequest {}).await?.into_inner().types)
}

/// All of one type.
pub(crate) async fn list(node: &Node, kind: &str) -> Result<Vec<Object>> {
    let request = ListRequest { r#type: kind.to_owned() };
    let mut stream = ResourceClient::new(node.channel.clone()).list(request).await?.into_inner();
    let mut objects = Vec::new();
    while let Some(object) = stream.message().await? {
        objects.push(object);
    }
    Ok(objects)
}

/// The controllers and their graph.
pub(crate) async fn controllers(node: &Node) -> Result<ControllersResponse> {
    Ok(DiagnosticsClient::new(node.channel.clone()).controllers(ControllersRequest {}).await?.into_inner())
}

impl Resource {
    pub(crate) fn of(object: &Object) -> Self {
        Self {
            kind: object.r#type.clone(),
            id: object.id.clone(),
            owner: object.owner.clone(),
            tearing_down: object.phase() == api::v1::object::Phase::TearingDown,
            // A node of another version may send what we cannot read: shown as the text it is.
            value: serde_json::from_str(&object.value).unwrap_or_else(|_| Value::String(object.value.clone())),
        }
    }

    /// As `get` takes it.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.kind, self.id)
    }

    /// A text in it; empty when there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number in it.
    pub(crate) fn number(&self, pointer: &str) -> Option<u64> {
        self.value.pointer(pointer).and_then(Value::as_u64)
    }
}

impl Snapshot {
    /// All of a type.
    pub(crate) fn of<'a, 'k>(&'a self, kind: &'k str) -> impl Iterator<Item = &'a Resource> + use<'a, 'k> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }

    /// The type that a name means.
    pub(crate) fn kind(&self, name: &str) -> Option<&Type> {
        self.types
            .iter()
            .find(|of| of.name == name || of.plural == name || of.aliases.iter().any(|alias| alias == name))
    }
}
