//! Which types there are, by Rust type and by name, and who writes them.
//!
//! Invariant: a name leads to one type; a type is claimed by one owner alone, or by any number that all share.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::shelf::Shelf;
use super::writer::{Claim, ClaimError};
use crate::resource::Resource;

/// Two types answer to one name: a bug, reported when the runtime starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the resource types {first} and {second} both answer to {name:?}: rename one")]
pub struct NameClash {
    /// The name.
    pub name: &'static str,
    /// The type that has it.
    pub first: &'static str,
    /// The type that wanted it too.
    pub second: &'static str,
}

pub(crate) struct Registry {
    /// Changes remembered for each type.
    remembered: usize,
    /// The revision of the newest change of any type.
    pub(crate) revision: u64,
    shelves: HashMap<TypeId, Shelf>,
    names: BTreeMap<&'static str, TypeId>,
    claims: BTreeMap<&'static str, (Claim, BTreeSet<&'static str>)>,
    clashes: Vec<NameClash>,
}

impl Registry {
    pub(crate) fn new(remembered: usize) -> Self {
        Self {
            remembered,
            revision: 0,
            shelves: HashMap::new(),
            names: BTreeMap::new(),
            claims: BTreeMap::new(),
            clashes: Vec::new(),
        }
    }

    /// The shelf of `R`, made if there is none, and the revision counter beside it.
    pub(crate) fn of<R: Resource>(&mut self) -> (&mut Shelf, &mut u64) {
        let id = TypeId::of::<R>();
        if !self.shelves.contains_key(&id) {
            self.name::<R>();
        }
        let shelf = self.shelves.entry(id).or_insert_with(|| Shelf::new::<R>(self.remembered));
        (shelf, &mut self.revision)
    }

    fn name<R: Resource>(&mut self) {
        let id = TypeId::of::<R>();
        for name in [R::TYPE, R::PLURAL].into_iter().chain(R::ALIASES.iter().copied()) {
            match self.names.get(name) {
                Some(other) if *other != id => {
                    let first = self.shelves.get(other).map_or(name, |shelf| shelf.info.name);
                    self.clashes.push(NameClash { name, first, second: R::TYPE });
                }
                _ => {
                    self.names.insert(name, id);
                }
            }
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Shelf> {
        self.shelves.get(self.names.get(name)?)
    }

    /// All shelves, by the types' names.
    pub(crate) fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.names.iter().filter_map(|(name, id)| self.shelves.get(id).filter(|shelf| shelf.info.name == *name))
    }

    pub(crate) fn claim<R: Resource>(&mut self, by: &'static str, wanted: Claim) -> Result<(), ClaimError> {
        self.of::<R>();
        let (has, owners) = self.claims.entry(R::TYPE).or_insert_with(|| (wanted, BTreeSet::new()));
        let alone = wanted == Claim::Own && *has == Claim::Own;
        let clash = owners.iter().find(|owner| wanted != *has || (alone && **owner != by));
        if let Some(owner) = clash {
            return Err(ClaimError { type_name: R::TYPE, by, wanted, owner, has: *has });
        }
        owners.insert(by);
        Ok(())
    }

    pub(crate) fn claims(&self) -> &BTreeMap<&'static str, (Claim, BTreeSet<&'static str>)> {
        &self.claims
    }

    pub(crate) fn clashes(&self) -> &[NameClash] {
        &self.clashes
    }
}
