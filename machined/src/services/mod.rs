//! Services: declarations from the image, and the supervisor that keeps them running.
