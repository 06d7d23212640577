//! What must be true of any bytes, wherever they come from: the network, a file, the control socket, the
//! kernel's ring. Everything here panics when it is not; `fuzz/` looks for bytes that do that, and the
//! `host` tests try those that were kept.
//!
//! (Names and DNS messages have their checks in [`crate::messages::compare`].)

mod control;
mod event;
mod packet;
mod policy;
mod state;

pub use self::{control::control, event::event, packet::packet, policy::policy, state::state};
