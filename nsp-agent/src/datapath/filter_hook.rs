//! TC before kernel 6.6: a classifier's filter on the clsact qdisc. It belongs to the device, not to a
//! process: whoever is to take it away must do so.

use std::{collections::BTreeSet, io, mem, os::fd::AsFd as _};

use aya::{
    programs::{
        Link as _, ProgramError, SchedClassifier, TcAttachType,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
    util::KernelVersion,
};

use super::{
    Datapath,
    attach::Device,
    programs::{self, Side},
};

impl Side {
    fn attach_type(self) -> TcAttachType {
        match self {
            Self::Ingress => TcAttachType::Ingress,
            Self::Egress => TcAttachType::Egress,
        }
    }
}

/// Before all others that do not insist on it as well.
const PRIORITY: u16 = 1;
/// "nsp" in ASCII: the same filter for every agent that outlives itself, and nobody else's by chance.
const HANDLE: TcHandle = TcHandle::new(0x6e73, 0x7000);

/// A filter. Dropping it detaches it, unless it is to outlive the agent.
pub(super) struct Filter {
    /// Empty when it is detached or left where it is.
    link: Option<SchedClassifierLink>,
    outlives: bool,
    side: Side,
    /// Its handle and the number of its program: a handle alone may be anybody's.
    what: (u32, u32),
    /// Whether it is where it was put, as far as anybody knows.
    pub(super) is_there: bool,
}

impl Filter {
    /// Whether this kernel has no links for TC.
    pub(super) fn is_needed() -> bool {
        KernelVersion::current().is_ok_and(|it| it < KernelVersion::new(6, 6, 0))
    }

    /// What it hangs on.
    pub(super) fn parent(&self) -> u32 {
        self.side.parent()
    }

    /// Of all filters that hang there these are left, by handle and program.
    pub(super) fn see(&mut self, filters: &BTreeSet<(u32, u32)>) {
        self.is_there = filters.contains(&self.what);
    }

    /// Detaches it.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.outlives = false;
        Ok(())
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // Where it is not there, another may have its handle, which is somebody else's.
        if (self.outlives || !self.is_there)
            && let Some(link) = self.link.take()
        {
            mem::forget(link);
        }
    }
}

impl Datapath {
    /// Hooks a program by a filter. One that an agent left there gets it in place of its own.
    pub(super) fn hook_filter(
        &mut self,
        program: &str,
        device: &Device,
        side: Side,
    ) -> io::Result<Filter> {
        let outlives = self.pins().is_some();
        let mut number = 0;
        let hooked = (|| -> Result<SchedClassifierLink, ProgramError> {
            let program = self.ebpf.program_mut(program).ok_or(ProgramError::NotLoaded)?;
            let program: &mut SchedClassifier = program.try_into()?;
            number = programs::number(program.fd()?.as_fd()).map_err(ProgramError::IOError)?;
            let attach_type = side.attach_type();
            // That one exists already is what one hopes for; any other failure shows at the attach.
            let _exists_already = tc::qdisc_add_clsact(&device.name);
            let options = if outlives {
                let left = SchedClassifierLink::attached(
                    &device.name,
                    attach_type,
                    PRIORITY,
                    HANDLE,
                    None,
                )?;
                match program.attach_to_link(left) {
                    Ok(id) => return program.take_link(id),
                    Err(error) => {
                        tracing::debug!(interface = device.name, %error, "no filter was left");
                    }
                }
                NlOptions { priority: PRIORITY, handle: HANDLE, classid: None }
            } else {
                NlOptions::default()
            };
            let options = TcAttachOptions::Netlink(options);
            let id = program.attach_with_options(&device.name, attach_type, options)?;
            program.take_link(id)
        })();
        let link = hooked.map_err(io::Error::other)?;
        let handle = link.handle().map_err(io::Error::other)?.into();
        Ok(Filter { link: Some(link), outlives, side, what: (handle, number), is_there: true })
    }
}

/// Takes away the filters that an agent left at a device; answers how many that were.
pub(super) fn sweep(interface: &str) -> usize {
    if !Filter::is_needed() {
        return 0;
    }
    let take_away = |side: &Side| {
        let attach_type = side.attach_type();
        let link = SchedClassifierLink::attached(interface, attach_type, PRIORITY, HANDLE, None);
        // Where there is none there is nothing to be done.
        link.is_ok_and(|link| link.detach().is_ok())
    };
    Side::ALL.iter().filter(|side| take_away(side)).count()
}
