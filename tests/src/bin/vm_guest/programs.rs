//! Loading: the verifier of this kernel, and what it took.

use std::time::Instant;

use nsp_tests::prog::Lab;

use crate::report::tell;

/// Half of what the verifier walks before it gives up (`BPF_COMPLEXITY_LIMIT_INSNS`): a change that
/// doubles a program's ways must not be the one that breaks it.
const BUDGET: u32 = 500_000;

/// The programs that the agent attaches or asks.
const PROGRAMS: [&str; 13] = [
    "nsp_xdp",
    "nsp_ingress",
    "nsp_egress",
    "nsp_ingress_bare",
    "nsp_egress_bare",
    "nsp_explain",
    "nsp_order",
    "nsp_teach",
    "nsp_connect4",
    "nsp_connect6",
    "nsp_sendmsg4",
    "nsp_sendmsg6",
    "nsp_send",
];

/// Loads the programs that the other checks use, and holds each against the budget.
pub(crate) fn load() {
    let start = Instant::now();
    let lab = Lab::shared();
    tell(&format!("loaded in {:.1} s", start.elapsed().as_secs_f64()));
    let mut verified = lab.datapath.verified_instructions();
    verified.sort();
    for (name, instructions) in &verified {
        tell(&format!("verified {name:<16} {instructions:>7} instructions"));
    }
    for name in PROGRAMS {
        assert!(verified.iter().any(|(it, _)| it == name), "{name} is not loaded");
    }
    for (name, instructions) in &verified {
        assert!(*instructions <= BUDGET, "{name}: {instructions} instructions, budget {BUDGET}");
    }
}
