//! The service Resource: whatever is in the store, as JSON, by any name of its type.
//!
//! Invariant: reads only; nothing is made JSON before the client takes it, and a slow client of a watch is resynchronised
//! by the store and never buffered for.

use futures_util::{StreamExt, stream, stream::BoxStream};
use reconcile::{ObjectPhase, RawChange, RawEvent, RawObject, RawWatch, Store, TypeInfo};
use tonic::{Request, Response, Status};

use super::error::Error;
use crate::trace::shown;
use api::v1::{self, resource_server::Resource, watch_event::Kind};

/// Ids that NOT_FOUND names.
const NAMED: usize = 10;

/// Names that are alike: two typing errors, or three quarters of the name.
const ALIKE: f64 = 0.75;

/// Serves the store.
#[derive(Clone, Debug)]
pub(super) struct Resources {
    store: Store,
}

impl Resources {
    /// Over this store.
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    fn resolve(&self, asked: &str) -> Result<TypeInfo, Error> {
        self.store.resolve(asked).ok_or_else(|| Error::UnknownType { asked: shown(asked), near: self.near(asked) })
    }

    /// The plural of each type that has a name like `asked`, best first.
    fn near(&self, asked: &str) -> Vec<String> {
        let asked = asked.to_lowercase();
        let mut near: Vec<(f64, &'static str)> = self
            .store
            .types()
            .iter()
            .filter_map(|info| {
                let best = info.names().map(|name| strsim::jaro_winkler(&asked, name)).fold(0.0, f64::max);
                (best > ALIKE).then_some((best, info.plural))
            })
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }

    fn unknown(&self, info: &TypeInfo, id: &str) -> Error {
        let mut known = self.store.ids(info.name);
        let more = known.len().saturating_sub(NAMED);
        known.truncate(NAMED);
        Error::UnknownResource { type_name: info.name, id: shown(id), known, more }
    }
}

#[tonic::async_trait]
impl Resource for Resources {
    async fn types(&self, _: Request<v1::TypesRequest>) -> Result<Response<v1::TypesResponse>, Status> {
        let types = self.store.types().iter().map(describe).collect();
        Ok(Response::new(v1::TypesResponse { types }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Object>, Status> {
        let v1::GetRequest { r#type, id } = request.into_inner();
        let info = self.resolve(&r#type)?;
        self.store.told(info.name).await;
        self.store.refresh(info.name).await.map_err(Error::from)?;
        let object = self.store.get_raw(info.name, &id).ok_or_else(|| self.unknown(&info, &id))?;
        Ok(Response::new(message(object)))
    }

    type ListStream = BoxStream<'static, Result<v1::Object, Status>>;

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let info = self.resolve(&request.into_inner().r#type)?;
        self.store.told(info.name).await;
        self.store.refresh(info.name).await.map_err(Error::from)?;
        // A type that resolves stays. Each object becomes JSON when the client takes it.
        let objects = self.store.list_raw(info.name).into_iter().flatten().map(|object| Ok(message(object)));
        Ok(Response::new(stream::iter(objects).boxed()))
    }

    type WatchStream = BoxStream<'static, Result<v1::WatchEvent, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let v1::WatchRequest { r#type, id, bookmark } = request.into_inner();
        let info = self.resolve(&r#type)?;
        let bookmark = Some(bookmark.as_str()).filter(|bookmark| !bookmark.is_empty());
        self.store.refresh(info.name).await.map_err(Error::from)?;
        let watch = self.store.watch_raw(info.name, bookmark);
        let watch = watch.ok_or_else(|| Error::UnknownType { asked: shown(&r#type), near: Vec::new() })?;
        Ok(Response::new(
            stream::unfold((watch, id), |(mut watch, id)| async move {
                let event = next(&mut watch, &id).await;
                Some((Ok(event), (watch, id)))
            })
            .boxed(),
        ))
    }
}

/// The next event that concerns `id`; all do when it is empty.
async fn next(watch: &mut RawWatch, id: &str) -> v1::WatchEvent {
    loop {
        let RawEvent { change, bookmark } = watch.next().await;
        let (kind, object) = match change {
            RawChange::Reset => (Kind::Reset, None),
            RawChange::Put(object) => (Kind::Put, Some(object)),
            RawChange::Deleted(object) => (Kind::Deleted, Some(object)),
            RawChange::Synced => (Kind::Synced, None),
        };
        if id.is_empty() || object.as_ref().is_none_or(|object| object.id == id) {
            let bookmark = bookmark.unwrap_or_default();
            return v1::WatchEvent { kind: kind.into(), object: object.map(message), bookmark };
        }
    }
}

fn describe(info: &TypeInfo) -> v1::Type {
    let column = |column: &reconcile::Column| v1::Column {
        header: column.header.into(),
        pointer: column.pointer.into(),
        wide: column.wide,
    };
    v1::Type {
        name: info.name.into(),
        plural: info.plural.into(),
        aliases: info.aliases.iter().map(|&alias| alias.to_owned()).collect(),
        doc: info.doc.into(),
        schema: info.schema().to_string(),
        columns: info.columns.iter().map(column).collect(),
    }
}

fn message(object: RawObject) -> v1::Object {
    let phase = match object.phase {
        ObjectPhase::Running => v1::object::Phase::Running,
        ObjectPhase::TearingDown => v1::object::Phase::TearingDown,
    };
    v1::Object {
        r#type: object.type_name.into(),
        id: object.id,
        version: object.version,
        owner: object.owner.into(),
        phase: phase.into(),
        value: object.value.to_string(),
    }
}
