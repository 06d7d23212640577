//! The kernel programs on built frames, without a network: `BPF_PROG_TEST_RUN` on loaded programs
//! and real maps.
//!
//! ```no_run
//! use nsp_common::verdict::Reason;
//! use nsp_tests::{packet::{Party::{Office, Stranger, Server}, tcp}, prog::{ENFORCED, everywhere}};
//! everywhere(ENFORCED, |case| {
//!     let port = case.port();
//!     case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
//!     case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
//! });
//! ```
//!
//! [`everywhere`] runs a story on both families and on every kind of device. Each judged packet is
//! held against three things at once: the action code, the change of every counter there is, and the
//! access record with its event (or that there is none). The programs are loaded once a process and
//! stories take turns; each has its own ports, so no story meets another's conversations.
//!
//! Needs root, but no namespace: a test run takes no frame from and puts none on any device.

mod addresses;
mod case;
pub mod crowd;
mod entries;
mod flood;
mod judged;
mod lab;
pub mod model;
mod mutation;
mod policy;
mod pool;
pub mod random;
mod runner;
pub mod taught;

pub use self::{
    case::{Case, Hook, TC_DROP, TC_PASS, XDP_DROP, XDP_PASS, everywhere, on},
    entries::{Entries, Entry},
    flood::{Flood, Tally, side_by_side},
    judged::{Judged, Recorded},
    lab::{DEVICE, Delta, Lab, Network},
    policy::{ENFORCED, Generation, MIRROR, OFFICE, compiled, loaded, transition},
    pool::Loan,
    runner::{Frame, Runner},
};
