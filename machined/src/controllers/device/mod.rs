//! Devices: modules by modalias, kernel uevents.
