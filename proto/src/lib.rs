//! What Larder's processes must agree on. No I/O, no clock, no runtime.

mod slot;

pub use slot::{Slot, hash_tag};
