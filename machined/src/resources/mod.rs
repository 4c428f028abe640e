//! The types of the store: one file each, shared by the controllers that write them and the server that shows them.
