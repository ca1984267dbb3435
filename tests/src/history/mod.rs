//! Histories: what concurrent clients asked and were told, and whether any order explains it.
//!
//! Nothing here knows LSNs or versions. An operation takes effect at one moment between its request and its answer; what got no
//! answer did so at some later moment, or never. If no order of such moments explains every answer and every read, a promise is
//! broken. The search is that of Wing and Gong (1993) with Lowe's memory of what was tried (2017), key by key: a history over many keys is
//! linearizable if that of each key is (Herlihy and Wing, 1990).

pub mod campaign;
pub mod change;
pub mod checker;
pub mod clients;
pub mod window;
