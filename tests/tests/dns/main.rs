//! The reader of DNS messages that the kernel programs run, against another that was written by
//! somebody else.

mod captures;
mod corpus;
mod hostile;
mod mutated;
