//! The one task that owns the socket to init, and the clonable handle everybody else uses.
