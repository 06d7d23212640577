//! Hooking the programs to devices: XDP or TC for what comes in, TC for what goes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use super::{
    Datapath, DatapathError,
    filter_hook::Filter,
    hooks::Spot,
    link::{Link, Target, attach, flags, kind},
    programs::Side,
};

/// How what comes in is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native where the driver has it, else TC ingress.
    Auto,
    /// Native or nothing, where native is not out of question.
    Native,
    /// Generic XDP, which works on every device and costs more than TC.
    Generic,
    /// TC ingress.
    Off,
}

/// Which hook judges what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngressHook {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack.
    XdpGeneric,
    /// TC ingress.
    Tc,
}

impl IngressHook {
    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp native",
            Self::XdpGeneric => "xdp generic",
            Self::Tc => "tc",
        }
    }
}

/// A device to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether frames begin with an Ethernet header.
    pub has_link_header: bool,
    /// Whether it is to do without native XDP, in whatever mode.
    pub without_native: bool,
}

/// One program at one hook of a device.
enum Hook {
    Link(Link),
    /// Before kernel 6.6 TC has no links.
    Filter(Filter),
}

impl Hook {
    /// Whether the program is where it was put. A file that is gone is made again.
    fn is_there(&mut self) -> io::Result<bool> {
        match self {
            Self::Link(link) => link.is_there(),
            Self::Filter(filter) => Ok(filter.is_there),
        }
    }

    fn pin(&self) -> Option<&Path> {
        match self {
            Self::Link(link) => link.pinned_at(),
            Self::Filter(_) => None,
        }
    }

    fn remove(self) -> io::Result<()> {
        match self {
            Self::Link(link) => link.remove(),
            Self::Filter(filter) => filter.remove(),
        }
    }
}

/// The hooks of one device. Dropping it detaches what is not pinned.
pub struct Attachment {
    /// Which hook judges what comes in.
    pub ingress: IngressHook,
    ingress_hook: Hook,
    egress_hook: Hook,
}

/// All hooks, by device index.
#[derive(Default)]
pub struct Attachments {
    held: BTreeMap<u32, (Device, Attachment)>,
}

impl Attachments {
    /// Devices with their hooks.
    pub fn iter(&self) -> impl Iterator<Item = (&Device, IngressHook)> {
        self.held.values().map(|(device, attachment)| (device, attachment.ingress))
    }

    /// Whether a device is hooked.
    pub fn covers(&self, index: u32) -> bool {
        self.held.contains_key(&index)
    }

    /// Hooks a device, egress first: an answer that goes out unseen would cost its conversation.
    ///
    /// # Errors
    /// Names the program and the device. What another agent left hooked to the device stays; nothing else
    /// does.
    pub fn add(
        &mut self,
        datapath: &mut Datapath,
        device: &Device,
        mode: XdpMode,
    ) -> Result<IngressHook, DatapathError> {
        let egress_hook = datapath.attach_egress(device)?;
        let (ingress, ingress_hook) = datapath.attach_ingress(device, mode)?;
        let attachment = Attachment { ingress, ingress_hook, egress_hook };
        self.held.insert(device.index, (device.clone(), attachment));
        Ok(ingress)
    }

    /// Devices have these names now.
    pub fn rename(&mut self, devices: &[Device]) {
        for device in devices {
            if let Some((held, _)) = self.held.get_mut(&device.index) {
                held.name.clone_from(&device.name);
            }
        }
    }

    /// The files that hold the hooks.
    pub fn pins(&self) -> impl Iterator<Item = &Path> {
        let hooks = self.held.values().flat_map(|(_, it)| [&it.ingress_hook, &it.egress_hook]);
        hooks.filter_map(Hook::pin)
    }

    /// Filters, which the kernel shows nobody but who asks for all of a device: its index, and what they hang on.
    pub fn filters(&self) -> Vec<(u32, u32)> {
        let hooks = self.held.iter().flat_map(|(index, (_, it))| {
            [&it.ingress_hook, &it.egress_hook].map(|hook| (*index, hook))
        });
        hooks
            .filter_map(|(index, hook)| match hook {
                Hook::Filter(filter) => Some((index, filter.parent())),
                Hook::Link(_) => None,
            })
            .collect()
    }

    /// These are all filters with a program that hang there at a device, each with its handle and its program.
    pub fn see_filters(&mut self, index: u32, parent: u32, filters: &BTreeSet<(u32, u32)>) {
        let Some((_, attachment)) = self.held.get_mut(&index) else { return };
        for hook in [&mut attachment.ingress_hook, &mut attachment.egress_hook] {
            match hook {
                Hook::Filter(filter) if filter.parent() == parent => filter.see(filters),
                _ => {}
            }
        }
    }

    /// Puts back what somebody took away, egress first; answers what was: the device, which way, and what came
    /// of it.
    pub fn repair(
        &mut self,
        datapath: &mut Datapath,
        mode: XdpMode,
    ) -> Vec<(String, &'static str, Result<(), DatapathError>)> {
        let mut found = Vec::new();
        for (device, attachment) in self.held.values_mut() {
            let Attachment { ingress, ingress_hook, egress_hook } = attachment;
            // What cannot be asked is as it was.
            if !egress_hook.is_there().unwrap_or(true) {
                let again = datapath.attach_egress(device).map(|hook| *egress_hook = hook);
                found.push((device.name.clone(), "egress", again));
            }
            if !ingress_hook.is_there().unwrap_or(true) {
                let again = datapath.attach_ingress(device, mode);
                let again = again.map(|(how, hook)| (*ingress, *ingress_hook) = (how, hook));
                found.push((device.name.clone(), "ingress", again));
            }
        }
        found
    }

    /// Unhooks devices that are gone or not wanted; answers what could not be unhooked.
    pub fn retain(&mut self, wanted: impl Fn(&Device) -> bool) -> Vec<(String, io::Error)> {
        let unwanted = |(device, _): &(Device, Attachment)| !wanted(device);
        let gone: Vec<u32> =
            self.held.iter().filter(|(_, it)| unwanted(it)).map(|(index, _)| *index).collect();
        let mut stay = Vec::new();
        for index in gone {
            let Some((device, attachment)) = self.held.remove(&index) else { continue };
            let Attachment { ingress: _, ingress_hook, egress_hook } = attachment;
            for hook in [ingress_hook, egress_hook] {
                if let Err(error) = hook.remove() {
                    stay.push((device.name.clone(), error));
                }
            }
        }
        stay
    }
}

impl Datapath {
    fn attach_egress(&mut self, device: &Device) -> Result<Hook, DatapathError> {
        let program = if device.has_link_header { "nsp_egress" } else { "nsp_egress_bare" };
        self.attach_tc(program, device, Side::Egress)
    }

    fn attach_ingress(
        &mut self,
        device: &Device,
        mode: XdpMode,
    ) -> Result<(IngressHook, Hook), DatapathError> {
        if !device.has_link_header {
            let hook = self.attach_tc("nsp_ingress_bare", device, Side::Ingress)?;
            return Ok((IngressHook::Tc, hook));
        }
        match mode {
            XdpMode::Native | XdpMode::Auto if device.without_native => {}
            XdpMode::Native | XdpMode::Auto => {
                match self.attach_xdp(device, IngressHook::XdpNative) {
                    Ok(hook) => return Ok((IngressHook::XdpNative, hook)),
                    Err(error) if mode == XdpMode::Native => return Err(error),
                    Err(error) => {
                        tracing::info!(interface = device.name, %error, "no native XDP, using TC");
                    }
                }
            }
            XdpMode::Generic => {
                let hook = self.attach_xdp(device, IngressHook::XdpGeneric)?;
                return Ok((IngressHook::XdpGeneric, hook));
            }
            XdpMode::Off => {}
        }
        let hook = self.attach_tc("nsp_ingress", device, Side::Ingress)?;
        Ok((IngressHook::Tc, hook))
    }

    fn attach_xdp(&mut self, device: &Device, how: IngressHook) -> Result<Hook, DatapathError> {
        let [native, generic] =
            ["native", "generic"].map(|it| format!("xdp-{it}-{}", device.index));
        let (name, other, flags) = match how {
            IngressHook::XdpGeneric => (generic, native, flags::XDP_GENERIC),
            _ => (native, generic, flags::XDP_NATIVE),
        };
        let target = Target::Device(device.index);
        let spot = Spot { name, target, kind: kind::XDP, hook: attach::XDP, flags };
        // A device has one XDP program, in whatever way: while they change places TC judges.
        let other = self.pinned_link(&other);
        let bridge = match &other {
            Some(_) => Some(self.attach_tc("nsp_ingress", device, Side::Ingress)?),
            None => None,
        };
        let hooked = other.map_or(Ok(()), Link::remove).and_then(|()| self.hook("nsp_xdp", &spot));
        let hook = hooked.map_err(|source| refused("nsp_xdp", device, source))?;
        if let Some(bridge) = bridge {
            bridge.remove().map_err(|source| refused("nsp_ingress", device, source))?;
        }
        Ok(Hook::Link(hook))
    }

    fn attach_tc(
        &mut self,
        program: &'static str,
        device: &Device,
        side: Side,
    ) -> Result<Hook, DatapathError> {
        let hooked = if Filter::is_needed() {
            self.hook_filter(program, device, side).map(Hook::Filter)
        } else {
            let hook = side.tcx();
            let name = format!("tc-{}-{}", side.name(), device.index);
            let target = Target::Device(device.index);
            // First: a program before ours that ends the chain would take packets past us.
            let spot = Spot { name, target, kind: kind::TCX, hook, flags: flags::FIRST };
            self.hook(program, &spot).map(Hook::Link)
        };
        hooked.map_err(|source| refused(program, device, source))
    }
}

fn refused(program: &'static str, device: &Device, source: io::Error) -> DatapathError {
    DatapathError::Attach { program, interface: device.name.clone(), source }
}
