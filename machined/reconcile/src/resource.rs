//! What a resource is: a plain value with a name, a schema and table columns, and the object that carries it.
//!
//! Everything here is data. Producers of resources implement [`Resource`]; the store makes [`Object`]s of the values;
//! the API server shows them as [`RawObject`]s.

use std::fmt::{Debug, Display, Formatter};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type of values that the store keeps. One file per type; all of it is data, no behaviour.
pub trait Resource:
    Serialize + DeserializeOwned + JsonSchema + Clone + PartialEq + Debug + Send + Sync + 'static
{
    /// The name in the singular, kebab-case: `"link"`.
    const TYPE: &'static str;
    /// The name in the plural: `"links"`.
    const PLURAL: &'static str;
    /// Further names that a person may type.
    const ALIASES: &'static [&'static str] = &[];
    /// What it is, in one sentence.
    const DOC: &'static str;
    /// The columns of its table; the id is implied before them.
    const COLUMNS: &'static [Column];
}

/// One column of a type's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The heading, in capitals.
    pub header: &'static str,
    /// JSON Pointer (RFC 6901) into the value.
    pub pointer: &'static str,
    /// Shown only in the wide table.
    pub wide: bool,
}

impl Column {
    /// A column of every table of the type.
    #[must_use]
    pub const fn new(header: &'static str, pointer: &'static str) -> Self {
        Self { header, pointer, wide: false }
    }

    /// A column of the wide table only.
    #[must_use]
    pub const fn wide(header: &'static str, pointer: &'static str) -> Self {
        Self { header, pointer, wide: true }
    }
}

/// Whether an object is there to stay.
///
/// ```text
/// put --> Running --remove, nobody holds it--> gone
///            |                                   ^
///            +--remove, held--> TearingDown -----+ last hold released
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectPhase {
    /// It is wanted.
    Running,
    /// Its owner has removed it; it vanishes when every controller that holds it has let go.
    TearingDown,
}

impl ObjectPhase {
    /// As the API spells it: `running` or `tearing-down`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::TearingDown => "tearing-down",
        }
    }
}

impl Display for ObjectPhase {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value in the store, as it was when it was read.
#[derive(Debug)]
pub struct Object<R> {
    /// Unique within the type.
    pub id: String,
    /// The store's revision at the object's last change: it rises with every change, also across removal and return.
    pub version: u64,
    /// Who writes it: a controller's or a writer's name.
    pub owner: &'static str,
    /// Whether it is being torn down.
    pub phase: ObjectPhase,
    /// The value, shared and immutable.
    pub value: Arc<R>,
}

impl<R> Object<R> {
    /// Whether its owner still wants it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase == ObjectPhase::Running
    }
}

// Not derived: a derive would ask for `R: Clone` and `R: PartialEq` where the shared pointer is enough.
impl<R> Clone for Object<R> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            version: self.version,
            owner: self.owner,
            phase: self.phase,
            value: Arc::clone(&self.value),
        }
    }
}

/// A type as the API shows it.
#[derive(Clone, Copy, Debug)]
pub struct TypeInfo {
    /// Singular name.
    pub name: &'static str,
    /// Plural name.
    pub plural: &'static str,
    /// Further names.
    pub aliases: &'static [&'static str],
    /// One sentence.
    pub doc: &'static str,
    /// Table columns after the id.
    pub columns: &'static [Column],
    schema: fn() -> serde_json::Value,
}

impl TypeInfo {
    pub(crate) fn of<R: Resource>() -> Self {
        Self {
            name: R::TYPE,
            plural: R::PLURAL,
            aliases: R::ALIASES,
            doc: R::DOC,
            columns: R::COLUMNS,
            schema: || schemars::schema_for!(R).to_value(),
        }
    }

    /// The JSON Schema of the type's values; made when asked for, because it is asked for rarely.
    #[must_use]
    pub fn schema(&self) -> serde_json::Value {
        (self.schema)()
    }

    /// Every name the type answers to.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.plural].into_iter().chain(self.aliases.iter().copied())
    }
}

/// An object with its value as JSON: what crosses the API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RawObject {
    /// The type's singular name.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Unique within the type.
    pub id: String,
    /// See [`Object::version`].
    pub version: u64,
    /// Who writes it.
    pub owner: &'static str,
    /// Whether it is being torn down.
    pub phase: ObjectPhase,
    /// The value.
    pub value: serde_json::Value,
}
