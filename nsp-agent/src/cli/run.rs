//! `nsp run`: the daemon in the foreground.

use std::{io::ErrorKind, path::PathBuf};

use clap::{Args, ValueEnum, value_parser};
use rustix::process::Signal;

use super::{Failure, PIN_DIR, STATE_DIR};
use crate::{
    daemon::{self, DaemonError, Options},
    datapath::{DatapathError, Engine, FlowRoom, PinError, attach::XdpMode},
    host::{boot::COMMAND_LINE, platform::DMI_DIR, privilege::Privileges},
    progress::Progress,
};

/// Run the agent in the foreground. Prints `nsp: ready` on stderr once both directions of every
/// interface are attached and tested.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The policy file, or a directory of *.toml files
    #[arg(long, value_name = "FILE", env = "NSP_POLICY", default_value = "/etc/nsp/policy.toml")]
    policy: PathBuf,
    /// Interface to cover, by name or pattern (eth*); repeat for several. Without: every interface
    /// with a default or public route
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// How what comes in is judged: native XDP where the driver has it, else TC
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Auto)]
    xdp_mode: Mode,
    /// Begin with the policy file as it is now, although another was confirmed last (by an apply, or a start
    /// like this one). Without: that one, until `nsp apply`
    #[arg(long)]
    as_it_is: bool,
    /// Apply the policy file when it changes, unless that tightens a mode or cuts a live flow
    #[arg(long)]
    watch: bool,
    /// State that outlives the agent
    #[arg(long, value_name = "DIR", env = "NSP_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// Where links and maps are pinned, so that the perimeter stays in force without the agent and the next
    /// one goes on with it; in a BPF file system. "none": the perimeter ends with the agent
    #[arg(long, value_name = "DIR", env = "NSP_PIN_DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
    /// The control socket
    #[arg(long, value_name = "SOCK", env = "NSP_CONTROL", default_value = "/run/nsp/control")]
    control: PathBuf,
    /// The access log; - is standard output. Without: the policy's own, or /var/log/nsp
    #[arg(long, value_name = "FILE", env = "NSP_LOG")]
    log: Option<PathBuf>,
    /// The host's resolver configuration
    #[arg(long, value_name = "FILE", env = "NSP_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
    /// The host's own names
    #[arg(long, value_name = "FILE", env = "NSP_HOSTS", default_value = "/etc/hosts")]
    hosts: PathBuf,
    /// Configuration of the host: how its programs resolve names
    #[arg(long, value_name = "DIR", env = "NSP_ETC", default_value = "/etc")]
    etc: PathBuf,
    /// The firmware's tables, which name the cloud
    #[arg(long, value_name = "DIR", env = "NSP_DMI", default_value = DMI_DIR)]
    dmi: PathBuf,
    /// What maps addresses to rules: range-table costs the same for ten prefixes and a million; lpm-trie is
    /// the kernel's own, to compare with
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = EngineName::RangeTable)]
    engine: EngineName,
    /// Room for proven conversations of IPv4 (both ends have spoken), 1024 to 8388608. Each takes 164 bytes
    /// of kernel memory from the start; a million 400 MB, with the other tables that grow with it. Nothing
    /// evicts them; what finds no place is counted, and may be forgotten
    #[arg(long, value_name = "N", env = "NSP_FLOWS", default_value_t = FlowRoom::V4_DEFAULT,
          value_parser = value_parser!(u32).range(i64::from(FlowRoom::V4_MIN)..=i64::from(FlowRoom::MAX)))]
    flows: u32,
    /// The same of IPv6, 256 to 8388608, 212 bytes each. Without: a quarter of --flows
    #[arg(long, value_name = "N", env = "NSP_FLOWS_V6",
          value_parser = value_parser!(u32).range(i64::from(FlowRoom::V6_MIN)..=i64::from(FlowRoom::MAX)))]
    flows_v6: Option<u32>,
    /// Start although the interface with the default route cannot be covered
    #[arg(long)]
    allow_uncovered: bool,
    /// Start although there is nothing to cover yet, as before the network is up. What comes is covered
    #[arg(long)]
    early: bool,
    /// The kernel's command line; with the word nsp.off on it nothing is hooked before `nsp on`
    #[arg(long, value_name = "FILE", env = "NSP_COMMAND_LINE", default_value = COMMAND_LINE, hide = true)]
    command_line: PathBuf,
    /// End with this process, and take the directory of the control socket along: `nsp exec` starts its own
    /// agent so
    #[arg(long, value_name = "PID", hide = true)]
    for_parent: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Native XDP where the driver has it, else TC ingress; for bonds TC
    Auto,
    /// Native XDP or nothing; for bonds TC
    Native,
    /// Generic XDP
    Generic,
    /// TC ingress
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EngineName {
    /// Sorted ranges behind an index
    RangeTable,
    /// The kernel's trie
    LpmTrie,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::RangeTable => Self::RangeTable,
            EngineName::LpmTrie => Self::LpmTrie,
        }
    }
}

impl From<Mode> for XdpMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
            Mode::Off => Self::Off,
        }
    }
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let orphan = self.for_parent.map(|parent| (parent, self.control.clone()));
        let done = self.serve();
        if let Some((parent, control)) = orphan
            && !is_parent(parent)
            && let Some(directory) = control.parent()
        {
            // Whose it was is gone; so nobody else does it.
            let _removed = std::fs::remove_dir_all(directory);
        }
        done
    }

    fn serve(self) -> Result<(), Failure> {
        if let Some(parent) = self.for_parent {
            let told = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
            told.map_err(|error| Failure::failed(format!("cannot follow {parent}: {error}")))?;
            if !is_parent(parent) {
                return Err(Failure::failed(format!("{parent} is gone already")));
            }
        }
        let privileges = Privileges::read().map_err(|error| Failure::failed(error.to_string()))?;
        let missing = privileges.missing();
        if !missing.is_empty() {
            return Err(Failure::needs_privileges(missing.join("; "))
                .with_cure("sudo nsp run, or the systemd unit"));
        }
        // https://no-color.org
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let progress = Progress::at_terminal();
        tracing_subscriber::fmt()
            .with_writer(progress.stderr())
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()) && !no_colour)
            .init();
        let flows = FlowRoom::of(self.flows);
        let flows = FlowRoom { v6: self.flows_v6.unwrap_or(flows.v6), ..flows };
        let options = Options {
            // Verbs name files by their absolute paths; so does the agent.
            policy: std::path::absolute(&self.policy)
                .map_err(|error| Failure::failed(format!("{}: {error}", self.policy.display())))?,
            interfaces: self.interfaces,
            xdp_mode: self.xdp_mode.into(),
            as_it_is: self.as_it_is,
            watch: self.watch,
            state_dir: self.state_dir,
            pin_dir: super::pin_dir(self.pin_dir),
            control: self.control,
            log: self.log,
            resolv_conf: self.resolv_conf,
            hosts: self.hosts,
            etc: self.etc,
            dmi: self.dmi,
            engine: self.engine.into(),
            allow_uncovered: self.allow_uncovered,
            early: self.early,
            command_line: self.command_line,
            flows,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        runtime.block_on(daemon::run(options, progress)).map_err(|error| match error {
            DaemonError::Policy(errors) => Failure::failed(errors.to_string()),
            DaemonError::Datapath(DatapathError::NoMemory { .. }) => Failure::failed(
                daemon::with_sources(&error),
            )
            .with_cure(
                "more memory for the unit; or smaller numbers for --flows and --flows-v6, or shorter lists",
            ),
            DaemonError::Datapath(DatapathError::Pins(error)) => {
                let failure = Failure::failed(daemon::with_sources(&error));
                match error {
                    PinError::NoFileSystem(_) => failure.with_cure(
                        "mount -t bpf bpf /sys/fs/bpf; or --pin-dir none: the perimeter then ends with the agent",
                    ),
                    PinError::ReadOnly(_) => failure.with_cure(
                        "mount -o remount,rw /sys/fs/bpf; what is in force stays in force until then",
                    ),
                    PinError::Taken(_) => failure.with_cure("nsp status: an agent runs already"),
                    PinError::Foreign(_) | PinError::Io { .. } => failure,
                }
            }
            DaemonError::NoInterface(_) => Failure::failed(daemon::with_sources(&error))
                .with_cure("--interface IF, or --early to wait for one that faces the public"),
            DaemonError::Control { ref source, .. } if source.kind() == ErrorKind::AddrInUse => {
                Failure::failed(daemon::with_sources(&error))
                    .with_cure("nsp status: an agent runs already; or --control SOCK for another one")
            }
            other => Failure::failed(daemon::with_sources(&other)),
        })
    }
}

fn is_parent(pid: u32) -> bool {
    let parent = rustix::process::getppid();
    parent.is_some_and(|parent| parent.as_raw_nonzero().get().cast_unsigned() == pid)
}
