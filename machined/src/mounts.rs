//! The file systems machined mounts at its start, after init's; mounting what is mounted already changes nothing.
