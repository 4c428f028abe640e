//! The whole path in one process: a client over pinned TLS, the gateway, machined's server.
