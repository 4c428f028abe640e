//! The clock's floor: time never starts before the image was built.
