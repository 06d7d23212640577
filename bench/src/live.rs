//! Frames that enter the stack behind an XDP program, as those of a driver do: test runs with
//! `BPF_F_TEST_XDP_LIVE_FRAMES` (kernel 5.18).

use anyhow::{Result, bail};
use aya::{
    TestRun as _,
    programs::{Program, TestRunAttrs, TestRunOptions},
};
use nsp_tests::netns::Namespace;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{kernel::Kernel, peer::Site};

/// Frames that a driver takes up at a time.
const BATCH: u32 = 64;

/// Runs an entry program over so many frames that come by the site's device; ns a frame, with all that the
/// stack did with it.
pub(crate) fn run(
    kernel: &mut Kernel,
    entry: &str,
    site: &Site,
    frame: &[u8],
    frames: u32,
) -> Result<f64> {
    let Site { namespace, device } = site;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context: Vec<u8> = [0, frame.len() as u32, 0, *device, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    kernel.went(frames);
    pinned(namespace, || {
        let Some(Program::Xdp(program)) = kernel.datapath.object().program(entry) else {
            bail!("the object has no XDP program {entry}")
        };
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        })?;
        Ok(result.duration.as_nanos() as f64)
    })
}

/// Works inside a namespace and always on the same processor: the trace has a place for each.
fn pinned<T: Send>(namespace: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    namespace.enter(|| {
        let mut last = CpuSet::new();
        last.set(std::thread::available_parallelism()?.get() - 1);
        sched_setaffinity(None, &last)?;
        work()
    })
}
