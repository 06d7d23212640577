//! Hooks that are not where they belong: put back where somebody took them away, tried again where they could not
//! be put. Nothing else may ever happen on the host that would be a reason to.

use std::{collections::BTreeMap, time::Instant};

use super::{errors::with_sources, state::Agent};

/// Where a hook is, as people say it, and for what.
type Place = (String, &'static str);

/// The hooks at programs' calls.
const CALLS: (&str, &str) = ("all cgroups", "calls");

/// Hooks that are gone and could not be put back, with the reason. It is tried every second, and told of when it
/// comes to that, when the reason is another one, and when the hook is back.
#[derive(Debug, Default)]
pub(super) struct Unrepaired(BTreeMap<Place, String>);

impl Unrepaired {
    /// Whether this outcome is another than that of the last try.
    fn is_news(&self, place: &Place, outcome: &Result<(), String>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(why) => self.0.get(place) != Some(why),
        }
    }

    fn has(&self, (place, way): (&str, &'static str)) -> bool {
        self.0.contains_key(&(place.to_owned(), way))
    }

    /// What is wrong at an interface.
    pub(super) fn at(&self, interface: &str) -> Option<String> {
        let here: Vec<String> = self
            .0
            .iter()
            .filter(|((place, _), _)| place == interface)
            .map(|((_, way), why)| format!("no hook at its {way}: {why}"))
            .collect();
        (!here.is_empty()).then(|| here.join("; "))
    }
}

impl Agent {
    /// Puts back hooks that somebody took away.
    pub(super) fn repair_hooks(&mut self) {
        let gap_max_ms = self.hooks_seen.elapsed().as_millis() as u64;
        let mut tried: Vec<(Place, Result<(), String>)> = Vec::new();
        for (interface, way, again) in
            self.attachments.repair(&mut self.datapath, self.options.xdp_mode)
        {
            // Where the device is gone, the kernel says so by itself.
            if self.links.iter().any(|link| link.name == interface) {
                tried.push(((interface, way), again.map_err(|error| with_sources(&error))));
            }
        }
        let calls_are_gone = match &mut self.calls {
            Ok(calls) => !calls.are_there(),
            Err(_) => self.unrepaired.has(CALLS),
        };
        if calls_are_gone && !self.is_off() {
            tried.push(((CALLS.0.to_owned(), CALLS.1), self.hook_calls()));
        }
        let before = std::mem::take(&mut self.unrepaired);
        for (place, outcome) in tried {
            if before.is_news(&place, &outcome) {
                self.tell_of_repair(&place, gap_max_ms, outcome.as_ref().err());
            }
            if let Err(why) = outcome {
                self.unrepaired.0.insert(place, why);
            }
        }
        if self.unrepaired.0.is_empty() {
            self.hooks_seen = Instant::now();
        }
    }

    /// Tries to hook what never was: devices that should be covered, and programs' calls.
    pub(super) fn hook_again(&mut self) {
        if self.is_off() {
            return;
        }
        if !self.uncovered.is_empty() {
            // What the kernel knows of the device may have been refused as well.
            self.cover_chosen();
        }
        if self.calls.is_err() && !self.unrepaired.has(CALLS) {
            // What comes of it is said, and `status` has it.
            let _hooked = self.hook_calls();
        }
    }

    fn tell_of_repair(&mut self, (place, way): &Place, gap_max_ms: u64, why: Option<&String>) {
        let said = match why {
            None => {
                tracing::error!(
                    interface = place,
                    way,
                    gap_max_ms,
                    "somebody took a hook away; it is back"
                );
                format!(
                    "{place}: somebody took the hook of its {way} away; it is back, after {gap_max_ms} ms at most"
                )
            }
            Some(why) => {
                tracing::error!(
                    interface = place,
                    way,
                    why,
                    "somebody took a hook away; it is not back"
                );
                format!("{place}: no hook at its {way}: {why}")
            }
        };
        self.last_error = Some(said);
        self.record_repair(place, way, gap_max_ms, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_every_second_is_told_of_once() {
        let place = |name: &str| (name.to_owned(), "egress");
        let refused = |why: &str| Err(why.to_owned());
        let before = Unrepaired([(place("eth0"), "busy".to_owned())].into());
        assert!(!before.is_news(&place("eth0"), &refused("busy")));
        assert!(before.is_news(&place("eth0"), &refused("no memory")), "another reason");
        assert!(before.is_news(&place("eth0"), &Ok(())), "it is back");
        assert!(before.is_news(&place("eth1"), &refused("busy")), "another device");
        assert!(before.is_news(&("eth0".to_owned(), "ingress"), &refused("busy")), "another side");
        assert_eq!(before.at("eth0").as_deref(), Some("no hook at its egress: busy"));
        assert_eq!(before.at("eth1"), None);
    }
}
