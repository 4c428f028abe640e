//! Processes, mounts, and the status of the machine as a whole.
