//! The gateway: terminates TLS, says who connects, pumps bytes. Runs as its own program and uid.
