//! The one door through which a test asks this process to break a promise: `LOCKSTEP_FAULT` in its environment.
//!
//! It is there in builds with debug assertions, which is what the tests run, and nothing else opens it. A release build has none: there
//! the variable means nothing, and its name does not even stand in the program. This file uses nothing but the standard library, so
//! that a test can compile it alone, as a release does, and look.

/// What is asked for, if anything is. It is read once.
#[cfg(debug_assertions)]
#[must_use]
pub fn asked() -> Option<&'static str> {
    static ASKED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ASKED.get_or_init(|| std::env::var("LOCKSTEP_FAULT").ok()).as_deref()
}

/// Nothing is.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn asked() -> Option<&'static str> {
    None
}
