//! Learned addresses across restarts: written while the agent runs, taught again before the first
//! generation that enforces.

use std::{collections::HashMap, sync::Arc};

use nsp_common::{
    learned::{GRACE_S, TTL_S_MAX, Unit},
    verdict::Lesson,
};
use serde_json::{Value, json};

use super::{now_s, unit_of};
use crate::{
    daemon::{
        errors::with_sources,
        state::Agent,
        store::learned::{self, Asked, Entry, Found, Remembered, Saver},
    },
    datapath::DatapathError,
    names::naming,
};

/// Seconds between two writings.
const PAUSE: u64 = 10;

/// What is known of the file.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Memory {
    saver: Arc<Saver>,
    /// The number of the last writing.
    turn: u64,
    /// The second of the agent's life before which it is not written again.
    not_before: u64,
    /// What the kernel had learned when it was written last, and what the agent had.
    written_at: Option<(u64, u64)>,
    /// What the agent taught.
    taught: u64,
    /// Addresses' names that were taught again at the start, and those that were not.
    restored: usize,
    left_out: usize,
    /// No agent of this boot has left anything.
    pub(in crate::daemon) is_first: bool,
}

impl Memory {
    /// The agent taught or took away something.
    pub(in crate::daemon) fn changed(&mut self) {
        self.taught += 1;
    }

    pub(in crate::daemon) fn to_json(&self) -> Value {
        json!({
            "restored": self.restored,
            "leftOut": self.left_out,
            "firstOfThisBoot": self.is_first,
            "writings": self.turn,
        })
    }
}

impl Agent {
    /// Teaches the kernel what an agent of this boot had learned, as far as it still holds.
    pub(in crate::daemon) fn restore_learned(&mut self) {
        let remembered = match learned::load(&self.options.state_dir) {
            Ok(Found::Remembered(remembered)) => remembered,
            Ok(Found::Nothing | Found::Unreadable) => {
                self.dns.memory.is_first = true;
                return;
            }
            Err(error) => return self.complain("learned names are not read", &error),
        };
        let listed = self.compiled.fqdns.iter();
        let units: HashMap<String, Unit> =
            listed.map(|(identity, it)| (it.to_string(), unit_of(*identity, it))).collect();
        let forbidden = self.forbidden();
        let (good, left_out) = remembered.still_good(
            now_s(),
            now_s() + TTL_S_MAX + GRACE_S,
            |name| units.contains_key(name),
            |address| forbidden.why(address).is_some(),
        );
        self.dns.memory.left_out = left_out;
        for entry in &good {
            if let Err(error) = self.teach_again(entry, &units) {
                return self.complain("learned names are not restored", &error);
            }
        }
        tracing::info!(
            restored = self.dns.memory.restored,
            left_out = self.dns.memory.left_out,
            "learned names"
        );
    }

    fn teach_again(
        &mut self,
        entry: &Entry,
        units: &HashMap<String, Unit>,
    ) -> Result<(), DatapathError> {
        let Entry { address, held, asked } = entry;
        for (name, expires_s) in held {
            let Some(unit) = units.get(name) else { continue };
            match self.datapath.teach(*address, *unit, *expires_s)? {
                Lesson::Learned => self.dns.memory.restored += 1,
                _ => self.dns.memory.left_out += 1,
            }
        }
        let Some(Asked { name, under, source, at_s }) = asked else { return Ok(()) };
        let unit = under.as_ref().and_then(|it| units.get(it)).map_or(0, |unit| unit.name);
        match naming::remembered(name, unit, *source, (*at_s).min(now_s())) {
            Some(naming) => self.datapath.name_address(*address, &naming),
            None => Ok(()),
        }
    }

    /// Writes what is learned, if it changed and the last time is long enough ago; called every second.
    pub(in crate::daemon) fn save_learned(&mut self) {
        let memory = &self.dns.memory;
        if self.cares < memory.not_before || self.compiled.fqdns.is_empty() {
            return;
        }
        let now = match self.datapath.lesson(Lesson::Learned) {
            Ok(learned) => Some((learned, memory.taught)),
            Err(error) => return self.complain("learned names are not saved", &error),
        };
        if now == memory.written_at {
            return;
        }
        let remembered = match self.what_is_learned() {
            Ok(remembered) => remembered,
            Err(error) => return self.complain("learned names are not saved", &error),
        };
        let memory = &mut self.dns.memory;
        memory.written_at = now;
        // Nothing is lost by writing soon after nothing.
        memory.not_before = self.cares + if remembered.is_empty() { 0 } else { PAUSE };
        memory.turn += 1;
        let (saver, turn) = (memory.saver.clone(), memory.turn);
        let directory = self.options.state_dir.clone();
        // A hung disk must not hold up the loop.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = saver.save(&directory, &remembered, turn) {
                tracing::error!(why = %with_sources(&error), "learned names are not saved");
            }
        });
    }

    /// Writes what is learned, at the end.
    pub(in crate::daemon) fn save_learned_at_last(&mut self) {
        if self.compiled.fqdns.is_empty() {
            return;
        }
        let turn = self.dns.memory.turn + 1;
        let saved = self.what_is_learned().map_err(|error| with_sources(&error)).and_then(|it| {
            let saver = &self.dns.memory.saver;
            saver.save(&self.options.state_dir, &it, turn).map_err(|error| with_sources(&error))
        });
        if let Err(why) = saved {
            tracing::error!(%why, "learned names are not saved");
        }
    }

    fn what_is_learned(&self) -> Result<Remembered, DatapathError> {
        let listed = self.compiled.fqdns.iter();
        let names: HashMap<u32, String> =
            listed.map(|(identity, fqdn)| (*identity, fqdn.to_string())).collect();
        let now_s = now_s();
        let mut entries = Vec::new();
        for (address, learned) in self.datapath.learned()? {
            let valid = learned.names.iter().filter(|it| it.expires_s > now_s);
            let held: Vec<(String, u32)> =
                valid.filter_map(|it| Some((names.get(&it.name)?.clone(), it.expires_s))).collect();
            if held.is_empty() {
                continue;
            }
            let asked = self.datapath.naming_of(address)?.and_then(|it| {
                Some(Asked {
                    name: naming::text(&it)?,
                    under: names.get(&it.unit).cloned(),
                    source: it.source,
                    at_s: it.at_s,
                })
            });
            entries.push(Entry { address, held, asked });
        }
        Ok(Remembered::new(entries))
    }
}
