//! What is looked after every second: whether all is as it was left, and what nobody tells of.

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
        self.hook_again();
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
            if let Ok(filters) = filters::programs(index, parent).await {
                self.attachments.see_filters(index, parent, &filters);
            }
        }
    }
}
