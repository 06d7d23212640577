//! Every map, with why it is there, and safe accessors over them.
//!
//! Tables that live across generations (conversations, learned addresses, routes) hold interned
//! identities only; class and rule numbers never leave their generation.

mod flow_filter;
mod flows;
mod host;
mod names;
mod namings;
mod overlay;
mod policy;
mod proven;
mod questions;
mod records;
mod sockets;
mod work;

pub(crate) use flow_filter::may_have;
pub(crate) use flows::*;
pub(crate) use host::*;
pub(crate) use names::*;
pub(crate) use namings::*;
pub(crate) use overlay::*;
pub(crate) use policy::*;
pub(crate) use proven::*;
pub(crate) use questions::*;
pub(crate) use records::*;
pub(crate) use sockets::*;
pub(crate) use work::*;

/// Copies out of a hash map: the entry may be reused at any time, a copy is at worst torn between
/// two valid values of plain integers.
macro_rules! copied {
    ($map:expr, $key:expr) => {
        // SAFETY: the reference ends with the copy; values are plain integers, see above.
        unsafe { $map.get($key) }.copied()
    };
}
use copied;
