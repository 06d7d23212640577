//! What the agent has the programs do to conversations and learned addresses: these are written by programs only, so that
//! no update from outside undoes what a packet does at the same time.

use crate::{
    address::Address,
    flow::{Flow, FlowKey},
    learned::Unit,
};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Put the conversation among the proven, in place of what is there.
    Keep = 1,
    /// End the conversation with this key, wherever it is.
    Cut = 2,
    /// Free all places, unless an agent before has, and start the clock that takes out what is over, or have
    /// it go on. Once, and first.
    Begin = 3,
}

/// An order, as the bytes of a test run of `nsp_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Order {
    /// Which conversation.
    pub key: FlowKey,
    /// What it is to be; for [`Action::Keep`].
    pub flow: Flow,
    /// [`Action`] as a number.
    pub action: u32,
    /// Zero.
    pub _pad: u32,
}

/// What is to be done about an address of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Teach {
    /// Learn it, or prolong it.
    Learn = 1,
    /// It stands for the name no more.
    Forget = 2,
    /// Take it out, if the time of all its names is over.
    Sweep = 3,
}

/// An order about an address, as the bytes of a test run of `nsp_teach`. The answer is
/// [`crate::verdict::Lesson`] as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Teaching {
    /// The address.
    pub address: Address,
    /// [`crate::address::Family`] as a number.
    pub family: u32,
    /// What the name is held by.
    pub unit: Unit,
    /// When it is over for new conversations, seconds of the coarse monotonic clock.
    pub expires_s: u32,
    /// [`Teach`] as a number.
    pub action: u32,
}

/// The program's answers. A negative one is the kernel's error number.
pub mod outcome {
    /// It is done.
    pub const DONE: i32 = 0;
    /// No conversation has this key.
    pub const NONE: i32 = 1;
    /// The order could not be read.
    pub const UNREADABLE: i32 = 2;
}

crate::shared!(Order, 104);
crate::shared!(Teaching, 36);
