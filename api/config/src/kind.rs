//! What a kind of document is: a type, its checks, and what changing it takes. The list of all kinds is here, once.

use std::any::Any;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kinds::{
    Api, Authority, Bond, Gate, Hostname, ImagePolicy, Install, KernelModule, Link, Registry, Resolver, StaticHost,
    Sysctl, Time, TrustedRoots, Vlan,
};
use crate::yaml::strict::{self, Step};
use crate::yaml::{Problem, Tree};

/// A kind of document. Its fields are those of the type, beside `apiVersion`, `kind` and `name`.
pub trait Kind:
    Serialize + DeserializeOwned + JsonSchema + Clone + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// As in `kind: Link`.
    const KIND: &'static str;
    /// Whether there may be several, told apart by `name`.
    const NAMED: bool;
    /// What it is for, as the reference says it.
    const DOC: &'static str;
    /// What `name` is; empty without one.
    const NAME: &'static str = "";
    /// Lists that a patch merges item by item, each with the field that tells its items apart.
    const KEYED: &'static [(&'static str, &'static str)] = &[];
    /// Whole documents that show it.
    const EXAMPLES: &'static [&'static str];

    /// Notes everything that is wrong beyond what the types say.
    fn check(&self, name: Option<&str>, found: &mut Check<'_>);
    /// What only one document may decide, in words: `sysctl net.ipv4.ip_forward`.
    fn claims(&self, _name: Option<&str>) -> Vec<String> {
        Vec::new()
    }
    /// Names of the secrets it refers to.
    fn secrets(&self) -> Vec<&str> {
        Vec::new()
    }
    /// What it takes to get from one to the other; they are not equal.
    fn effect(_before: Option<&Self>, _after: Option<&Self>) -> Effect {
        Effect::Live
    }
}

/// What a change takes. The later counts more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "effect", content = "services")]
pub enum Effect {
    /// The machine does as before.
    Nothing,
    /// It takes effect while everything runs.
    Live,
    /// These services start anew.
    Restarts(Vec<String>),
    /// It takes effect with the next boot.
    Reboot,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Live => f.write_str("live"),
            Self::Restarts(services) => write!(f, "restarts {}", services.join(", ")),
            Self::Reboot => f.write_str("reboot"),
        }
    }
}

/// Collects what is wrong with one document, each at its place.
#[derive(Debug)]
pub struct Check<'a> {
    tree: &'a Tree,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        Self { tree, problems: Vec::new() }
    }

    /// Something is wrong at a path such as `addresses[0]` or `match.mac`; `name` is one, too.
    pub fn problem(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(strict::problem(self.tree, &strict::path(path), message.into()));
    }

    /// Something is wrong with an entry of a map whose keys may hold dots.
    pub fn entry(&mut self, map: &str, key: &str, message: impl Into<String>) {
        let path = [strict::path(map), vec![Step::Key(key.to_owned())]].concat();
        self.problems.push(strict::problem(self.tree, &path, message.into()));
    }

    /// A problem, unless this holds.
    pub fn need(&mut self, path: &str, holds: bool, message: &str) {
        if !holds {
            self.problem(path, message);
        }
    }
}

type Decode = fn(&Tree, Value) -> (Option<Body>, Vec<Problem>);

/// One kind, for those who have its name only.
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) named: bool,
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keyed: &'static [(&'static str, &'static str)],
    pub(crate) examples: &'static [&'static str],
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) decode: Decode,
}

macro_rules! kinds {
    ($($kind:ident),+ $(,)?) => {
        /// A document of any kind, without its head.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each is documented where it is declared")]
        pub enum Body {
            $($kind($kind)),+
        }

        $(impl From<$kind> for Body {
            fn from(body: $kind) -> Self {
                Self::$kind(body)
            }
        })+

        /// All kinds, in the order in which people read about them.
        pub(crate) const KINDS: &[Entry] = &[$(Entry {
            kind: <$kind as Kind>::KIND,
            named: <$kind as Kind>::NAMED,
            name: <$kind as Kind>::NAME,
            doc: <$kind as Kind>::DOC,
            keyed: <$kind as Kind>::KEYED,
            examples: <$kind as Kind>::EXAMPLES,
            schema: <$kind as JsonSchema>::json_schema,
            decode: |tree, json| {
                let (body, problems) = strict::decode_some::<$kind>(tree, json);
                (body.map(Body::$kind), problems)
            },
        }),+];

        impl Body {
            /// As in `kind: Link`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$kind(_) => <$kind as Kind>::KIND),+ }
            }
            /// The fields.
            pub fn json(&self) -> Value {
                match self { $(Self::$kind(body) => serde_json::to_value(body)),+ }.unwrap_or_default()
            }
            /// The fields as lines of YAML, in the order in which they are declared.
            pub(crate) fn yaml(&self) -> String {
                match self { $(Self::$kind(body) => crate::document::yaml(body)),+ }
            }
            pub(crate) fn any(&self) -> &dyn Any {
                match self { $(Self::$kind(body) => body),+ }
            }
            pub(crate) fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
                match self { $(Self::$kind(body) => body.check(name, found)),+ }
            }
            pub(crate) fn claims(&self, name: Option<&str>) -> Vec<String> {
                match self { $(Self::$kind(body) => body.claims(name)),+ }
            }
            pub(crate) fn secrets(&self) -> Vec<&str> {
                match self { $(Self::$kind(body) => body.secrets()),+ }
            }
            /// One of the two is there, and both of them are of one kind.
            pub(crate) fn effect(before: Option<&Self>, after: Option<&Self>) -> Effect {
                match before.or(after) {
                    $(Some(Self::$kind(_)) => {
                        let of = |body: Option<&'_ Self>| body.and_then(|b| b.any().downcast_ref::<$kind>()).cloned();
                        <$kind as Kind>::effect(of(before).as_ref(), of(after).as_ref())
                    })+
                    None => Effect::Nothing,
                }
            }
        }
    };
}

kinds!(
    Hostname,
    Link,
    Bond,
    Vlan,
    Resolver,
    StaticHost,
    Time,
    Sysctl,
    KernelModule,
    TrustedRoots,
    Api,
    Authority,
    Registry,
    ImagePolicy,
    Gate,
    Install
);
