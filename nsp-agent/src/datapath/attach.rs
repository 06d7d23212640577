//! Hooking the programs to devices: XDP or TC for what comes in, TC for what goes out.

use std::collections::BTreeMap;

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode as AyaXdpMode,
    links::LinkOrder,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};
use aya::util::KernelVersion;

use super::{Datapath, DatapathError};

/// How what comes in is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native where the driver has it, else TC ingress.
    Auto,
    /// Native or nothing.
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
}

/// The hooks of one device; dropping it detaches.
pub struct Attachment {
    /// Which hook judges what comes in.
    pub ingress: IngressHook,
    _xdp: Option<XdpLink>,
    _ingress: Option<SchedClassifierLink>,
    _egress: SchedClassifierLink,
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
    /// Names the program and the device; nothing stays attached to the device.
    pub fn add(
        &mut self,
        datapath: &mut Datapath,
        device: &Device,
        mode: XdpMode,
    ) -> Result<IngressHook, DatapathError> {
        let egress_program = if device.has_link_header { "nsp_egress" } else { "nsp_egress_bare" };
        let egress = datapath.attach_tc(egress_program, device, TcAttachType::Egress)?;
        let (ingress, xdp, tc) = datapath.attach_ingress(device, mode)?;
        let attachment = Attachment { ingress, _xdp: xdp, _ingress: tc, _egress: egress };
        self.held.insert(device.index, (device.clone(), attachment));
        Ok(ingress)
    }

    /// Unhooks devices that are gone or not wanted.
    pub fn retain(&mut self, wanted: impl Fn(&Device) -> bool) {
        self.held.retain(|_, (device, _)| wanted(device));
    }
}

type Ingress = (IngressHook, Option<XdpLink>, Option<SchedClassifierLink>);

impl Datapath {
    fn attach_ingress(&mut self, device: &Device, mode: XdpMode) -> Result<Ingress, DatapathError> {
        if !device.has_link_header {
            let link = self.attach_tc("nsp_ingress_bare", device, TcAttachType::Ingress)?;
            return Ok((IngressHook::Tc, None, Some(link)));
        }
        let native = || (AyaXdpMode::Driver, IngressHook::XdpNative);
        match mode {
            XdpMode::Native | XdpMode::Auto => match self.attach_xdp(device, native().0) {
                Ok(link) => return Ok((native().1, Some(link), None)),
                Err(error) if mode == XdpMode::Native => return Err(error),
                Err(error) => {
                    tracing::info!(interface = device.name, %error, "no native XDP, using TC");
                }
            },
            XdpMode::Generic => {
                let link = self.attach_xdp(device, AyaXdpMode::Skb)?;
                return Ok((IngressHook::XdpGeneric, Some(link), None));
            }
            XdpMode::Off => {}
        }
        let link = self.attach_tc("nsp_ingress", device, TcAttachType::Ingress)?;
        Ok((IngressHook::Tc, None, Some(link)))
    }

    fn attach_xdp(&mut self, device: &Device, mode: AyaXdpMode) -> Result<XdpLink, DatapathError> {
        let attached = (|| {
            let program: &mut Xdp =
                self.ebpf.program_mut("nsp_xdp").ok_or(ProgramError::NotLoaded)?.try_into()?;
            let id = program.attach_to_if_index(device.index, mode)?;
            program.take_link(id)
        })();
        attached.map_err(|source| DatapathError::Attach {
            program: "nsp_xdp",
            interface: device.name.clone(),
            source,
        })
    }

    fn attach_tc(
        &mut self,
        name: &'static str,
        device: &Device,
        side: TcAttachType,
    ) -> Result<SchedClassifierLink, DatapathError> {
        let attached = (|| {
            let program: &mut SchedClassifier =
                self.ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()?;
            // Before 6.6 there is no tcx, and the classifier needs a qdisc to hang on. That one
            // exists already is what one hopes for; any other failure shows at the attach.
            let options =
                if KernelVersion::current().is_ok_and(|it| it < KernelVersion::new(6, 6, 0)) {
                    let _exists_already = tc::qdisc_add_clsact(&device.name);
                    TcAttachOptions::Netlink(NlOptions::default())
                } else {
                    // First: a program before ours that ends the chain would take packets past us.
                    TcAttachOptions::TcxOrder(LinkOrder::first())
                };
            let id = program.attach_with_options(&device.name, side, options)?;
            program.take_link(id)
        })();
        attached.map_err(|source| DatapathError::Attach {
            program: name,
            interface: device.name.clone(),
            source,
        })
    }
}
