//! The plan against a model of the kernel.
