//! Whether a policy would deny the one who applies it a new connection, or take their way in away.

use nsp_common::{
    decide::decide,
    net::transport::protocol,
    verdict::{Reason, Verdict},
};

use super::{
    errors::{DaemonError, with_sources},
    state::Agent,
};
use crate::{
    compile,
    control::{Caller, ExplainPacket},
    policy::{Loaded, model::Transport},
};

impl Agent {
    /// Why a SYN from the caller's address to the port it came by would be dropped, if it would.
    ///
    /// The host is asked as for any generation: which sockets and cgroups the policy's resources are.
    fn judge_anew(
        &mut self,
        loaded: &Loaded,
        caller: Caller,
    ) -> Result<Option<&'static str>, DaemonError> {
        let Caller { remote, local } = caller;
        let asked = ExplainPacket {
            outbound: false,
            remote: remote.ip().to_string(),
            local: Some(local.ip()),
            protocol: protocol::TCP,
            remote_port: 0,
            local_port: local.port(),
            interface: None,
            unit: None,
            pid: None,
        };
        // Without a route to where it came from nothing can be said, and nothing is known against it.
        let Ok(packet) = self.packet(&asked, remote.ip()) else { return Ok(None) };
        let policy = self.with_sessions(&loaded.policy)?;
        let compiled = compile::compile(&policy, &mut self.state.identities.clone())?;
        let in_force = std::mem::replace(&mut self.compiled, compiled);
        let bindings = self.bind();
        let bound = std::mem::replace(&mut self.bindings, bindings);
        let decision = decide(&packet, &mut self.oracle(0));
        self.compiled = in_force;
        self.bindings = bound;
        Ok((decision.verdict == Verdict::Drop).then(|| Reason::name(decision.reason)))
    }

    /// Refuses a policy under which the caller could not come in again the way it came.
    pub(super) fn refuse_to_lock_out(
        &mut self,
        loaded: &Loaded,
        caller: Caller,
    ) -> Result<(), String> {
        let refused = self.judge_anew(loaded, caller).map_err(|error| with_sources(&error))?;
        let Some(reason) = refused else { return Ok(()) };
        Err(format!(
            "a new connection from {} to port {}, by which this session came, would be denied ({reason}); \
             a rule or [failsafe] with that address lets it in, --force applies the policy all the same",
            caller.remote.ip(),
            caller.local.port()
        ))
    }

    /// Refuses a policy that drops or narrows the way in by which the caller came: who uses it may not have
    /// another when the next policy is wrong.
    pub(super) fn refuse_to_narrow_failsafe(
        &self,
        loaded: &Loaded,
        caller: Caller,
    ) -> Result<(), String> {
        let Caller { remote, local } = caller;
        let Some(before) = &self.loaded.policy.failsafe else { return Ok(()) };
        if !before.admits(remote.ip().to_canonical(), Transport::Tcp, local.port())
            || loaded.policy.failsafe.as_ref().is_some_and(|after| after.covers(before))
        {
            return Ok(());
        }
        Err(format!(
            "this session came from {} to port {} by [failsafe], which the policy drops or narrows; --force \
             applies it all the same",
            remote.ip(),
            local.port()
        ))
    }
}
