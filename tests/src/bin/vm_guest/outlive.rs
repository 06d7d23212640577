//! The whole agent, killed again and again: on kernels where TC is a filter that no file holds, and where it is a
//! link.
//!
//! In emulation a start takes half a minute, most of it in the verifier, so that one agent tells the whole story.

use std::{
    env,
    net::{Ipv6Addr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Party},
    pinned::{self, Kind},
    sockets::{EchoServer, Outcome, tcp_connect},
    survival::{self, Figures, POSTGRES, Pace},
};

use rustix::process::Signal;

use crate::report::{Report, tell};

/// How long a start may take, on a machine that does other things beside.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(180);
/// What an agent that runs sees every second, and what ends by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// How long a change stands that nobody confirms.
const WINDOW: Duration = Duration::from_secs(15);
/// How long nobody answers before that is silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(700);

/// The agent and where it is.
struct Story {
    world: World,
    agent: Agent,
}

/// Tells the story. Each part can go well where one before it did not.
pub(crate) fn check(report: &mut Report) {
    const KILLED: &str = "agent: killed while traffic runs, under XDP and under TC";
    if !report.wants(KILLED) {
        return;
    }
    let mut story = None;
    report.check(KILLED, || {
        story.insert(Story::begin()).nothing_leaks_and_nothing_is_cut();
    });
    // Without an agent that ever ran there is nothing more to tell.
    let Some(mut story) = story else { return };
    let back = "agent: a hook that somebody takes away is back";
    report.check(back, || story.hooks_come_back());
    let taken_back = "agent: a change is taken back by the kernel, the agent dead";
    report.check(taken_back, || story.kernel_takes_back());
    report.check("agent: detach without it leaves nothing", || story.detach_leaves_nothing());
}

impl Story {
    fn begin() -> Self {
        let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
        let agent = Agent::builder(world.server())
            .binary(env::current_exe().expect("this program"))
            .policy(survival::POLICY)
            .arguments(&["--xdp-mode", "native"])
            .ready_within(READY_WITHIN)
            .start();
        Self { world, agent }
    }

    /// A third of the starts after the first is under XDP. With the next TC takes its place, and goes on.
    fn nothing_leaks_and_nothing_is_cut(&mut self) {
        let kills = if env::var_os("NSP_TEST_FULL").is_some() { 12 } else { 2 };
        let restart = |agent: &mut Agent, kill| {
            let mode = if kill < kills / 3 { "native" } else { "off" };
            agent.restart_with(&["--xdp-mode", mode]);
        };
        self.hang(&[("ingress", 0), ("egress", 1)]);
        let Self { world, agent } = self;
        let figures = survival::survive(world, agent, kills, Pace::EMULATED, restart);
        tell(&figures.to_string());
        let Figures { denied, leaked, calls, lives, opened, .. } = figures;
        // What is sent again, and late, says how slow the machine is.
        assert_eq!((leaked, calls[1], lives[1]), (0, 0, 0), "{figures}\n{}", agent.stderr());
        assert!(denied > 100 && opened[0] > 0 && opened[1] < opened[0] / 4, "{figures}");
        self.hang(&[("ingress", 1), ("egress", 1)]);
    }

    fn hooks_come_back(&mut self) {
        let _database = self.database();
        if is_filter() {
            // Each with whatever else is at its side, and the qdisc with both.
            let lines = [
                "filter del dev up0 ingress",
                "filter del dev up0 egress",
                "qdisc del dev up0 clsact",
            ];
            for line in lines {
                self.tc(line);
                let begun = Instant::now();
                let is_back = |side: &&str| self.filters(side) == 1;
                let are_back = || ["ingress", "egress"].iter().all(is_back).then_some(());
                let back = Deadline::after(SOON).poll(are_back);
                assert!(back.is_some(), "not back after tc {line}: {}", self.agent.stderr());
                tell(&format!("back {:.1} s after tc {line}", begun.elapsed().as_secs_f64()));
            }
            self.strangers_filters_are_not_taken_for_ours();
        } else {
            let links = self.agent.home().pin_dir().join("links");
            let at_devices = |name: &String| name.starts_with("tc-");
            for name in pinned::names(&links).iter().filter(|name| at_devices(name)) {
                pinned::detach(&links.join(name));
            }
        }
        let told = self.agent.says("somebody took a hook away; it is back", SOON);
        assert!(told, "{}", self.agent.stderr());
        self.is(Party::Stranger, Outcome::TimedOut);
        self.is(Party::Office, Outcome::Connected);
    }

    /// Somebody else's program in our filter, and somebody else's filter that has the handle of ours.
    fn strangers_filters_are_not_taken_for_ours(&mut self) {
        let theirs = self.agent.home().bpffs().join("theirs");
        pinned::program(Kind::Classifier, "theirs", &theirs);
        let filter =
            format!("protocol all handle 0x6e737000 bpf da object-pinned {}", theirs.display());
        self.tc(&format!("filter replace dev up0 ingress pref 1 {filter}"));
        self.has_ours_again("ingress", 1);

        self.agent.process().signal(Signal::STOP);
        self.tc("filter del dev up0 egress pref 1");
        self.tc(&format!("filter add dev up0 egress pref 7 {filter}"));
        self.agent.process().signal(Signal::CONT);
        self.has_ours_again("egress", 2);
        self.tc("filter del dev up0 egress pref 7");
    }

    /// With so many that have its handle.
    #[track_caller]
    fn has_ours_again(&self, side: &str, handles: usize) {
        let shown = || self.tc(&format!("filter show dev up0 {side}"));
        let is_ours = || {
            let is_it = shown().contains(&format!("nsp_{side}")) && self.filters(side) == handles;
            is_it.then_some(())
        };
        let back = Deadline::after(SOON).poll(is_ours).is_some();
        assert!(back, "{side}: {} {}", shown(), self.agent.stderr());
    }

    /// The office would be locked out, and nobody runs who would let it in again.
    fn kernel_takes_back(&mut self) {
        let _database = self.database();
        let nobody = survival::POLICY
            .replace("203.0.113.0/24", "203.0.113.200/32")
            .replace("2001:db8:100::/40", "2001:db8:1ff::/48");
        self.agent.write_policy(&nobody);
        let window = format!("{}s", WINDOW.as_secs());
        self.agent.nsp_ok(&["apply", "--confirm", &window, "--force"]);
        let begun = Instant::now();
        self.agent.kill();
        self.is(Party::Office, Outcome::TimedOut);
        assert!(begun.elapsed() < WINDOW, "the machine is too slow for this");
        let connects = |family: &Family| self.connect(Party::Office, *family) == Outcome::Connected;
        let opened = Deadline::after(SOON).poll(|| BOTH.iter().all(connects).then_some(()));
        assert!(opened.is_some(), "locked out");
        tell(&format!("in again {:.1} s after the kill", begun.elapsed().as_secs_f64()));
        assert!(begun.elapsed() < WINDOW + Duration::from_secs(5), "{:?}", begun.elapsed());
        self.is(Party::Office, Outcome::Connected);
        self.is(Party::Stranger, Outcome::TimedOut);
    }

    fn detach_leaves_nothing(&mut self) {
        let _database = self.database();
        if self.agent.is_running() {
            self.agent.kill();
        }
        self.is(Party::Stranger, Outcome::TimedOut);
        self.agent.nsp_ok(&["detach"]);
        self.hang(&[("ingress", 0), ("egress", 0)]);
        assert!(!self.agent.home().pin_dir().exists(), "the pins are gone");
        self.is(Party::Stranger, Outcome::Connected);
    }

    fn database(&self) -> EchoServer {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), POSTGRES);
        EchoServer::tcp(self.world.server(), any)
    }

    fn connect(&self, party: Party, family: Family) -> Outcome {
        let from = SocketAddr::new(party.address(family), 0);
        let to = self.world.server_address(party, family, POSTGRES);
        tcp_connect(self.world.host(party), from, to, SILENCE)
    }

    /// What becomes of a party's connections.
    #[track_caller]
    fn is(&self, party: Party, outcome: Outcome) {
        for family in BOTH {
            assert_eq!(self.connect(party, family), outcome, "{party:?} {family:?}");
        }
    }

    /// So many filters of ours hang at the sides of the server's device, where TC is a filter.
    #[track_caller]
    fn hang(&self, sides: &[(&str, usize)]) {
        for (side, wanted) in sides {
            let wanted = if is_filter() { *wanted } else { 0 };
            assert_eq!(self.filters(side), wanted, "{side}");
        }
    }

    /// How many filters of ours hang at a side of the server's device.
    fn filters(&self, side: &str) -> usize {
        let shown = self.tc(&format!("filter show dev up0 {side}"));
        shown.matches("handle 0x6e737000").count()
    }

    fn tc(&self, line: &str) -> String {
        let output = self.world.server().output(Command::new("tc").args(line.split(' ')));
        // Without a clsact there is nothing to show.
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() || line.contains("show"), "tc {line}: {text}");
        text
    }
}

/// Whether TC is a filter on this kernel.
fn is_filter() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|it| it.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(6), Some(6))
}
