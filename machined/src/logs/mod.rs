//! Logs of services and of the kernel: drained, bounded, readable by cursor.
