//! The kernel programs on built frames. Every story is told on both families and on every kind of
//! device; see [`nsp_tests::prog`]. One concept a file.

mod budget;
mod captures;
mod discovery;
mod dry_run;
mod fragments;
mod generations;
mod icmp;
mod inbound;
mod infrastructure;
mod lengths;
mod link;
mod martians;
mod modes;
mod mutated;
mod names;
mod names_hostile;
mod names_tcp;
mod options;
mod outbound;
mod overlay;
mod parity;
mod platform;
mod protocols;
mod proven;
mod quota;
mod records;
mod resolver;
mod resources;
mod service_tags;
mod spoofed;
mod tcp;
mod trusted;
mod udp;
mod unassociated;
