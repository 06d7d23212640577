//! What the verifier is given to do: instructions that it walks, under a written ceiling.

use nsp_tests::prog::Lab;

/// Instructions that the verifier may walk in one program. It gives up at a million; the margin is
/// for kernels that prune less than the one at hand.
const CEILING: u32 = 280_000;

/// Every program there is.
const PROGRAMS: [&str; 13] = [
    "nsp_connect4",
    "nsp_connect6",
    "nsp_egress",
    "nsp_egress_bare",
    "nsp_explain",
    "nsp_ingress",
    "nsp_ingress_bare",
    "nsp_order",
    "nsp_send",
    "nsp_sendmsg4",
    "nsp_sendmsg6",
    "nsp_teach",
    "nsp_xdp",
];

#[test]
fn every_program_stays_under_the_ceiling() {
    let lab = Lab::shared();
    let mut verified = lab.datapath.verified_instructions();
    verified.sort();
    let names: Vec<_> = verified.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, PROGRAMS);
    for (name, instructions) in verified {
        println!("{name}: {instructions} of {CEILING}");
        assert!(instructions > 0, "{name}: the kernel does not tell");
        assert!(instructions <= CEILING, "{name}: {instructions} instructions of {CEILING}");
    }
}
