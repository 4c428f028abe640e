//! The gRPC server on a unix socket that only the gateway may connect to.
