//! The whole agent on real traffic: real sockets in namespaces, the real binary beside them. Each
//! test has a world of its own and says what the socket met, what the access log says of it and,
//! where numbers matter, what the kernel counted. One concept a file.
//!
//! Most of a test's time is spent waiting for silence, so the tests run side by side; on a small
//! machine `RUST_TEST_THREADS=4` is a good choice.

mod accounting;
mod adoption;
mod again;
mod agree;
mod answering;
mod apply;
mod bad_policy;
mod booted;
mod calls;
mod capabilities;
mod cgroup;
mod clock;
mod clouds;
mod coexist;
mod confirm;
mod crowd;
mod dnat;
mod dns_server;
mod dns_status;
mod dns_stub;
mod each_step;
mod evasion;
mod exec;
mod failsafe;
mod faults;
mod foreign;
mod fresh_names;
mod history;
mod hotplug;
mod inbound;
mod independent;
mod infrastructure;
mod knocker;
mod links;
mod loading;
mod many_flows;
mod modes;
mod names;
mod names_dig;
mod names_in_time;
mod names_outside;
mod names_pieces;
mod office;
mod outbound;
mod outlive;
mod overlay;
mod perimeter;
mod pins;
mod private_uplink;
mod scattered;
mod second;
mod seen;
mod service;
mod spoofed;
mod strict_dns;
mod switch;
mod switch_broken;
mod take_back;
mod takeover;
mod tun;
mod two_hundred;
mod two_policies;
mod watch;
