//! Where native XDP would have the kernel refuse what an operator does with a bond.
//!
//! The kernel hands a bond's program on to its slaves. From then on it refuses a slave that has a program of its
//! own, or a driver without XDP, and modes that cannot do it (`bond_enslave`, `bond_xdp_set`).

use super::{Choice, Link, LinkKind};

/// Whether a device that is judged must do without native XDP: a bond, and what may become a slave of one that
/// somebody else has given a program.
pub fn xdp_is_in_the_way(choice: &Choice, link: &Link, links: &[Link]) -> bool {
    let has_program = |it: &Link| it.kind == LinkKind::Bond && it.has_xdp;
    link.kind == LinkKind::Bond || choice.is_new && links.iter().any(has_program)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn link(index: u32, kind: LinkKind, has_xdp: bool) -> Link {
        Link { index, name: format!("d{index}"), kind, has_xdp, ..Link::default() }
    }

    #[rstest]
    #[case::bond(1, false, false, true)]
    #[case::bond_of_somebody_with_xdp(1, false, true, true)]
    #[case::card_without_an_address(2, true, false, false)]
    #[case::the_same_beside_a_bond_with_xdp(2, true, true, true)]
    #[case::card_with_an_address(2, false, true, false)]
    fn bonds_and_their_slaves_to_be_do_without(
        #[case] index: u32,
        #[case] is_new: bool,
        #[case] bond_has_xdp: bool,
        #[case] expected: bool,
    ) {
        let links = [link(1, LinkKind::Bond, bond_has_xdp), link(2, LinkKind::Device, false)];
        let link = &links[index as usize - 1];
        let choice = Choice { is_new, ..Choice::default() };
        assert_eq!(xdp_is_in_the_way(&choice, link, &links), expected);
    }
}
