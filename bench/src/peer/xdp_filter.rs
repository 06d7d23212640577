//! xdp-filter of xdp-tools: the program that `xdp-filter load -p deny -f ipv4` attaches, run as the others
//! are. It knows exact addresses only, [`ADDRESSES_MAX`] of them, and addresses or ports but not both.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{PerCpuHashMap, PerCpuValues},
    programs::{Program, Xdp},
    util::nr_cpus,
};

use crate::kernel::Kernel;

/// The size of its map (`filter_ipv4`), which its command does not change.
pub(crate) const ADDRESSES_MAX: usize = 10_000;

/// "Lies in the list as a source" (xdp-filter/common_kern_user.h, `MAP_FLAG_SRC`).
const SOURCE: u64 = 1;

/// The loaded program, which stays callable as long as this lives.
pub(crate) struct XdpFilter {
    _ebpf: Ebpf,
}

impl XdpFilter {
    /// Loads it with a list, and makes it what `bench_vary4_linear` calls; `None` where it is not installed.
    pub(crate) fn load(
        kernel: &mut Kernel,
        sources: impl Iterator<Item = IpAddr>,
    ) -> Result<Option<Self>> {
        let Some(path) = object() else { return Ok(None) };
        let mut object = fs::read(&path).with_context(|| path.display().to_string())?;
        without_pins(&mut object);
        let mut ebpf = Ebpf::load(&object).with_context(|| path.display().to_string())?;
        let map = ebpf.map_mut("filter_ipv4").context("xdp-filter has no filter_ipv4")?;
        let mut list = PerCpuHashMap::<_, [u8; 4], u64>::try_from(map)?;
        let count = nr_cpus().map_err(|(_, error)| error)?;
        for source in sources {
            if let IpAddr::V4(address) = source {
                let value = PerCpuValues::try_from(vec![SOURCE; count])?;
                list.insert(address.octets(), value, 0)?;
            }
        }
        let (_, program) = ebpf.programs_mut().next().context("xdp-filter has no program")?;
        let program: &mut Xdp = match program {
            Program::Xdp(program) => program,
            _ => anyhow::bail!("xdp-filter's program is not for XDP"),
        };
        program.load()?;
        kernel.linear.set(0, program.fd()?, 0)?;
        Ok(Some(Self { _ebpf: ebpf }))
    }
}

/// The program that lets pass what is listed (`-p deny`), by IPv4 and IPv6 addresses.
fn object() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let inside = directories.map(|it| it.path().join("bpf"));
    let all = inside.chain(["/usr/lib/bpf".into(), "/usr/lib64/bpf".into()]);
    all.map(|it| it.join("xdpfilt_dny_ip.o")).find(|it| it.is_file())
}

/// Its maps would be pinned in the host's bpffs, where a running xdp-filter has its own: the member of their
/// description that says so gets a name that nobody knows.
fn without_pins(object: &mut [u8]) {
    let (wanted, other) = (b"\0pinning\0", b"\0unused_\0");
    for at in 0..object.len().saturating_sub(wanted.len()) {
        if &object[at..at + wanted.len()] == wanted {
            object[at..at + wanted.len()].copy_from_slice(other);
        }
    }
}
