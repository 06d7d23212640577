//! A command with a perimeter of its own, and a peer that is shut out for two seconds.

use std::{
    net::SocketAddr,
    process::Output,
    time::{Duration, Instant},
};

use super::Play;
use crate::{
    agent::nsp_binary,
    deadline::Deadline,
    demo::{
        Told,
        failure::Failure,
        office::{BUILD, PACKAGE_BYTES, PACKAGES, TELEMETRY},
        stage::DATABASE,
        stop,
    },
    packet::{Family, Party},
    sockets::{still_echoes, tcp_connect, tcp_open},
};

/// What a refusal may take.
const AT_ONCE_MS: f64 = 100.0;
/// How long the peer is blocked; a second of the clock more at most.
const BLOCKED: Duration = Duration::from_secs(2);

pub(super) fn run(it: &mut Play) -> Told {
    let screen = it.screen;
    screen.say("A build may fetch its packages from the office. Something in it phones home.");
    screen.command("cat build.sh");
    screen.output(BUILD.lines());
    let destination = format!("{PACKAGES}:80/tcp");
    let (tools, summary) = it.exec(&["--allow", &destination, "--", "sh", "build.sh"])?;

    let fetched = format!("fetch: {PACKAGES}: {PACKAGE_BYTES} bytes, 0 segments sent again");
    screen.claim(
        tools.lines().any(|line| line == fetched),
        "the package is there, and no SYN had to be sent again",
    )?;
    let stranger = Party::Stranger.v4().to_string();
    let refused = [TELEMETRY, &stranger].map(|to| refused_after_ms(&tools, to));
    let [by_name, by_address] = refused.map(|ms| ms.unwrap_or(f64::INFINITY));
    screen.claim(
        by_name < AT_ONCE_MS && by_address < AT_ONCE_MS,
        &format!("telemetry fails at once: {by_name} ms by name, {by_address} ms by address"),
    )?;
    let names = |what: &str| {
        summary.lines().any(|line| line.contains("blocked telemetry[") && line.contains(what))
    };
    screen.claim(
        names(&format!("→ {TELEMETRY}: ")) && names(&format!("→ {stranger}:443/tcp: ")),
        "the summary names the process, and the name and the address it tried",
    )?;
    let questions = it.stage.office.questions();
    screen.claim(
        questions.contains(PACKAGES)
            && !questions.contains(TELEMETRY)
            && it.stage.stranger_served().arrivals == 0,
        "nothing reached the stranger, and no DNS server was asked for its name",
    )?;
    block(it)
}

fn block(it: &Play) -> Told {
    let screen = it.screen;
    let world = &it.stage.world;
    let office = world.host(Party::Office);
    let from = SocketAddr::new(Party::Office.v4().into(), 0);
    let to = world.server_address(Party::Office, Family::V4, DATABASE);
    let patience = Duration::from_millis(400);
    let live = tcp_open(office, from, to, patience);
    let live =
        live.map_err(|met| Failure::Untrue(format!("the office is let in; it was {met:?}")))?;
    let alive = still_echoes(&live);
    let begun = Instant::now();
    it.show(&["block", &from.ip().to_string(), "--for", "2s"], |_| true)?;
    let cut = alive && !still_echoes(&live);
    screen.claim(cut, "the office's live connection to the database is cut")?;
    let let_in = || {
        let met = tcp_connect(office, from, to, Duration::from_millis(100));
        (met.is_success() || stop::asked()).then_some(())
    };
    let over = Deadline::after(2 * BLOCKED).poll(let_in).is_some();
    stop::check()?;
    let after = begun.elapsed();
    screen.claim(
        over && after >= BLOCKED,
        &format!("after {:.1} s the office is let in again, by itself", after.as_secs_f64()),
    )
}

/// The time that a tool gave up after, trying this destination.
fn refused_after_ms(tools: &str, to: &str) -> Option<f64> {
    let line = tools.lines().find(|line| line.starts_with(&format!("telemetry: {to}: ")))?;
    line.rsplit_once(", after ")?.1.strip_suffix(" ms")?.parse().ok()
}

impl Play {
    /// Runs a command by `nsp exec` on the server, shows it, and answers what it printed and the summary.
    fn exec(&self, arguments: &[&str]) -> Result<(String, String), Failure> {
        stop::check()?;
        self.screen.command(&format!("nsp exec {}", arguments.join(" ")));
        let arguments: Vec<_> = [&["exec"], arguments].concat();
        let mut command = self.stage.office.asking(&nsp_binary(), &arguments);
        command.env("NSP_CONTROL", self.agent.home().control());
        let Output { status, stdout, stderr } = self.stage.world.server().output(&mut command);
        let [stdout, stderr] = [stdout, stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        self.screen.output(stdout.lines().chain(stderr.lines()));
        if !status.success() {
            return Err(Failure::Broken(format!("nsp exec: {status}")));
        }
        Ok((stdout, stderr))
    }
}
