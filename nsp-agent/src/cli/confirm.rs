//! `nsp confirm` and `nsp rollback`: what becomes of a change that waits.

use clap::Args;

use super::{Failure, Socket, caller};
use crate::control::Request;

/// Keep the change that waits. It is asked for from a session that was opened since, for that proves that one
/// can be; or from the console.
#[derive(Args, Debug)]
pub(crate) struct Confirm {
    #[command(flatten)]
    socket: Socket,
}

impl Confirm {
    pub(super) fn run(self) -> Result<(), Failure> {
        let done = self.socket.call(&Request::Confirm { caller: caller::find() })?;
        println!("generation {} stays", done["generation"]);
        Ok(())
    }
}

/// Take the change that waits back now
#[derive(Args, Debug)]
pub(crate) struct Rollback {
    #[command(flatten)]
    socket: Socket,
}

impl Rollback {
    pub(super) fn run(self) -> Result<(), Failure> {
        let done = self.socket.call(&Request::Rollback)?;
        println!(
            "taken back: generation {} is in force, with the policy before",
            done["generation"]
        );
        Ok(())
    }
}
