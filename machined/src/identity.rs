//! What names this machine: machine id, boot id, host name. Made once by `boot`, read by all.
