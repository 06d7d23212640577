//! From the kernel's records to the access log.

use super::{errors::with_sources, exec, off::OFF, state::Agent};
use crate::{
    access_log::{clock::Clock, record::AccessRecord},
    datapath::Drained,
    history::Entry,
    host::cgroups,
};

impl Agent {
    /// Writes the access records gathered so far.
    pub(super) fn drain(&mut self) {
        match self.datapath.drain_records() {
            Ok(drained) => self.tell(&drained),
            Err(error) => self.complain("access records are not read", &error),
        }
    }

    /// Writes records that were taken from the kernel.
    pub(super) fn tell(&mut self, drained: &Drained) {
        if drained.is_empty() {
            return;
        }
        let clock = Clock::read();
        let enabled = &self.loaded.policy.logging.enabled_log_categories;
        let mut sessions = std::mem::take(&mut self.sessions);
        let mut unlogged = 0;
        let mut records: Vec<AccessRecord> = drained
            .iter()
            .map(|(key, record)| {
                let naming = self.naming_of_record(key);
                let mut said = AccessRecord::of(key, record, &self.catalogue, &clock)
                    .with_asked_name(key, naming.as_ref());
                if let Some(unit) = self.unit_of_cgroup(record.cgroup) {
                    said.unit = Some(unit);
                }
                exec::add_to(&mut sessions, key, record, &said);
                said
            })
            .filter(|record| {
                let is_enabled = enabled.iter().any(|known| known.as_str() == record.category);
                unlogged += if is_enabled { 0 } else { record.packets };
                is_enabled
            })
            .collect();
        self.sessions = sessions;
        if let Some(ledger) = &self.ledger {
            ledger.tell(unlogged);
        }
        records.sort_by_key(|record| record.time_generated);
        self.writer.write(records);
    }

    /// The unit that a cgroup belongs to, as long as it is there.
    fn unit_of_cgroup(&self, cgroup: u64) -> Option<String> {
        let path = self.tree()?.path_of(cgroup)?;
        cgroups::unit_of(path).map(str::to_owned)
    }

    /// The last records are written. What is pinned stays in force, unless it is to go with the agent (`detach`,
    /// with the record of who asked for that); the rest is detached when it is dropped.
    ///
    /// # Errors
    /// What was to be detached and is not.
    pub(super) fn end(mut self, detach: Option<Option<Entry>>) -> Result<(), String> {
        let stays = detach.is_none() && self.datapath.origin().is_some();
        let detached = match detach {
            Some(asked) => {
                let detached = self.detach();
                self.record_detach(asked, &detached);
                detached
            }
            None => {
                self.record_end();
                Ok(())
            }
        };
        let is_off = self.is_off();
        self.end_sessions();
        self.drain();
        self.save_learned_at_last();
        let (state, in_time) = self.writer.close(std::time::Duration::from_secs(3));
        if !in_time || state.lost.lines != 0 {
            tracing::error!(
                lines = state.lost.lines,
                packets = state.lost.packets,
                "access log lost"
            );
        }
        match (stays, is_off) {
            (true, true) => eprintln!("nsp: {OFF}"),
            (true, false) => {
                eprintln!("nsp: the perimeter stays in force; `nsp detach` takes it away");
            }
            (false, _) => {}
        }
        detached
    }

    /// Unhooks everything, pinned or not.
    fn detach(&mut self) -> Result<(), String> {
        self.unhook("detached")?;
        self.datapath.remove_pins().map_err(|error| with_sources(&error))
    }
}
