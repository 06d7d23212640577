//! `nsp init`: a first policy from what this host does, all in transition.
//!
//! Looking is apart from writing: each file below finds one thing, [`mod@write`] makes text of it. What
//! cannot be looked at, because a program is missing or a file cannot be read, is said in a comment.

mod program;
mod published;
mod services;
mod time_servers;
mod wireguard;
mod write;

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use clap::Args;

use self::write::Found;
use super::Failure;
use crate::{
    daemon::with_sources,
    host::{
        cgroups::{self, Tree},
        links::{self, Link, LinkKind},
        platform::{self, Platform},
        resolvers, routes, sockets,
    },
    policy,
};

/// Look at this host and write a first policy: its services, the ports it publishes for containers,
/// its time servers and tunnels, all in transition, so that nothing is dropped and the access log
/// shows what would be.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Write it there; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The host's resolver configuration
    #[arg(long, value_name = "FILE", env = "NSP_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// Where the time daemons have their configuration
    #[arg(long, value_name = "DIR", env = "NSP_ETC", default_value = "/etc")]
    etc: PathBuf,
    /// Where the firmware says whose machine this is
    #[arg(long, value_name = "DIR", env = "NSP_DMI", default_value = platform::DMI_DIR)]
    dmi: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        let found = runtime.block_on(self.look())?;
        let text = write::policy(&found);
        if self.output.as_os_str() == "-" {
            print!("{text}");
            return Ok(());
        }
        if self.output.exists() {
            return Err(Failure::failed(format!("{} exists already", self.output.display()))
                .with_cure("nsp init -o ANOTHER-FILE"));
        }
        std::fs::write(&self.output, text).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.output.display()))
        })?;
        // What is written here must be accepted there.
        policy::load(&self.output).map_err(|errors| Failure::failed(errors.to_string()))?;
        println!("wrote {}; next: nsp check {0}", self.output.display());
        Ok(())
    }

    async fn look(&self) -> Result<Found, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::failed(with_sources(error));
        let links = links::read().await.map_err(|error| failed(&error))?;
        let routes = routes::read().await.map_err(|error| failed(&error))?;
        let listeners = sockets::listeners().await.map_err(|error| failed(&error))?;
        let private: Vec<ipnet::IpNet> =
            crate::compile::PRIVATE_PREFIXES.iter().filter_map(|text| text.parse().ok()).collect();
        let choices = links::choose(&links, &routes, &[], &private, &BTreeSet::new());
        let judged =
            choices.judged().map(|choice| (choice.name.clone(), choice.reason.clone())).collect();
        let tree = cgroups::mount_point().ok().and_then(|mount| Tree::read(&mount).ok());
        let files = resolvers::ResolverFiles {
            resolv_conf: self.resolv_conf.clone(),
            ..Default::default()
        };
        let resolvers = resolvers::read(&files)
            .map(|found| found.remote().map(|it| it.address.to_string()).collect())
            .unwrap_or_default();
        Ok(Found {
            judged,
            resolvers,
            platform: Platform::detect(&self.dmi),
            services: services::services(&listeners, tree.as_ref()),
            published: published::read(&own_addresses(&links)),
            time_servers: time_servers::read(&self.etc),
            wireguard: wireguard::read(tunnels(&links)),
        })
    }
}

/// The addresses by which others reach this host.
fn own_addresses(links: &[Link]) -> Vec<IpAddr> {
    let reachable = links.iter().filter(|link| !link.loopback);
    reachable.flat_map(|link| &link.addresses).map(ipnet::IpNet::addr).collect()
}

fn tunnels(links: &[Link]) -> Vec<String> {
    let tunnels = links.iter().filter(|link| link.kind == LinkKind::Wireguard);
    tunnels.map(|link| link.name.clone()).collect()
}
