//! What a filter costs a question and its answer over veth: a byte there and a byte back on an open TCP
//! connection, with and without, in pairs. The server's end judges two packets of each.
//!
//! With both ends on processors of their own, as hosts have, a question wakes somebody up. With both on one
//! nothing is left but the way itself, and what a filter costs is seen best.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    Plan,
    cable::{self, Cable},
    compared::Case,
    filter::Filter,
    priority,
    report::Report,
    sample::Samples,
};

const CASE: Case = Case {
    name: "latency",
    kinds: ["two processors", "one processor"],
    metrics: [["p50", "p99"], ["p50, one processor", "p99, one processor"]],
    units: ["us", "us"],
    quick_kinds: 2,
    pairs: |filter| if filter == Filter::Nsp { 40 } else { 16 },
};

/// Where the peer and the server run, for each kind.
const PROCESSORS: [[usize; 2]; 2] = [[0, 1], [0, 0]];

const PORT: u16 = 5000;

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let duration = Duration::from_millis(if plan.quick { 40 } else { 400 });
    CASE.measure(plan, report, |arm, family, kind| {
        let [asker, answerer] = PROCESSORS[kind];
        let (ours, theirs) = connect(&arm.cable, family)?;
        thread::scope(|scope| {
            scope.spawn(move || answer(theirs, answerer));
            // Its end ends the other.
            let asking = scope.spawn(move || {
                priority::pin(asker)?;
                ask(&ours, duration / 8)?;
                ask(&ours, duration)
            });
            asking.join().expect("asking does not panic")
        })
    })
}

/// A connection: the peer's end and the server's.
fn connect(cable: &Cable, family: &str) -> Result<(TcpStream, TcpStream)> {
    let to = SocketAddr::new(cable::server_address(family), PORT);
    let listener = cable.server().enter(|| TcpListener::bind(to)).context("cannot listen")?;
    let ours = cable.peer().enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)));
    let ours = ours.with_context(|| format!("no connection to {to}"))?;
    let (theirs, _) = listener.accept()?;
    for stream in [&ours, &theirs] {
        stream.set_nodelay(true)?;
    }
    Ok((ours, theirs))
}

/// Sends back what comes, until nothing does.
fn answer(mut stream: TcpStream, processor: usize) -> Result<()> {
    priority::pin(processor)?;
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Asks for so long; the median and the longest of a hundred, in us.
fn ask(mut stream: &TcpStream, duration: Duration) -> Result<[f64; 2]> {
    let mut times = Samples::default();
    let mut byte = [0];
    let start = Instant::now();
    let mut before = start;
    while before - start < duration {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        let now = Instant::now();
        times.push((now - before).as_nanos() as f64 / 1000.0);
        before = now;
    }
    Ok([times.median(), times.quantile(0.99)])
}
