//! What Larder's processes must agree on. No I/O, no clock, no runtime.

pub mod command;
pub mod filling;
pub mod glob;
pub mod limits;
pub mod load_reply;
pub mod refusal;
pub mod resp;
pub mod ring;
pub mod schema;
mod slot;
mod slot_set;
pub mod topology;

pub use slot::{Slot, hash_tag};
pub use slot_set::SlotSet;
