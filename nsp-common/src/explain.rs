//! Question and answer of the dry run: a described packet in, the decision out.

use crate::{
    decision::{Decision, FlowAction},
    packet::Packet,
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Question {
    /// The sender's cgroup ids by level below the root; the first place is unused.
    pub cgroups: [u64; 8],
    /// The packet as the parser would have left it.
    pub packet: Packet,
}

/// What was decided, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// Identity of the rule, or zero.
    pub rule: u32,
    /// Identity of the name, or zero.
    pub name: u32,
    /// Number of the generation that answered; zero when none is published.
    pub generation: u32,
    /// Identity of the association, or zero.
    pub association: u16,
    /// [`crate::verdict::Verdict`].
    pub verdict: u8,
    /// [`crate::verdict::Reason`].
    pub reason: u8,
    /// [`crate::verdict::TrafficClass`].
    pub class: u8,
    /// [`crate::verdict::Direction`] of the side whose opening was judged.
    pub opener: u8,
    /// [`crate::verdict::AccessMode`].
    pub mode: u8,
    /// One when it passes and would not when enforced.
    pub would_deny: u8,
    /// [`crate::verdict::Category`].
    pub category: u8,
    /// [`FlowAction`].
    pub flow: u8,
    /// One: the program ran (the bytes are not the question's).
    pub answered: u8,
    /// Zero.
    pub _pad: u8,
}

crate::shared!(Question, 176);
crate::shared!(Answer, 24);

impl Answer {
    /// The decision in numbers.
    #[inline(always)]
    pub const fn of(decision: &Decision, generation: u32) -> Self {
        let mut answer = Self {
            rule: 0,
            name: 0,
            generation: 0,
            association: 0,
            verdict: 0,
            reason: 0,
            class: 0,
            opener: 0,
            mode: 0,
            would_deny: 0,
            category: 0,
            flow: 0,
            answered: 0,
            _pad: 0,
        };
        answer.fill(decision, generation);
        answer
    }

    /// Writes the decision in numbers where the answer is wanted: the program that does so has no
    /// stack to spare for another.
    #[inline(always)]
    pub const fn fill(&mut self, decision: &Decision, generation: u32) {
        self.rule = decision.rule;
        self.name = decision.name;
        self.generation = generation;
        self.association = decision.association;
        self.verdict = decision.verdict as u8;
        self.reason = decision.reason as u8;
        self.class = decision.class as u8;
        self.opener = decision.opener as u8;
        self.mode = decision.mode as u8;
        self.would_deny = decision.would_deny as u8;
        self.category = decision.category() as u8;
        self.flow = match decision.flow {
            FlowAction::None => 0,
            FlowAction::Touch => 1,
            FlowAction::Open => 2,
        };
        self.answered = 1;
        self._pad = 0;
    }
}
