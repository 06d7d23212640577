//! The kernel side as the agent holds it: the only folder that imports aya.
//!
//! [`Datapath::load`] puts the programs and maps into the kernel with room for a policy,
//! [`Datapath::publish`] writes a compiled generation into a slot that nobody reads and makes it
//! the current one by a single store, [`attach::Attachments`] hooks the programs to devices.
//!
//! **Invariant:** a failed load, publish or attach leaves what was in force in force.

mod addresses;
mod adopt;
pub mod attach;
mod batch;
mod calls;
mod control;
mod detach;
mod dry_run;
mod filter;
mod filter_hook;
mod flows;
mod hooks;
mod learned;
mod ledger;
mod link;
mod live;
mod mapped;
mod migrate;
mod namings;
mod object;
mod orders;
mod outlive;
mod overlay;
mod pending;
mod pins;
mod programs;
mod publish;
mod read;
mod room;

use std::{io, path::PathBuf};

use aya::{
    Ebpf,
    maps::{Map, MapError},
    programs::ProgramError,
};
use nsp_common::generation::SLOTS;

pub use addresses::Engine;
pub use adopt::Owner;
pub use calls::Calls;
pub use control::now_ns;
pub use detach::{DetachError, count_left, detach, unhook};
pub use flows::{FlowCursor, FlowEntry, FlowTable};
pub use ledger::Ledger;
use mapped::Mapped;
pub use migrate::Migrated;
pub use namings::WantedNames;
pub use object::{Capacities, OBJECT};
pub use outlive::Origin;
pub use pins::{PinDir, PinError};
pub use programs::{Side, name_of_program, programs_at};
pub use read::{Counters, Drained, Events};
pub use room::{FlowRoom, TableRoom};

/// What can go wrong between the agent and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The binary was built without the kernel programs.
    #[error("this binary carries no kernel programs; build it with `cargo xtask build`")]
    NoObject,
    /// The object was refused.
    #[error("cannot load the kernel programs")]
    Load(#[source] aya::EbpfError),
    /// There is no memory for the tables.
    #[error("the kernel has no memory for map {map}")]
    NoMemory {
        /// The map that did not fit any more.
        map: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// One program was refused.
    #[error("the kernel refuses program {program}")]
    Program {
        /// Its name.
        program: String,
        /// What the kernel says, with the verifier's log.
        #[source]
        source: ProgramError,
    },
    /// A map could not be used.
    #[error("cannot {operation} map {map}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: MapError,
    },
    /// A map could not be mapped into memory.
    #[error("cannot map {map} into memory")]
    Mmap {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A table of the policy is larger than its map.
    #[error(
        "the policy needs {needed} {table}, this datapath was loaded with room for {capacity}; restart the agent to load it with more"
    )]
    Capacity {
        /// The table.
        table: &'static str,
        /// What the policy needs.
        needed: usize,
        /// What there is.
        capacity: usize,
    },
    /// A program could not be attached.
    #[error("cannot attach {program} to {interface}")]
    Attach {
        /// Which program.
        program: &'static str,
        /// The device, or the cgroup.
        interface: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing waits to be confirmed.
    #[error("no change waits to be confirmed")]
    NothingPending,
    /// The pin directory cannot be used.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// A conversation could not be put among the proven.
    #[error("the kernel does not keep a conversation")]
    Keep(#[source] io::Error),
    /// The cgroups could not be opened.
    #[error("cannot open the cgroups at {path}")]
    Cgroups {
        /// Where they are mounted.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Conversations would never age.
    #[error("cannot start the clock that ages conversations")]
    Ageing(#[source] io::Error),
    /// The dry run gave no answer.
    #[error("the kernel program gave no answer to the dry run")]
    NoAnswer,
}

/// The loaded programs and maps.
pub struct Datapath {
    ebpf: Ebpf,
    capacities: Capacities,
    control: Mapped,
    generations: Mapped,
    associations: Mapped,
    ports: Mapped,
    classes: Mapped,
    cells: Mapped,
    rows: Mapped,
    rules: Mapped,
    name_classes: Mapped,
    names: publish::NameTables,
    addresses: addresses::AddressTables,
    live: live::LiveTables,
    overlay: overlay::OverlayMaps,
    records: read::RecordTables,
    flows: flows::FlowTables,
    filter: filter::FlowFilter,
    learned: learned::LearnedTables,
    namings: namings::NamingTables,
    counters: read::CounterTable,
    /// The slot in force and the number of its generation.
    current: Option<(u32, u32)>,
    /// Number of the generation built last.
    last_number: u32,
    /// Until when it is in force without being confirmed, if it is not.
    pending: Option<pending::Pending>,
    /// What outlives the agent, if anything does.
    outliving: Option<outlive::Outliving>,
}

impl Datapath {
    /// Loads programs and maps, with room for at least `capacities`. Nothing is attached and no
    /// policy is in force. Nothing of it outlives the process ([`Datapath::open`]).
    ///
    /// # Errors
    /// [`DatapathError`]; nothing is left in the kernel.
    pub fn load(capacities: Capacities) -> Result<Self, DatapathError> {
        Self::load_object(OBJECT, capacities)
    }

    /// The same with another object, which has more than the agent's own: for measuring.
    ///
    /// # Errors
    /// As [`Datapath::load`].
    pub fn load_object(object: &[u8], capacities: Capacities) -> Result<Self, DatapathError> {
        Self::over(object::load(object, &capacities, None)?, capacities)
    }

    /// Takes hold of the maps, as they are: those of an agent before have content.
    fn over(mut ebpf: Ebpf, capacities: Capacities) -> Result<Self, DatapathError> {
        let slots = SLOTS as usize;
        let mut map = |name, entries, value| Mapped::new(&mut ebpf, name, entries, value);
        let mut datapath = Self {
            control: map("CONTROL", 1, size_of::<nsp_common::generation::Control>())?,
            generations: map("GENERATIONS", slots, 16)?,
            associations: map(
                "ASSOCIATIONS",
                slots * nsp_common::generation::ASSOCIATIONS_MAX as usize,
                16,
            )?,
            ports: map("PORTS", slots, size_of::<nsp_common::class::PortTable>())?,
            classes: map("CLASSES", slots * capacities.classes, 8)?,
            cells: map("CELLS", slots * capacities.cells, 8)?,
            rows: map("ROWS", slots * capacities.rows, 4)?,
            rules: map("RULES", slots * capacities.rules, 4)?,
            name_classes: map("NAME_CLASSES", slots * capacities.names, 4)?,
            names: publish::NameTables::new(&mut ebpf)?,
            addresses: addresses::AddressTables::new(&mut ebpf, &capacities)?,
            live: live::LiveTables::new(&mut ebpf)?,
            overlay: overlay::OverlayMaps::new(&mut ebpf)?,
            records: read::RecordTables::new(&mut ebpf)?,
            flows: flows::FlowTables::new(&mut ebpf)?,
            filter: filter::FlowFilter::new(&mut ebpf)?,
            learned: learned::LearnedTables::new(&mut ebpf)?,
            namings: namings::NamingTables::new(&mut ebpf)?,
            counters: read::CounterTable::new(&mut ebpf)?,
            ebpf,
            capacities,
            current: None,
            last_number: 0,
            pending: None,
            outliving: None,
        };
        datapath.resume();
        datapath.begin_ageing()?;
        Ok(datapath)
    }

    /// What the object has beside: for measuring, and for nothing that judges.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Number of the generation in force, if there is one.
    pub fn generation(&self) -> Option<u32> {
        self.current.map(|(_, number)| number)
    }

    /// Instructions the verifier walked, by program (kernel 5.16 and later).
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        let count = |program: &aya::programs::Program| {
            program.info().ok().and_then(|info| info.verified_instruction_count())
        };
        self.ebpf
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), count(program)?)))
            .collect()
    }
}

/// Takes a map out of the object as type `T`.
fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = take_map(ebpf, name)?;
    T::try_from(map).map_err(|source| DatapathError::Map { operation: "open", map: name, source })
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, DatapathError> {
    ebpf.take_map(name).ok_or_else(|| DatapathError::Map {
        operation: "find",
        map: name,
        source: MapError::InvalidName { name: name.to_owned() },
    })
}
