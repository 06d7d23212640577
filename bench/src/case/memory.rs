//! How much memory of the kernel a prefix takes: all of nsp's address tables, with two generations in them and
//! the room for others that is always there, beside one set of each peer. And what a conversation takes.
//!
//! Maps of nsp are as large as the kernel says (`memlock` of their descriptors). Nodes of tries and elements
//! of sets are counted nowhere, so for these it is what all of the kernel's own memory grew by; other work
//! on the machine disturbs that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{LpmTrie, MapInfo, lpm_trie::Key};
use ipnet::IpNet;
use nsp_agent::{
    compile::Compiled,
    datapath::{Capacities, Datapath},
};
use nsp_common::ranges::PAGE_BYTES;

use crate::{
    Plan,
    peer::{Sites, ipset, nft, nft::Hook},
    policy::{self, OPEN},
    prefixes,
    report::{Report, Row},
    sample::Samples,
};

/// What rows of a prefix are called.
const KERNEL: &str = "kernel memory";
/// Where range tables lie that there was room for when the programs were loaded.
const PAGES: &str = "PAGES";
/// Flow tables of the default size.
const FLOWS: &[&str] = &["FLOWS_V4", "PLACES_V4", "FREE_V4"];
/// Prefixes from which on the memory that all of the kernel grew by is theirs.
const SEEN_MIN: usize = 10_000;
/// `BPF_F_NO_PREALLOC`, which tries insist on.
const NO_PREALLOC: u32 = 1;

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let counts: &[usize] =
        if plan.quick { &[10, 1_000_000] } else { &[10, 1_000, 10_000, 100_000, 1_000_000] };
    for count in counts.iter().filter(|count| plan.wants(**count)) {
        let prefixes = prefixes::v4(*count);
        let compiled = policy::of_lists(&[&prefixes])?;
        Loaded::of(&compiled)?.report(*count, report);
        // Few prefixes are lost in what else happens on the machine.
        if !plan.quick && *count >= SEEN_MIN {
            peers(&prefixes, &compiled, report)?;
        }
    }
    if plan.quick {
        report.note("What the peers' sets take of memory is left out of a quick run.");
    }
    Ok(())
}

fn row(subject: &'static str, count: usize, metric: &str, unit: &'static str, value: f64) -> Row {
    Row::of("memory", subject, count, "v4", metric, unit, &Samples::one(value))
}

/// A set of each peer, and a trie.
fn peers(prefixes: &[IpNet], compiled: &Compiled, report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let count = prefixes.len();
    let mut add = |subject, times: f64, bytes: u64| {
        let each = times * bytes as f64 / count as f64;
        report.add(row(subject, count, KERNEL, "bytes/prefix", each));
    };
    // As nsp, of two generations.
    add("nsp-lpm-trie", 2.0, grown(|| trie(compiled))?);

    let mut sites = Sites::new();
    let site = sites.add("nft")?;
    fs::write(path("nft"), nft::file(Hook::Ingress, prefixes, OPEN)?)?;
    add("nft-ingress", 1.0, grown(|| nft::load(&site, &path("nft")))?);
    nft::clear(&site)?;

    let site = sites.add("ipset")?;
    fs::write(path("ipset"), ipset::file(prefixes)?)?;
    add("ipset", 1.0, grown(|| ipset::load(&site, &path("ipset")))?);
    ipset::clear(&site)
}

/// What the maps of a datapath take, in bytes.
struct Loaded {
    /// Address tables: two generations, and the room that is there for what comes next.
    tables: u64,
    all: u64,
    flow: f64,
}

impl Loaded {
    /// A datapath with room for this policy, which is put in force twice.
    fn of(compiled: &Compiled) -> Result<Self> {
        let mut datapath = Datapath::load(Capacities::for_sizes(&compiled.sizes))?;
        for _ in 0..2 {
            datapath.publish(compiled, &[], &BTreeMap::new())?;
        }
        let maps = maps(&mut datapath)?;
        let tables = maps.iter().find(|map| map.name == PAGES).context("no range tables")?;
        let written = 2 * compiled.pages.len() * PAGE_BYTES;
        ensure!(tables.bytes as usize >= written, "{written} bytes are not in {tables:?}");
        let flows: Vec<_> = maps.iter().filter(|map| FLOWS.contains(&&*map.name)).collect();
        let entries =
            flows.iter().map(|map| map.entries).max().context("there are no flow tables")?;
        Ok(Self {
            tables: tables.bytes,
            all: maps.iter().map(|map| map.bytes).sum(),
            flow: flows.iter().map(|map| map.bytes).sum::<u64>() as f64 / f64::from(entries),
        })
    }

    fn report(&self, count: usize, report: &mut Report) {
        let Self { tables, all, flow } = *self;
        let each = tables as f64 / count as f64;
        for (metric, unit, value) in [
            (KERNEL, "bytes/prefix", each),
            ("kernel memory, altogether", "KiB", tables as f64 / 1024.0),
            ("all maps", "MiB", all as f64 / 1_048_576.0),
            ("a conversation", "bytes", flow),
        ] {
            report.add(row("nsp", count, metric, unit, value));
        }
    }
}

/// A map as the kernel describes it.
#[derive(Debug)]
struct Map {
    name: String,
    entries: u32,
    bytes: u64,
}

/// The maps of some programs.
fn maps(datapath: &mut Datapath) -> Result<Vec<Map>> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let mut ids = BTreeSet::new();
    for (_, program) in datapath.object().programs() {
        ids.extend(
            program.info()?.map_ids()?.context("the kernel does not tell a program's maps")?,
        );
    }
    let mut found = Vec::new();
    for id in ids {
        let map = MapInfo::from_id(id)?;
        let descriptor = map.fd()?;
        let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        found.push(Map {
            name: map.name_as_str().unwrap_or_default().to_owned(),
            entries: map.max_entries(),
            bytes: bytes.with_context(|| path.clone())?.trim().parse()?,
        });
    }
    Ok(found)
}

/// A trie of the kernel with the prefixes of a policy, and nothing else.
fn trie(compiled: &Compiled) -> Result<LpmTrie<aya::maps::MapData, [u8; 4], u32>> {
    let mut trie = LpmTrie::create(compiled.prefixes.len() as u32, NO_PREALLOC)?;
    for (prefix, class) in &compiled.prefixes {
        if let IpNet::V4(net) = prefix {
            let key = Key::new(u32::from(net.prefix_len()), net.network().octets());
            // The kernel's allocator can refuse for a moment although there is memory (6.14 and later).
            let mut left = 200;
            while let Err(error) = trie.insert(&key, class, 0) {
                ensure!(left > 0, error);
                left -= 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    Ok(trie)
}

/// By how much the kernel's memory grows while something is made.
fn grown<T>(make: impl FnOnce() -> Result<T>) -> Result<u64> {
    let before = settled()?;
    let _made = make()?;
    Ok(settled()?.saturating_sub(before))
}

/// The kernel's own memory when it has stopped changing: what was removed is freed behind our back.
fn settled() -> Result<u64> {
    const STEP: Duration = Duration::from_millis(150);
    const CHANGE: u64 = 256 << 10;
    let mut last = kernel_bytes()?;
    for _ in 0..20 {
        thread::sleep(STEP);
        let now = kernel_bytes()?;
        if now.abs_diff(last) < CHANGE {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Objects that are not given back under pressure, large areas, and areas of processors (proc_meminfo(5)).
fn kernel_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let mut kib = 0;
    for name in ["SUnreclaim:", "VmallocUsed:", "Percpu:"] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
        kib += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(kib * 1024)
}
