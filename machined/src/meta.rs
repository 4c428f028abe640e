//! META of the system disk: machined's record, the ring with the boot log's tail. One writer: machined.
