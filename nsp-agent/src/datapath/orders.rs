//! What the program that may change conversations (`nsp_order`) is told to do, and how its clock fares.

use std::{io, thread, time::Duration};

use aya::programs::TestRunOptions;
use nsp_common::{
    ageing::{Aged, Pace},
    flow::{Flow, FlowKey},
    order::{Action, Order, outcome},
};

use super::{Datapath, DatapathError, FlowRoom};

/// Tries to start the clock: its allocation can fail for a moment although there is memory.
const BEGIN_TRIES: u32 = 1000;

const PROGRAM: &str = "nsp_order";

impl Datapath {
    /// What the clock that ages conversations has done.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn aged(&self) -> Result<Aged, DatapathError> {
        self.flows.aged.get(&0, 0).map_err(|source| DatapathError::Map {
            operation: "read",
            map: "AGED",
            source,
        })
    }

    /// How fast it goes, and the time in which it sees all conversations, in milliseconds.
    pub fn pace(&self) -> (Pace, u64) {
        let FlowRoom { v4, v6 } = self.capacities.flows;
        let pace = Pace::of(v4, v6);
        (pace, pace.round_ms(v4, v6))
    }

    /// Puts a conversation among the proven, in place of what is there.
    ///
    /// # Errors
    /// When its table, or its peer's part of it, is full.
    pub fn keep_flow(&self, key: &FlowKey, flow: &Flow) -> Result<(), DatapathError> {
        match self.order(Action::Keep, key, flow)? {
            outcome::DONE => Ok(()),
            error => Err(DatapathError::Keep(io::Error::from_raw_os_error(-error))),
        }
    }

    /// Ends a conversation; false when there is none.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn cut_flow(&self, key: &FlowKey, flow: &Flow) -> Result<bool, DatapathError> {
        Ok(self.order(Action::Cut, key, flow)? == outcome::DONE)
    }

    /// Frees the places of conversations and starts the clock that ages them.
    ///
    /// # Errors
    /// When the kernel has no memory for the clock, for longer than a moment.
    pub(super) fn begin_ageing(&self) -> Result<(), DatapathError> {
        let mut left = BEGIN_TRIES;
        loop {
            match self.order(Action::Begin, &FlowKey::EMPTY, &Flow::EMPTY)? {
                outcome::DONE => return Ok(()),
                error if error == -libc::ENOMEM && left > 0 => {
                    left -= 1;
                    thread::sleep(Duration::from_millis(1));
                }
                error => return Err(DatapathError::Ageing(io::Error::from_raw_os_error(-error))),
            }
        }
    }

    fn order(&self, action: Action, key: &FlowKey, flow: &Flow) -> Result<i32, DatapathError> {
        let order = Order { key: *key, flow: *flow, action: action as u32, _pad: 0 };
        let data_in = order.to_bytes();
        let options = TestRunOptions { data_in: Some(&data_in), ..TestRunOptions::new() };
        Ok(self.call(PROGRAM, options)? as i32)
    }
}
