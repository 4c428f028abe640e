//! What is inside the image, looked at with stock tools.
