//! The reader of DNS messages that the kernel programs run, against another that was written by
//! somebody else.

mod captures;
mod hostile;
mod mutated;
mod pcap;
mod reference;
mod subject;
