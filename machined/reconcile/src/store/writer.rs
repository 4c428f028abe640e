//! Writing by those who are no controllers: the supervisor, the boot record, events.
//!
//! A [`Writer`] has its type for itself, so its writes cannot be refused; a [`SharedWriter`] writes beside others and
//! only touches its own objects. Claims are never given back: a name is an identity, and asking again with the same name
//! is the same claim.

use std::marker::PhantomData;

use serde::Serialize;

use super::Store;
use crate::resource::Resource;

/// An object belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{by} wrote {type_name} {id:?}, which belongs to {owner}: choose another id, or let {owner} write it")]
pub struct WriteError {
    /// The object's type.
    pub type_name: &'static str,
    /// The object's id.
    pub id: String,
    /// Whose it is.
    pub owner: &'static str,
    /// Who tried.
    pub by: &'static str,
}

/// A type cannot be claimed as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{by} wants to {wanted} {type_name}, but {owner} has declared to {has} it: one may own a type, or all share it"
)]
pub struct ClaimError {
    /// The type.
    pub type_name: &'static str,
    /// Who asked.
    pub by: &'static str,
    /// What was asked for.
    pub wanted: Claim,
    /// Who has it.
    pub owner: &'static str,
    /// How.
    pub has: Claim,
}

/// How somebody writes a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// Alone.
    Own,
    /// Beside others.
    Share,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Share => "share",
        })
    }
}

/// The only writer of a type. Made by [`Store::writer`].
#[derive(Debug)]
pub struct Writer<R> {
    store: Store,
    owner: &'static str,
    of: PhantomData<fn(R)>,
}

impl<R> Clone for Writer<R> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), owner: self.owner, of: PhantomData }
    }
}

impl<R: Resource> Writer<R> {
    pub(super) fn new(store: Store, owner: &'static str) -> Self {
        Self { store, owner, of: PhantomData }
    }

    /// Adds the object or changes its value; an equal value changes nothing.
    pub fn put(&self, id: impl AsRef<str>, value: R) {
        let put = self.store.put(self.owner, id.as_ref(), value);
        debug_assert_eq!(put, Ok(()), "an exclusive claim leaves no other owner");
    }

    /// Removes the object; it may be gone already.
    pub fn remove(&self, id: impl AsRef<str>) {
        let removed = self.store.remove::<R>(self.owner, id.as_ref());
        debug_assert_eq!(removed, Ok(()), "an exclusive claim leaves no other owner");
    }

    /// Makes these all the objects there are, in one step that no reader sees half of.
    pub fn replace_all<I: Into<String>>(&self, objects: impl IntoIterator<Item = (I, R)>) {
        let replaced = self.store.replace_all(self.owner, objects);
        debug_assert_eq!(replaced, Ok(()), "an exclusive claim leaves no other owner");
    }
}

/// One of several writers of a type. Made by [`Store::shared_writer`].
#[derive(Debug)]
pub struct SharedWriter<R> {
    store: Store,
    owner: &'static str,
    of: PhantomData<fn(R)>,
}

impl<R> Clone for SharedWriter<R> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), owner: self.owner, of: PhantomData }
    }
}

impl<R: Resource> SharedWriter<R> {
    pub(super) fn new(store: Store, owner: &'static str) -> Self {
        Self { store, owner, of: PhantomData }
    }

    /// Adds the object or changes its value; an equal value changes nothing.
    ///
    /// # Errors
    /// When somebody else has an object of this id.
    pub fn put(&self, id: impl AsRef<str>, value: R) -> Result<(), WriteError> {
        self.store.put(self.owner, id.as_ref(), value)
    }

    /// Removes the object; it may be gone already.
    ///
    /// # Errors
    /// When the object is somebody else's.
    pub fn remove(&self, id: impl AsRef<str>) -> Result<(), WriteError> {
        self.store.remove::<R>(self.owner, id.as_ref())
    }

    /// Makes these all the objects this writer has, in one step that no reader sees half of.
    ///
    /// # Errors
    /// When somebody else has an object of one of the ids; then nothing is changed.
    pub fn replace_all<I: Into<String>>(&self, objects: impl IntoIterator<Item = (I, R)>) -> Result<(), WriteError> {
        self.store.replace_all(self.owner, objects)
    }
}
