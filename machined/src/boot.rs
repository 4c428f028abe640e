//! The start of machined as a straight line: connect to init, mount, identify, start the runtime, the supervisor and the
//! API. `main` calls it once. Everything after it is level-triggered; everything that ends it is in `shutdown`.
