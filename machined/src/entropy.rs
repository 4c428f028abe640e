//! A random seed carried from one start to the next. Never blocks, never credited as entropy when it came from disk.
