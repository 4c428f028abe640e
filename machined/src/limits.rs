//! Resource limits (rlimits) machined sets for itself and that services inherit.
