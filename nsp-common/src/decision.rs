//! What was decided of a packet.

use crate::verdict::{AccessMode, Category, Direction, Reason, TrafficClass, Verdict};

/// What becomes of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowAction {
    /// Nothing.
    None = 0,
    /// The packet belongs to the conversation found last by [`crate::decide::Tables::flow`].
    Touch = 1,
    /// It opens one.
    Open = 2,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Decision {
    /// Pass or drop.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Where the peer stands.
    pub class: TrafficClass,
    /// Whose opening of the conversation was judged.
    pub opener: Direction,
    /// The mode that applied.
    pub mode: AccessMode,
    /// It passes, but enforced it would not.
    pub would_deny: bool,
    /// An entry of the live overlay allows it, and as long as that does.
    pub temporary: bool,
    /// What becomes of the conversation.
    pub flow: FlowAction,
    /// Identity of the association, or zero.
    pub association: u16,
    /// Identity of the rule, or zero.
    pub rule: u32,
    /// Identity of the name, or zero.
    pub name: u32,
}

impl Decision {
    /// A pass that needs no rule.
    #[inline(always)]
    pub(crate) const fn pass(reason: Reason, class: TrafficClass, opener: Direction) -> Self {
        Self {
            verdict: Verdict::Pass,
            reason,
            class,
            opener,
            mode: AccessMode::Transition,
            would_deny: false,
            temporary: false,
            flow: FlowAction::None,
            association: 0,
            rule: 0,
            name: 0,
        }
    }

    /// What a perimeter of its own does not let out: no rule of the association was asked, for the packet is
    /// of somebody else's conversation.
    #[inline(always)]
    pub const fn outside(association: u16) -> Self {
        Self { reason: Reason::NoRule, ..Self::strict_dns(association, 0) }
    }

    /// A question that strict DNS does not let out. `name` stands for what was asked.
    #[inline(always)]
    pub const fn strict_dns(association: u16, name: u32) -> Self {
        Self {
            verdict: Verdict::Drop,
            reason: Reason::StrictDns,
            class: TrafficClass::Public,
            opener: Direction::Outbound,
            mode: AccessMode::Enforced,
            would_deny: false,
            temporary: false,
            flow: FlowAction::None,
            association,
            rule: 0,
            name,
        }
    }

    /// The access-log category.
    #[inline(always)]
    pub const fn category(&self) -> Category {
        if self.association == 0 && !self.would_deny && matches!(self.verdict, Verdict::Pass) {
            // Nobody's resource: counted, not logged.
            return Category::None;
        }
        Category::of(self.class, self.opener, self.verdict, self.would_deny)
    }
}
