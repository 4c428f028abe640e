//! The identity the API shows in maintenance: key, self-signed certificate, fingerprint.
