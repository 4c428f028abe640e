//! How this boot went and how the last one ended.
