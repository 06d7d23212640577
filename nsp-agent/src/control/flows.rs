//! What `nsp flows` is told. There may be a million of these, so they are not made into a tree of JSON
//! values on the way.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::datapath::FlowCursor;

/// A part of the conversations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowsPart {
    /// Some of them.
    pub flows: Vec<FlowLine>,
    /// Where to go on; `None` after the last.
    pub next: Option<FlowCursor>,
}

/// One conversation. What has no name is `null`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowLine {
    /// The other end.
    pub remote: IpAddr,
    /// Its port.
    pub remote_port: u16,
    /// This end.
    pub local: IpAddr,
    /// Its port.
    pub local_port: u16,
    /// TCP, UDP, ICMP ... as a number.
    pub protocol: u8,
    /// `Inbound` when the other end opened it, or `Outbound`.
    pub opener: Cow<'static, str>,
    /// `allowed`, `kept` and so on.
    pub state: Cow<'static, str>,
    /// Both ends have spoken.
    pub established: bool,
    /// It was there before the agent.
    pub seeded: bool,
    /// Why it was allowed.
    pub reason: Option<Cow<'static, str>>,
    /// The resource that it belongs to.
    pub resource: Option<String>,
    /// The rule that allows it.
    pub rule: Option<String>,
    /// The name that it was opened for.
    pub name: Option<String>,
    /// Since it was opened.
    pub age_seconds: u64,
    /// Since its last packet.
    pub idle_seconds: u64,
    /// Both ways.
    pub packets: u64,
    /// Both ways.
    pub bytes: u64,
    /// The generation that judged it last.
    pub generation: u32,
}
