//! machined's own log: to the kernel log (so that it survives machined) and to the ring that the API reads.
