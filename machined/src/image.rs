//! What image runs: `/usr/lib/stele/image.json`, written by the image builder.
