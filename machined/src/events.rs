//! What happened, for people: a bounded ring of events, kept across a restart of machined.
