//! What is looked after every second: whether all is as it was left, and what nobody tells of.

use std::time::Instant;

use super::{notify::notify, state::Agent};
use crate::{
    host::{filters, resolvers, sockets},
    names::resolver::Upstreams,
};

impl Agent {
    /// What is to be looked after every second.
    pub(super) async fn care(&mut self) {
        self.cares += 1;
        // Nobody but a service manager that hears nothing of it would mind.
        let _told = notify("WATCHDOG=1");
        let was_off = self.is_off();
        // What cannot be done is complained of.
        let _done = self.obey_switch().await;
        if self.is_off() != was_off {
            let word = if was_off { "on" } else { "off" };
            self.record_unasked(word, self.loaded.digest.clone(), Ok(&()));
        }
        self.end_lenience();
        self.see_filters().await;
        self.repair_hooks();
        self.see_others().await;
        self.watch_policy();
        self.tidy_overlay();
        if let Err(error) = self.datapath.tidy_flow_filter() {
            self.complain("the filter of conversations is not emptied", &error);
        }
        if self.follows_listeners() {
            match sockets::listeners().await {
                Ok(listeners) if listeners != self.listeners => {
                    self.listeners = listeners;
                    self.rebind();
                }
                Ok(_) => {}
                Err(error) => self.complain("listeners are not followed", &error),
            }
        }
        self.follow_resolvers();
        self.follow_stubs();
        self.save_learned();
        if self.cares.is_multiple_of(60) && !self.compiled.fqdns.is_empty() {
            self.sweep_learned();
        }
    }

    /// Two small files: whoever is asked now is trusted within a second.
    fn follow_resolvers(&mut self) {
        let files = self.resolver_files();
        if let Ok(resolvers) = resolvers::read(&files)
            && resolvers != self.resolvers
        {
            self.resolvers = resolvers;
            self.set_endpoints();
            let _receivers = self.names.upstreams.send(Upstreams::Host);
        }
    }

    /// Looks for the filters that hooks are before kernel 6.6.
    async fn see_filters(&mut self) {
        for (index, parent) in self.attachments.filters() {
            // What cannot be asked is as it was.
            if let Ok(handles) = filters::handles(index, parent).await {
                self.attachments.see_filters(index, parent, &handles);
            }
        }
    }

    /// Puts back hooks that somebody took away.
    fn repair_hooks(&mut self) {
        let gap_max_ms = self.hooks_seen.elapsed().as_millis() as u64;
        self.hooks_seen = Instant::now();
        let repaired = self.attachments.repair(&mut self.datapath, self.options.xdp_mode);
        for (interface, way, again) in repaired {
            // Where the device is gone, the kernel says so by itself.
            if !self.links.iter().any(|link| link.name == interface) {
                continue;
            }
            self.record_repair(&interface, way, gap_max_ms, again.as_ref().err());
            match again {
                Ok(()) => {
                    tracing::error!(
                        interface,
                        way,
                        gap_max_ms,
                        "somebody took a hook away; it is back"
                    );
                    self.last_error = Some(format!(
                        "{interface}: somebody took the hook of its {way} away; it is back, after {gap_max_ms} ms at most"
                    ));
                }
                Err(error) => self.complain(&format!("{interface}: no hook at its {way}"), &error),
            }
        }
        if let Ok(calls) = &mut self.calls
            && !calls.are_there()
        {
            tracing::error!(
                gap_max_ms,
                "somebody took hooks of the cgroups away; they are put back"
            );
            self.hook_calls();
            self.record_repair("all cgroups", "calls", gap_max_ms, None);
        }
    }
}
