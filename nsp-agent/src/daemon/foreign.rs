//! Programs of others at the hooks of covered devices: said once when one comes and when it goes, and shown
//! by `status` as long as it is there. One that is asked before ours may take packets past it.

pub mod order;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::order::{Place, Program, is_nsp, others};
use super::{errors::with_sources, state::Agent};
use crate::{
    datapath::{Side, name_of_program, programs_at},
    host::{filters, xdp},
};

/// What somebody else has at a hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Other {
    interface: String,
    side: Side,
    program: Program,
}

/// What others have at the hooks, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Others {
    found: BTreeMap<Other, Place>,
    /// Why that may not be all.
    unknown: Option<String>,
}

impl Others {
    /// Why it may not be known what others have.
    pub(super) fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// For `nsp status`.
    pub(super) fn json(&self) -> Value {
        let entry = |(other, place): (&Other, &Place)| {
            let Other { interface, side, program: Program { how, id, name } } = other;
            json!({
                "interface": interface,
                "side": side.name(),
                "place": place.name(),
                "how": how,
                "program": id,
                "name": name,
                "anotherNsp": name.as_deref().map(is_nsp),
            })
        };
        self.found.iter().map(entry).collect()
    }

    /// A name that was found before: to open a program costs three calls, and its number is never another's.
    fn name_of(&self, id: u32) -> Option<String> {
        let known = self.found.keys().find(|other| other.program.id == Some(id));
        // That it may not be known is so for all of them.
        known.map_or_else(|| name_of_program(id).ok(), |other| other.program.name.clone())
    }

    /// What is there now. Says what is different.
    fn replace(&mut self, found: BTreeMap<Other, Place>) {
        for (Other { interface, side, program }, place) in &found {
            let other =
                Other { interface: interface.clone(), side: *side, program: program.clone() };
            if self.found.get(&other) == Some(place) {
                continue;
            }
            let (side, Program { how, id, name }) = (side.name(), program);
            let another_nsp = name.as_deref().map(is_nsp);
            let what = match place {
                Place::Before => {
                    "another program is asked before nsp, and may take packets past it"
                }
                Place::After => "another program is asked after nsp, and sees what nsp passed",
            };
            tracing::warn!(interface, side, how, id, name, another_nsp, "{what}");
        }
        for Other { interface, side, program } in
            self.found.keys().filter(|it| !found.contains_key(it))
        {
            let (side, Program { how, id, name }) = (side.name(), program);
            tracing::warn!(
                interface,
                side,
                how,
                id,
                name,
                "another program has gone from its hook"
            );
        }
        self.found = found;
    }
}

impl Agent {
    /// Looks who else is at the hooks.
    pub(super) async fn see_others(&mut self) {
        if self.is_off() {
            // Nobody is before or after hooks that are not there.
            return;
        }
        match self.find_others().await {
            Ok(found) => {
                self.others.replace(found);
                self.others.unknown = None;
            }
            Err(why) => {
                if self.others.unknown.as_ref() != Some(&why) {
                    tracing::warn!(%why, "it is not known who else is at the hooks");
                }
                self.others.unknown = Some(why);
            }
        }
    }

    async fn find_others(&self) -> Result<BTreeMap<Other, Place>, String> {
        let own = self.datapath.own_programs().map_err(|error| with_sources(&error))?;
        let places = filters::places().await.map_err(|error| with_sources(&error))?;
        let mut found = BTreeMap::new();
        for (device, _) in self.attachments.iter() {
            for side in Side::ALL {
                let chain = match self.chain(device.index, side, &places, &own).await {
                    Ok(chain) => chain,
                    // A device that goes takes its hooks along, and the kernel says so by itself.
                    Err(_) if !self.links.iter().any(|link| link.index == device.index) => continue,
                    Err(why) => return Err(format!("{}: {why}", device.name)),
                };
                for (place, program) in others(chain, |id| own.contains(&id)) {
                    found.insert(Other { interface: device.name.clone(), side, program }, place);
                }
            }
        }
        Ok(found)
    }

    /// All programs that packets of a device meet that way, in that order.
    async fn chain(
        &self,
        index: u32,
        side: Side,
        places: &[(u32, bool)],
        own: &BTreeSet<u32>,
    ) -> Result<Vec<Program>, String> {
        let named = |how: &str, id: u32| Program {
            how: how.to_owned(),
            id: Some(id),
            name: if own.contains(&id) { None } else { self.others.name_of(id) },
        };
        let mut chain = Vec::new();
        if side == Side::Ingress {
            let programs = xdp::programs(index).await.map_err(|error| with_sources(&error))?;
            chain.extend(programs.into_iter().map(|(how, id)| named(how, id)));
        }
        let programs = programs_at(index, side).map_err(|error| with_sources(&error))?;
        chain.extend(programs.into_iter().map(|id| named("tcx", id)));
        let has_filters =
            places.iter().any(|(device, out)| *device == index && (side == Side::Ingress || *out));
        if has_filters {
            let read = filters::read(index, side.parent()).await;
            for filter in read.map_err(|error| with_sources(&error))? {
                let how = format!("{} filter {:#x}", filter.kind, filter.handle);
                chain.push(Program { how, id: filter.program, name: filter.name });
            }
        }
        Ok(chain)
    }
}
