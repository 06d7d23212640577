//! Who of those that a packet meets is asked before whom.

/// A program at a hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// By what it is there: `xdp native`, `tcx`, `bpf filter 0x1`.
    pub how: String,
    /// Its number; filters of other kinds have none.
    pub id: Option<u32>,
    /// Its name, or that of its filter. Unknown without CAP_SYS_ADMIN at XDP and tcx.
    pub name: Option<String>,
}

/// Where another program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What it takes, redirects or ends the chain for is never judged.
    Before,
    /// It is asked about what was passed, and may do with it what it likes.
    After,
}

impl Place {
    /// The word in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Those of a chain that are not ours, each with its place. Where none is ours all of them come before.
pub fn others(chain: Vec<Program>, is_ours: impl Fn(u32) -> bool) -> Vec<(Place, Program)> {
    let is_ours = |program: &Program| program.id.is_some_and(&is_ours);
    let ours = chain.iter().position(is_ours).unwrap_or(chain.len());
    let placed = chain.into_iter().enumerate().filter(|(_, program)| !is_ours(program));
    placed
        .map(|(at, program)| (if at < ours { Place::Before } else { Place::After }, program))
        .collect()
}

/// Whether a program of this name is another agent's.
pub fn is_nsp(name: &str) -> bool {
    ["nsp_xdp", "nsp_ingress", "nsp_egress"].iter().any(|own| name.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(ids: &[Option<u32>]) -> Vec<Program> {
        let program = |id: &Option<u32>| Program { how: "tcx".into(), id: *id, name: None };
        ids.iter().map(program).collect()
    }

    fn places(ids: &[Option<u32>]) -> Vec<(&'static str, Option<u32>)> {
        let placed = others(chain(ids), |id| id == 7);
        placed.into_iter().map(|(place, program)| (place.name(), program.id)).collect()
    }

    #[test]
    fn who_comes_first_is_before_and_who_comes_later_after() {
        assert_eq!(places(&[]), []);
        assert_eq!(places(&[Some(7)]), []);
        assert_eq!(
            places(&[Some(1), Some(7), None, Some(2)]),
            [("before", Some(1)), ("after", None), ("after", Some(2))]
        );
    }

    #[test]
    fn where_none_is_ours_all_are_before() {
        assert_eq!(places(&[Some(1), None]), [("before", Some(1)), ("before", None)]);
    }

    #[test]
    fn another_agent_is_known_by_its_programs() {
        for name in ["nsp_xdp", "nsp_ingress_bar", "nsp_egress"] {
            assert!(is_nsp(name), "{name}");
        }
        for name in ["", "nsp", "xdp_dispatcher", "cil_from_netdev", "my_nsp_xdp"] {
            assert!(!is_nsp(name), "{name}");
        }
    }
}
