//! One name: its addresses, when it is due, what went wrong.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    ADDRESSES_PER_NAME, Batch, GRACE_S, HOLD_BELOW_S, HOLD_S, LearnedUpdate, REFRESH_PERCENT,
    RETRY_S_MAX, Removal, STALE_S_MAX, TTL_S_MAX, TTL_S_MIN,
};
use crate::names::{
    forbidden::{Forbidden, Why},
    resolve::{Answer, ResolveError},
};

/// One address of a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// When it was first in an answer.
    pub(super) learned_s: u64,
    /// When the TTL of the last answer that had it ends.
    pub(super) valid_until_s: u64,
    /// What was taught: when it ends for new conversations.
    pub(super) expires_s: u64,
    /// Whether the last answer had it.
    pub(super) current: bool,
}

#[derive(Debug)]
pub(super) struct Name {
    pub(super) fqdn: Arc<str>,
    pub(super) held: BTreeMap<IpAddr, Held>,
    /// When to ask next.
    pub(super) due_s: u64,
    /// It was asked and has not answered yet.
    pub(super) asking: bool,
    /// Lookups without a good answer, in a row.
    pub(super) failures: u32,
    /// When the last good answer came.
    pub(super) answered_s: Option<u64>,
    /// What went wrong at the last lookup.
    pub(super) error: Option<ResolveError>,
    /// Addresses refused because they are forbidden, and the last of them.
    pub(super) forbidden: u64,
    pub(super) last_forbidden: Option<(IpAddr, Why)>,
    /// Addresses refused because the name had too many.
    pub(super) over_quota: u64,
}

impl Name {
    pub(super) fn new(fqdn: &str, now_s: u64) -> Self {
        Self {
            fqdn: fqdn.into(),
            held: BTreeMap::new(),
            due_s: now_s,
            asking: false,
            failures: 0,
            answered_s: None,
            error: None,
            forbidden: 0,
            last_forbidden: None,
            over_quota: 0,
        }
    }

    pub(super) fn is_due(&self, now_s: u64) -> bool {
        !self.asking && self.due_s <= now_s
    }

    /// An answer. One that is half (a family was not answered) teaches what it has, takes nothing
    /// away and counts as a failure.
    pub(super) fn learn(
        &mut self,
        identity: u32,
        answer: &Answer,
        forbidden: &Forbidden,
        now_s: u64,
        batch: &mut Batch,
    ) {
        let Answer { addresses, ttl, incomplete } = answer;
        let ttl_s = ttl.as_secs().clamp(TTL_S_MIN, TTL_S_MAX);
        self.asking = false;
        self.answered_s = Some(now_s);
        match incomplete {
            Some(error) => self.retry(error, now_s),
            None => {
                self.failures = 0;
                self.error = None;
                self.due_s = now_s + ttl_s * REFRESH_PERCENT / 100;
                self.held.values_mut().for_each(|held| held.current = false);
            }
        }
        for address in addresses {
            let address = address.to_canonical();
            if let Some(why) = forbidden.why(address) {
                self.forbidden += 1;
                self.last_forbidden = Some((address, why));
                continue;
            }
            if !self.held.contains_key(&address) && !self.make_room(identity, now_s, batch) {
                self.over_quota += 1;
                continue;
            }
            let valid_until_s = now_s + ttl_s;
            let fresh = Held { learned_s: now_s, valid_until_s, expires_s: 0, current: true };
            let held = self.held.entry(address).or_insert(fresh);
            held.valid_until_s = valid_until_s;
            held.current = true;
            held.teach(address, identity, valid_until_s + GRACE_S, batch);
        }
    }

    /// No answer, or one that says there are no addresses: then nothing is held on to.
    pub(super) fn fail(&mut self, error: &ResolveError, now_s: u64) {
        self.asking = false;
        self.retry(error, now_s);
        if error.is_denial() {
            self.held.values_mut().for_each(|held| held.current = false);
        }
    }

    fn retry(&mut self, error: &ResolveError, now_s: u64) {
        let pause_s = 1_u64.checked_shl(self.failures).unwrap_or(RETRY_S_MAX).min(RETRY_S_MAX);
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error.clone());
        self.due_s = now_s + pause_s;
    }

    /// Prolongs the addresses of the last good answer while the next is overdue: resolvers that do
    /// not answer, or a long queue, must not take a working service away.
    pub(super) fn hold(&mut self, identity: u32, now_s: u64, batch: &mut Batch) {
        let unanswered = self.asking || self.due_s <= now_s || self.failures > 0;
        let stale_s = self.answered_s.map_or(0, |answered_s| answered_s + STALE_S_MAX);
        if !unanswered || now_s >= stale_s {
            return;
        }
        for (address, held) in &mut self.held {
            if held.current && held.expires_s < now_s + HOLD_BELOW_S {
                let expires_s = held.expires_s.max((now_s + HOLD_S).min(stale_s));
                held.teach(*address, identity, expires_s, batch);
            }
        }
    }

    /// Makes sure there is room for one more address: only the oldest one that is past its TTL
    /// gives way.
    fn make_room(&mut self, identity: u32, now_s: u64, batch: &mut Batch) -> bool {
        if self.held.len() < ADDRESSES_PER_NAME {
            return true;
        }
        let over =
            self.held.iter().filter(|(_, held)| !held.current && held.valid_until_s <= now_s);
        let Some(oldest) = over.min_by_key(|(_, held)| held.valid_until_s).map(|(it, _)| *it)
        else {
            return false;
        };
        self.remove_where(identity, batch, |address, _| address == oldest);
        true
    }

    pub(super) fn remove_where(
        &mut self,
        identity: u32,
        batch: &mut Batch,
        gone: impl Fn(IpAddr, &Held) -> bool,
    ) {
        self.held.retain(|address, held| {
            let keep = !gone(*address, held);
            if !keep {
                batch.removals.push(Removal { address: *address, name: identity });
            }
            keep
        });
    }

    pub(super) fn next_s(&self) -> Option<u64> {
        let due_s = (!self.asking).then_some(self.due_s);
        let unanswered = self.asking || self.failures > 0;
        let ends = self.held.values().map(|held| match unanswered && held.current {
            true => held.expires_s.saturating_sub(HOLD_BELOW_S - 1),
            false => held.expires_s,
        });
        due_s.into_iter().chain(ends).min()
    }
}

impl Held {
    fn teach(&mut self, address: IpAddr, name: u32, expires_s: u64, batch: &mut Batch) {
        if self.expires_s != expires_s {
            self.expires_s = expires_s;
            batch.updates.push(LearnedUpdate { address, name, expires_s });
        }
    }
}
