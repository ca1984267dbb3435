//! Scenarios, one by one.
