//! The documents people write, and the files that declare services: parsed strictly, every problem reported at once.
