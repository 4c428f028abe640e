//! Disks and partitions, stable names, the system disk.
