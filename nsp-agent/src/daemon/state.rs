//! What the agent knows and does; the loop in `daemon.rs` says when.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::{
    Options,
    bind::Bindings,
    confirm::Pending,
    dns::DnsState,
    errors::{DaemonError, with_sources},
    exec::Sessions,
    first::{First, first},
    foreign::Others,
    learn::{NamesHandle, start_names},
    notify::notify,
    off, overlay,
    repair::Unrepaired,
    store::{self, Relied, State},
};
use crate::{
    access_log::{
        self,
        catalogue::Catalogue,
        sink::{Rotation, Sink, Target},
        writer::Writer,
    },
    compile::{
        self, Compiled,
        oracle::{HostView, Oracle},
        overlay::OverlayTables,
    },
    datapath::{
        Calls, Capacities, Datapath, DatapathError, Events, Ledger, Origin, PinDir,
        attach::{Attachments, Device},
    },
    history::History,
    host::{
        Pattern,
        cgroups::Tree,
        links::{self, Choices, Held, Link},
        resolvers::Resolvers,
        routes::{self, RouteEntry},
        sockets::Listener,
    },
    names::schedule::Batch,
    policy::{
        Loaded,
        model::{Guid, Policy},
    },
    progress::Progress,
    switch::Position,
};

pub(super) use crate::datapath::now_ns;

/// The agent.
pub(super) struct Agent {
    pub(super) options: Options,
    pub(super) patterns: Vec<Pattern>,
    pub(super) state: State,
    /// What of it is on disk.
    pub(super) saved: Relied,
    /// The policy in force, with `nsp mode`'s changes in it.
    pub(super) loaded: Loaded,
    /// Where it came from, when that is not the default file.
    pub(super) trial: Option<PathBuf>,
    /// A change that nobody has confirmed yet.
    pub(super) pending: Option<Pending>,
    pub(super) compiled: Compiled,
    pub(super) datapath: Datapath,
    pub(super) attachments: Attachments,
    /// The name by which each device was hooked first.
    pub(super) hooked_as: BTreeMap<u32, String>,
    /// The hooks at programs' calls, or why there are none: then what is denied fails slowly.
    pub(super) calls: Result<Calls, String>,
    /// Devices that should be covered and are not, with the reason.
    pub(super) uncovered: BTreeMap<String, String>,
    /// Hooks that somebody took away and that are not back.
    pub(super) unrepaired: Unrepaired,
    pub(super) links: Vec<Link>,
    pub(super) routes: Vec<RouteEntry>,
    pub(super) choices: Choices,
    /// Devices that are judged on for a while.
    pub(super) held: Held,
    pub(super) groups: BTreeMap<u32, u8>,
    pub(super) tree: Option<Arc<Tree>>,
    pub(super) listeners: Vec<Listener>,
    pub(super) bindings: Bindings,
    /// What the kernel has of `state.overlay`.
    pub(super) overlay: OverlayTables,
    pub(super) resolvers: Resolvers,
    pub(super) names: NamesHandle,
    pub(super) dns: DnsState,
    pub(super) writer: Writer,
    /// Where the access log is, for `nsp logs`.
    pub(super) log: PathBuf,
    /// Where it is kept what became of records, where that outlives the agent.
    pub(super) ledger: Option<Ledger>,
    /// Packets whose records agents before took and did not write.
    pub(super) lost_before: u64,
    pub(super) catalogue: Catalogue,
    pub(super) host_name: String,
    pub(super) cares: u64,
    /// When all hooks that were put were where they belong.
    pub(super) hooks_seen: Instant,
    /// The operator's switch, when it was looked at last.
    pub(super) switch: Position,
    /// After it was put on: the generation in force drops nothing, and is to be followed by the policy.
    pub(super) is_lenient: bool,
    /// Why the switch cannot be read, once that is told of.
    pub(super) switch_unread: Option<String>,
    /// The record of changes.
    pub(super) history: History,
    /// What others have at the same hooks.
    pub(super) others: Others,
    /// What runs by `nsp exec`.
    pub(super) sessions: Sessions,
    /// How many there ever were: their cgroups are named by it.
    pub(super) sessions_begun: u64,
    /// When the watched files had been changed last, when they were read.
    pub(super) watched: Vec<Option<std::time::SystemTime>>,
    /// The same at the last look.
    pub(super) watch_seen: Vec<Option<std::time::SystemTime>>,
    /// Why the watched file was not applied the last time.
    pub(super) watch_refused: Option<String>,
    /// What went wrong last, for `status`.
    pub(super) last_error: Option<String>,
}

impl Agent {
    /// Reads everything, loads the programs, attaches them observing, and publishes the policy.
    pub(super) async fn start(
        options: Options,
        batches: mpsc::Sender<Batch>,
        progress: &Progress,
    ) -> Result<Self, DaemonError> {
        let patterns = options
            .interfaces
            .iter()
            .map(|text| Pattern::new(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut state = store::load(&options.state_dir)?;
        let saved = state.relied();
        let (confirmed, waited) = (state.confirmed.clone(), state.unconfirmed.clone());
        let First { loaded, complaint } = first(&options, &mut state, progress)?;
        progress.begin("compiling");
        overlay::forget_over(&mut state.overlay);
        overlay::free_way_in(&mut state.overlay, &loaded.policy);
        let temporary = overlay::names_of(&state.overlay);
        let compiled = compile::compile_with(&loaded.policy, &mut state.identities, &temporary)?;
        let capacities = Capacities {
            engine: options.engine,
            flows: options.flows,
            ..Capacities::for_sizes(&compiled.sizes)
        };
        progress.begin("loading the kernel programs");
        let datapath = match &options.pin_dir {
            Some(path) => {
                let pins = PinDir::open(path).map_err(DatapathError::Pins)?;
                Datapath::open(capacities, &compiled.sizes, &state.owner(), pins)?
            }
            None => Datapath::load(capacities)?,
        };
        progress.begin("hooking them to the interfaces");
        let links = links::read().await.map_err(DaemonError::Host)?;
        let routes = routes::read().await.map_err(DaemonError::Host)?;
        let log = options.log.clone().or_else(|| loaded.policy.logging.file.clone());
        let target = Target::of(&log.unwrap_or_else(|| access_log::DEFAULT.into()));
        let log = target.name();
        let ledger = datapath.ledger();
        let lost_before = ledger.as_ref().map_or(0, Ledger::untold);
        if lost_before != 0 {
            tracing::warn!(
                packets = lost_before,
                "records were lost with an agent that was killed"
            );
        }
        let sink = Sink::new(target, Rotation::default());
        let told = ledger.clone();
        let told = move |packets| told.iter().for_each(|ledger| ledger.tell(packets));
        let writer = Writer::start_telling(sink, told).map_err(DaemonError::AccessLog)?;
        let names = start_names(&options, batches);
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // A device keeps its group: routes are written after devices, and meanwhile mean what they meant.
        let groups = datapath.link_groups();
        let mut agent = Self {
            patterns,
            compiled,
            datapath,
            attachments: Attachments::default(),
            hooked_as: BTreeMap::new(),
            calls: Err("not yet hooked".to_owned()),
            uncovered: BTreeMap::new(),
            unrepaired: Unrepaired::default(),
            links,
            routes,
            choices: Choices::default(),
            held: Held::default(),
            groups,
            tree: None,
            listeners: Vec::new(),
            bindings: Bindings::default(),
            overlay: OverlayTables::default(),
            resolvers: Resolvers::default(),
            names,
            dns: DnsState::default(),
            writer,
            log,
            ledger,
            lost_before,
            catalogue: Catalogue::default(),
            host_name,
            cares: 0,
            hooks_seen: Instant::now(),
            switch: Position::On,
            is_lenient: false,
            switch_unread: None,
            history: History::new(&options.state_dir),
            others: Others::default(),
            sessions: Sessions::new(),
            sessions_begun: 0,
            last_error: complaint.clone(),
            watch_refused: None,
            watched: Vec::new(),
            watch_seen: Vec::new(),
            trial: None,
            pending: None,
            options,
            state,
            saved,
            loaded,
        };
        agent.state.guid.get_or_insert_with(new_guid);
        agent.end_left_behind();
        agent.read_host().await;
        if agent.datapath.origin() == Some(Origin::Adopted) {
            agent.prepare_stubs();
        } else {
            agent.follow_stubs();
        }
        agent.follow_host()?;
        // As late as may be: somebody may have touched it while the programs were loaded.
        agent.look_at_switch();
        let wanted: Vec<Device> = agent.wanted();
        if wanted.is_empty() && !agent.is_off() && !agent.options.early {
            return Err(DaemonError::NoInterface(agent.why_nothing()));
        }
        if agent.is_off() {
            // What stays is complained of; without the agent nobody could tell.
            let _unhooked = agent.unhook(off::OFF);
            agent.begin().await?;
        } else if agent.datapath.origin() == Some(Origin::Beside) {
            progress.begin("putting the policy in force");
            agent.begin().await?;
            agent.hook(&wanted)?;
        } else {
            agent.hook(&wanted)?;
            progress.begin("putting the policy in force");
            agent.begin().await?;
        }
        agent.leave_before()?;
        agent.flush_stub();
        agent.self_test()?;
        agent.see_others().await;
        agent.record_start(confirmed, waited);
        match complaint {
            Some(why) => tracing::error!(%why, "not the policy file"),
            None => agent.keep(),
        }
        Ok(agent)
    }

    /// The compiled policy and the host, for questions. No address is learned to it: who asks about one
    /// puts that in.
    pub(super) fn oracle(&self, sender: u16) -> Oracle<'_> {
        let host = HostView {
            selectors: self.bindings.selectors.iter().copied().collect(),
            listeners: self.bindings.listeners.clone(),
            routes: routes::route_table(&self.routes, &self.groups),
            groups: self.groups.clone(),
            learned: Default::default(),
            overlay: self.overlay.clone(),
            endpoints: self.endpoints().into_iter().collect(),
            sender,
            is_recursive: false,
            flow: None,
            now_ns: now_ns(),
        };
        Oracle::new(&self.compiled, self.datapath.generation().unwrap_or(1), host)
    }

    /// The association of a cgroup path, or zero.
    pub(super) fn association_of_path(&self, path: &str) -> u16 {
        let Some(tree) = &self.tree else { return 0 };
        let mut nearest = 0;
        let mut prefix = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            prefix = format!("{prefix}/{part}");
            let Some(cgroup) = tree.find(&prefix) else { break };
            let key = nsp_common::selector::Selector::cgroup(0, cgroup.id);
            if let Some((_, association)) =
                self.bindings.selectors.iter().find(|(selector, _)| *selector == key)
            {
                nearest = *association;
            }
        }
        nearest
    }

    /// The tree of cgroups.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.tree.as_deref()
    }

    /// Takes the ring of events for the loop.
    pub(super) fn take_events(&mut self) -> Option<Events> {
        self.datapath.take_events()
    }

    /// Says that both directions are attached and tested.
    pub(super) fn say_ready(&self) {
        let status = if self.is_off() { off::OFF } else { "judging" };
        if let Err(error) = notify(&format!("READY=1\nSTATUS={status}")) {
            tracing::warn!(%error, "systemd is not told");
        }
        if self.is_off() {
            eprintln!("nsp: {}", off::OFF);
        }
        eprintln!("nsp: ready");
    }

    /// A known drop and a known pass must come out as such before anybody is told "ready".
    fn self_test(&self) -> Result<(), DaemonError> {
        self.run_self_test().map_err(DaemonError::SelfTest)
    }

    pub(super) fn complain(&mut self, what: &str, error: &dyn std::error::Error) {
        let why = with_sources(error);
        tracing::error!(%why, "{what}");
        self.last_error = Some(format!("{what}: {why}"));
    }
}

/// The private ranges in force.
pub(super) fn private_prefixes(policy: &Policy) -> Vec<ipnet::IpNet> {
    compile::private_prefixes(policy).collect()
}

/// A random GUID (RFC 9562 version 4).
fn new_guid() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness a GUID of zeros is still a GUID; the kernel always has some.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Guid::from_bytes(bytes).to_string()
}
