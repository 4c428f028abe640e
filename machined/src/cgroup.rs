//! The cgroup v2 tree: who lives where and what may be used. `boot` makes it, the supervisor adds services.
