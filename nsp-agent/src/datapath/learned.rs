//! Learned addresses: read from their tables, and changed by the program that may (`nsp_teach`).

use std::net::IpAddr;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
    programs::TestRunOptions,
};
use nsp_common::{
    address::{Address, Family},
    learned::{Learned, Unit},
    order::{Teach, Teaching},
    verdict::Lesson,
};

use super::{Datapath, DatapathError, take};

/// Steps of one walk over a table, as in `flows.rs`.
const WALK_STEPS_MAX: usize = 1 << 18;

const PROGRAM: &str = "nsp_teach";

/// The tables of learned addresses.
pub(super) struct LearnedTables {
    v4: HashMap<MapData, [u8; 4], Learned>,
    v6: HashMap<MapData, [u8; 16], Learned>,
}

impl LearnedTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self { v4: take(ebpf, "LEARNED_V4")?, v6: take(ebpf, "LEARNED_V6")? })
    }

    fn walk(&self) -> Result<Vec<(IpAddr, Learned)>, MapError> {
        let mut found = Vec::new();
        for entry in self.v4.iter().take(WALK_STEPS_MAX) {
            let (address, learned) = entry?;
            found.push((IpAddr::from(address), learned));
        }
        for entry in self.v6.iter().take(WALK_STEPS_MAX) {
            let (address, learned) = entry?;
            found.push((IpAddr::from(address), learned));
        }
        Ok(found)
    }
}

impl Datapath {
    /// Every learned address, whether its time is over or not.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn learned(&self) -> Result<Vec<(IpAddr, Learned)>, DatapathError> {
        self.learned.walk().map_err(failed)
    }

    /// The names of one address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn learned_of(&self, address: IpAddr) -> Result<Option<Learned>, DatapathError> {
        let found = match address {
            IpAddr::V4(v4) => self.learned.v4.get(&v4.octets(), 0),
            IpAddr::V6(v6) => self.learned.v6.get(&v6.octets(), 0),
        };
        match found {
            Ok(learned) => Ok(Some(learned)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Learns an address for a name until `expires_s` of the coarse monotonic clock.
    ///
    /// # Errors
    /// When the program cannot be run. That it was not learned is an answer.
    pub fn teach(
        &self,
        address: IpAddr,
        unit: Unit,
        expires_s: u32,
    ) -> Result<Lesson, DatapathError> {
        self.order_about(address, unit, expires_s, Teach::Learn)
    }

    /// Takes a name from an address.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn forget(&self, address: IpAddr, name: u32) -> Result<(), DatapathError> {
        self.order_about(address, Unit { name, quota: 0 }, 0, Teach::Forget).map(drop)
    }

    /// Takes out addresses all of whose names are over at `now_s`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep_learned(&self, now_s: u32) -> Result<(), DatapathError> {
        for (address, learned) in self.learned()? {
            if learned.names.iter().all(|it| it.name == 0 || it.expires_s <= now_s) {
                self.order_about(address, Unit::default(), 0, Teach::Sweep)?;
            }
        }
        Ok(())
    }

    fn order_about(
        &self,
        address: IpAddr,
        unit: Unit,
        expires_s: u32,
        action: Teach,
    ) -> Result<Lesson, DatapathError> {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let teaching = Teaching {
            address: Address::from(address),
            family: family as u32,
            unit,
            expires_s,
            action: action as u32,
        };
        let data_in = teaching.to_bytes();
        let options = TestRunOptions { data_in: Some(&data_in), ..TestRunOptions::new() };
        let answer = self.call(PROGRAM, options)?;
        let lesson = u8::try_from(answer).ok().and_then(Lesson::from_number);
        lesson.ok_or(DatapathError::NoAnswer)
    }
}

fn failed(source: MapError) -> DatapathError {
    DatapathError::Map { operation: "read", map: "LEARNED", source }
}
