//! The agent with the three capabilities of its unit (packaging/nsp.service) and no other.

use std::fs;

use nsp_tests::{agent::Agent, deadline::Deadline};
use serde_json::json;

use crate::{
    pins::{POSTGRES, is_closed, is_open, policy, world},
    seen, service,
};

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (linux/capability.h).
const THREE: u64 = 1 << 12 | 1 << 38 | 1 << 39;

pub(crate) const WITH_THREE: [&str; 2] =
    ["setpriv", "--bounding-set=-all,+net_admin,+perfmon,+bpf"];

fn effective(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line");
    u64::from_str_radix(line.trim(), 16).expect("a number")
}

#[test]
fn three_capabilities_are_enough_for_all_but_sessions() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent =
        Agent::builder(world.server()).policy(&policy("transition")).through(&WITH_THREE).start();
    let pid = agent.process().pid();
    assert_eq!(effective(pid), THREE);
    is_open(&world);
    agent.write_policy(&policy("enforced"));
    agent.nsp_ok(&["apply"]);
    is_closed(&world);
    seen::record(&agent, &json!({"ResultAction": "Denied"}));
    let stranger = nsp_tests::packet::Party::Stranger.address(nsp_tests::packet::Family::V4);
    agent.nsp_ok(&["allow", &stranger.to_string(), "--for", "1m"]);
    agent.nsp_ok(&["explain", &stranger.to_string(), "5432"]);
    agent.nsp_ok(&["status"]);
    // Who has more than the agent cannot be looked at by it: that takes a fourth (CAP_SYS_PTRACE).
    let session = agent.nsp(&["exec", "--allow", "example.com", "--", "true"]);
    assert!(!session.status.success(), "the manual says otherwise");
    agent.nsp_ok(&["block", &stranger.to_string(), "--for", "1m"]);
    // It goes on with what it pinned, and takes it away.
    agent.kill();
    is_closed(&world);
    agent.start();
    assert_eq!(effective(agent.process().pid()), THREE);
    is_closed(&world);
    agent.nsp_ok(&["detach"]);
    let open = Deadline::after(service::PATIENCE)
        .poll(|| agent.home().pin_dir().read_dir().is_err().then_some(()));
    assert!(open.is_some(), "pins stay");
    is_open(&world);
}
