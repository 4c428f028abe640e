//! The end of machined as a straight line: each phase has a deadline and then force. `boot` calls it once somebody asked
//! for a stop.
