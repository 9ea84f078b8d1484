//! Checks of what clients saw. They know commands and replies, and nothing of what is inside.

pub(crate) mod linear;
mod model;
