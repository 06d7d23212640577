//! What needs nothing of the machine and is about more than one crate: bytes of all kinds.

mod big;
mod corpus;
mod dry;
