//! What the parts of machined are given: handles, each cheap to clone.
