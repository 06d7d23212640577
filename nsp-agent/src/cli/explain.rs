//! `nsp explain`: what would happen to a packet.

mod asked;

use std::net::IpAddr;

use clap::Args;
use nsp_common::{net::protocol, verdict::Reason};

use self::asked::Asked;
use super::{Failure, Socket, print_json, text};
use crate::{
    control::{ExplainPacket, Request},
    policy::Refusal,
};

/// Say what would happen to a packet, by which rule, and why, from the running kernel program and
/// from the compiled policy, which must agree.
///
///   nsp explain 198.51.100.7 5432          who comes in from there to that port
///   nsp explain 198.51.100.7 53/udp        the same by another protocol; or icmp, proto/47
///   nsp explain out example.com:443/tcp    what goes out to there
///   nsp explain inbound --from 198.51.100.7 --to 192.0.2.1 --port 5432/tcp
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Explain {
    /// An address and a port; or `out` and NAME:PORT, ADDRESS:PORT or ADDRESS PORT; or `inbound`
    #[arg(value_name = "WHAT", required = true, num_args = 1..=3)]
    what: Vec<String>,
    /// The source (inbound)
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The local address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// tcp, udp, sctp, icmp or a protocol number, where the port does not say it [default: tcp]
    #[arg(long, value_name = "PROTO")]
    proto: Option<String>,
    /// The port that is asked for, bare or as in a policy: 22, 22/tcp, 53/udp, icmp, proto/47
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// The interface
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The sending unit (outbound)
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// The sending process (outbound)
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    #[command(flatten)]
    socket: Socket,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The ports of a rule that would admit the packet, as a policy writes them.
fn ports_of(packet: &ExplainPacket) -> String {
    let port = if packet.outbound { packet.remote_port } else { packet.local_port };
    match packet.protocol {
        protocol::TCP => format!("{port}/tcp"),
        protocol::UDP => format!("{port}/udp"),
        protocol::SCTP => format!("{port}/sctp"),
        protocol::ICMP | protocol::ICMPV6 => "icmp".to_owned(),
        number => format!("proto/{number}"),
    }
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let packet = self.packet()?;
        let outbound = packet.outbound;
        let ports = ports_of(&packet);
        let answer = self.socket.call(&Request::Explain { packet })?;
        if self.json {
            print_json(&answer);
            return Ok(());
        }
        let word = match (answer["verdict"].as_str(), answer["wouldDeny"] == true) {
            (Some("allow"), true) => "WOULD-DENY",
            (Some("allow"), false) => "ALLOW",
            _ => "DENY",
        };
        let way = if outbound { "to" } else { "from" };
        print!("{word} {way} {}: {}", text(&answer["address"]), text(&answer["reason"]));
        if let Some(rule) = answer["rule"].as_str() {
            print!(", rule {rule}");
        }
        if let Some(profile) = answer["profile"].as_str() {
            print!(" of profile {profile}");
        }
        if let Some(name) = answer["name"].as_str() {
            print!(", for {name}");
        }
        println!();
        println!(
            "  resource {}, mode {}, generation {}",
            text(&answer["resource"]),
            text(&answer["mode"]),
            answer["generation"]
        );
        // Only what no rule names is cured by a rule.
        if answer["reason"] == Reason::NoRule.name() {
            let rule = if outbound { "outbound" } else { "inbound" };
            if let Some(profile) = answer["profile"].as_str() {
                println!("  to allow it:");
                println!("    [profile.{profile}.{rule}.NAME]");
                println!("    address_prefixes = [\"{}\"]", text(&answer["address"]));
                if !ports.starts_with("0/") {
                    println!("    ports = [\"{ports}\"]");
                }
            }
        }
        Ok(())
    }

    fn packet(&self) -> Result<ExplainPacket, Failure> {
        let first = self.what[0].as_str();
        let outbound = matches!(first, "out" | "outbound");
        let (remote, port) = match (first, self.what.get(1)) {
            ("out" | "outbound", Some(host)) if self.what.len() == 3 => {
                (host.clone(), self.what.get(2).map(String::as_str))
            }
            _ if self.what.len() == 3 => return Err(usage("the third word makes no sense")),
            ("out" | "outbound", Some(target)) => {
                let (host, port) = target
                    .rsplit_once(':')
                    .filter(|(host, _)| !host.contains(':') || host.starts_with('['))
                    .ok_or_else(|| {
                        usage("a destination is NAME:PORT, ADDRESS:PORT or [V6]:PORT")
                    })?;
                (host.trim_matches(['[', ']']).to_owned(), Some(port))
            }
            ("out" | "outbound", None) => return Err(usage("out needs a destination")),
            ("in" | "inbound", None) => {
                let from = self.from.ok_or_else(|| usage("inbound needs --from"))?;
                (from.to_string(), None)
            }
            (address, port) => {
                let address: IpAddr =
                    address.parse().map_err(|_| usage("the source is an address"))?;
                (address.to_string(), port.map(String::as_str))
            }
        };
        let port = match (port, self.port.as_deref()) {
            (Some(_), Some(_)) => return Err(usage("the port is given twice: leave --port out")),
            (port, flag) => port.or(flag),
        };
        let Asked { protocol, port } = Asked::read(port, self.proto.as_deref()).map_err(refused)?;
        let port = port.unwrap_or(ANY_PORT);
        Ok(ExplainPacket {
            outbound,
            remote,
            local: self.to,
            protocol,
            remote_port: if outbound { port } else { ANY_PORT },
            local_port: if outbound { ANY_PORT } else { port },
            interface: self.interface.clone(),
            unit: self.unit.clone(),
            pid: self.pid,
        })
    }
}

/// What the daemon takes for a port that nobody cares about.
const ANY_PORT: u16 = 0;

fn usage(why: &str) -> Failure {
    Failure {
        code: 2,
        message: format!("explain: {why}"),
        cure: Some("nsp explain 198.51.100.7 5432/tcp, or nsp explain out example.com:443".into()),
    }
}

/// A word that was understood and is wrong: it has a cure of its own, or none.
fn refused(Refusal { what, why, cure }: Refusal) -> Failure {
    Failure { code: 2, message: format!("explain: {what}: {why}"), cure }
}

#[cfg(test)]
mod tests;
