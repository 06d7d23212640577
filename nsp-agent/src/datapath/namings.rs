//! The names that addresses were in an answer for last, and those that the agent is to ask for.

use std::{io, net::IpAddr, time::Duration};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData, MapError, RingBuf},
};
use nsp_common::{
    address::Address,
    learned::{Naming, Wanted},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Datapath, DatapathError, take};

/// The tables of names as they were asked for.
pub(super) struct NamingTables {
    pub(super) namings: HashMap<MapData, Address, Naming>,
    refused: HashMap<MapData, u32, Naming>,
    /// Until somebody follows it.
    wanted: Option<RingBuf<MapData>>,
}

impl NamingTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self {
            namings: take(ebpf, "NAMINGS")?,
            refused: take(ebpf, "REFUSED_NAMES")?,
            wanted: Some(take(ebpf, "WANTED")?),
        })
    }
}

impl Datapath {
    /// The name that an address was in an answer for last.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn naming_of(&self, address: IpAddr) -> Result<Option<Naming>, DatapathError> {
        look_up(&self.namings.namings, &Address::from(address))
    }

    /// The name behind the number in a record of a question that was refused.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn refused_name(&self, number: u32) -> Result<Option<Naming>, DatapathError> {
        look_up(&self.namings.refused, &number)
    }

    /// Says what name an address was learned for by the agent. Whoever comes last is right, so that two
    /// writers do no harm here.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn name_address(&mut self, address: IpAddr, naming: &Naming) -> Result<(), DatapathError> {
        let map = &mut self.namings.namings;
        map.insert(Address::from(address), naming, 0).map_err(failed("write"))
    }

    /// Takes the ring of wanted names out, for the thread that waits on it.
    pub fn take_wanted(&mut self) -> Option<WantedNames> {
        self.namings.wanted.take().map(WantedNames)
    }
}

fn look_up<K: Pod>(
    map: &HashMap<MapData, K, Naming>,
    key: &K,
) -> Result<Option<Naming>, DatapathError> {
    match map.get(key, 0) {
        Ok(naming) => Ok(Some(naming)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(failed("read")(source)),
    }
}

fn failed(operation: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { operation, map: "NAMINGS", source }
}

/// The ring of wanted names.
pub struct WantedNames(RingBuf<MapData>);

impl WantedNames {
    /// The next name, or `None` when the ring is empty.
    pub fn take_one(&mut self) -> Option<Wanted> {
        let item = self.0.next()?;
        Wanted::from_bytes(&item)
    }

    /// Waits until something comes, or the time is over.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut ring = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        poll(&mut ring, Some(&patience))?;
        Ok(())
    }
}
