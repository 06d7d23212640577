//! Who on this host resolves names for others: followed, and told to the kernel.

use std::{collections::BTreeSet, net::IpAddr, process::Stdio, time::Duration};

use ipnet::IpNet;

use crate::{
    daemon::{errors::with_sources, state::Agent},
    host::{
        Pattern,
        stubs::{self, Serving},
    },
};

/// The program that empties the cache of systemd-resolved.
const RESOLVECTL: &str = "resolvectl";
/// How long it may take.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

impl Agent {
    /// This host's addresses.
    pub(in crate::daemon) fn own_addresses(&self) -> BTreeSet<IpAddr> {
        self.links.iter().flat_map(|link| &link.addresses).map(IpNet::addr).collect()
    }

    /// Whether somebody on this host answers its programs.
    pub(in crate::daemon) fn has_resolver_here(&self) -> bool {
        let own = self.own_addresses();
        let mut all = self.resolvers.all.iter();
        self.loaded.policy.dns.recursive_unit.is_some()
            || all.any(|it| it.address.is_loopback() || own.contains(&it.address))
    }

    /// Finds who answers, and tells the kernel when that changed.
    pub(in crate::daemon) fn follow_stubs(&mut self) {
        let serving = if self.has_resolver_here() { self.serving() } else { Serving::default() };
        if serving == self.dns.serving && self.dns.resolving_error.is_none() {
            return;
        }
        let unmatched = |it: &Serving| it.recursive.as_ref().is_some_and(|it| !it.is_matched);
        if unmatched(&serving) && !unmatched(&self.dns.serving) {
            tracing::warn!("[dns] recursive_unit matches nothing on this host now");
        }
        self.dns.serving = serving;
        // An address whose answers teach comes after those whose answers these are, or a stranger's would.
        let set = self.datapath.set_resolving(&self.dns.serving.resolving);
        self.dns.resolving_error = set.err().map(|error| with_sources(&error));
        if let Some(why) = &self.dns.resolving_error {
            tracing::error!(%why, "the host's own resolvers are not followed");
        }
        self.set_endpoints();
    }

    /// Finds who answers, and tells the kernel when the policy is in force: until then what an agent before
    /// told it holds.
    pub(in crate::daemon) fn prepare_stubs(&mut self) {
        if self.has_resolver_here() {
            self.dns.serving = self.serving();
        }
        self.dns.resolving_error = Some("not yet told".to_owned());
    }

    fn serving(&self) -> Serving {
        let own = self.own_addresses();
        let tree = self.tree();
        let glob = self.loaded.policy.dns.recursive_unit.as_ref();
        let recursive = glob.and_then(|glob| Pattern::new(glob.as_str()).ok());
        Serving::of(&stubs::Host {
            resolvers: &self.resolvers,
            own: &own,
            listeners: &self.listeners,
            tree,
            recursive: recursive.as_ref(),
        })
    }

    /// Empties the cache of systemd-resolved when the first agent of this boot begins: what is in it no
    /// answer will teach. Nobody waits for it.
    pub(in crate::daemon) fn flush_stub(&self) {
        let has_wildcard = self.compiled.fqdns.iter().any(|(_, it)| it.is_wildcard());
        if !self.dns.memory.is_first || !has_wildcard || !self.dns.serving.is_resolved() {
            return;
        }
        tokio::spawn(async {
            match run_bounded(RESOLVECTL, &["flush-caches"], FLUSH_TIME_MAX).await {
                Ok(()) => tracing::info!("the cache of systemd-resolved is emptied"),
                Err(why) => tracing::warn!(
                    %why,
                    "the cache of systemd-resolved is not emptied: what is in it is learned when it is asked anew"
                ),
            }
        });
    }
}

/// Runs a program without input or output, for so long at most.
async fn run_bounded(program: &str, arguments: &[&str], patience: Duration) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child =
        command.kill_on_drop(true).spawn().map_err(|error| format!("{program}: {error}"))?;
    match tokio::time::timeout(patience, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program}: {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} takes too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn program_that_fails_hangs_or_is_not_there_is_told() {
        let soon = Duration::from_secs(10);
        assert_eq!(run_bounded("true", &[], soon).await, Ok(()));
        assert!(run_bounded("false", &[], soon).await.unwrap_err().contains("exit status: 1"));
        assert!(run_bounded("no-such-program", &[], soon).await.unwrap_err().contains("No such"));
        let slow = run_bounded("sleep", &["60"], Duration::from_millis(50)).await;
        assert_eq!(slow, Err("sleep takes too long".to_owned()));
    }
}
