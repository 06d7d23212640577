//! `nsp explain`: what would happen to a packet.

use std::net::IpAddr;

use clap::Args;

use super::{Failure, Socket, print_json, text};
use crate::control::{ExplainPacket, Request};

/// Say what would happen to a packet, by which rule, and why, from the running kernel program and
/// from the compiled policy, which must agree.
///
///   nsp explain 198.51.100.7 5432          who comes in from there to that port
///   nsp explain out example.com:443        what goes out to there
///   nsp explain inbound --from 198.51.100.7 --to 192.0.2.1 --proto tcp --port 5432
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Explain {
    /// An address and a port; or `out` and NAME:PORT or ADDRESS:PORT; or `inbound`
    #[arg(value_name = "WHAT", required = true, num_args = 1..=2)]
    what: Vec<String>,
    /// The source (inbound)
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The local address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// tcp, udp, sctp, icmp or a protocol number
    #[arg(long, value_name = "PROTO", default_value = "tcp")]
    proto: String,
    /// The port that is asked for
    #[arg(long, value_name = "N")]
    port: Option<u16>,
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

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let packet = self.packet()?;
        let outbound = packet.outbound;
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
        if word != "ALLOW" {
            let rule = if outbound { "outbound" } else { "inbound" };
            if let Some(profile) = answer["profile"].as_str() {
                println!("  to allow it:");
                println!("    [profile.{profile}.{rule}.NAME]");
                println!("    address_prefixes = [\"{}\"]", text(&answer["address"]));
            }
        }
        Ok(())
    }

    fn packet(&self) -> Result<ExplainPacket, Failure> {
        let usage = |why: &str| Failure {
            code: 2,
            message: format!("explain: {why}"),
            cure: Some("nsp explain 198.51.100.7 5432, or nsp explain out example.com:443".into()),
        };
        let first = self.what[0].as_str();
        let outbound = matches!(first, "out" | "outbound");
        let (remote, port) = match (first, self.what.get(1)) {
            ("out" | "outbound", Some(target)) => {
                let (host, port) = target
                    .rsplit_once(':')
                    .filter(|(host, _)| !host.contains(':') || host.starts_with('['))
                    .ok_or_else(|| {
                        usage("a destination is NAME:PORT, ADDRESS:PORT or [V6]:PORT")
                    })?;
                let port = port.parse().map_err(|_| usage("the port is a number"))?;
                (host.trim_matches(['[', ']']).to_owned(), port)
            }
            ("out" | "outbound", None) => return Err(usage("out needs a destination")),
            ("in" | "inbound", None) => {
                let from = self.from.ok_or_else(|| usage("inbound needs --from"))?;
                (from.to_string(), self.port.unwrap_or(0))
            }
            (address, port) => {
                let address: IpAddr =
                    address.parse().map_err(|_| usage("the source is an address"))?;
                let port = match (port, self.port) {
                    (Some(port), _) => port.parse().map_err(|_| usage("the port is a number"))?,
                    (None, Some(port)) => port,
                    (None, None) => 0,
                };
                (address.to_string(), port)
            }
        };
        let protocol = match self.proto.as_str() {
            "tcp" => 6,
            "udp" => 17,
            "sctp" => 132,
            "icmp" => 1,
            other => {
                other.parse().map_err(|_| usage("--proto is tcp, udp, sctp, icmp or a number"))?
            }
        };
        Ok(ExplainPacket {
            outbound,
            remote,
            local: self.to,
            protocol,
            remote_port: if outbound { port } else { 0 },
            local_port: if outbound { 0 } else { port },
            interface: self.interface.clone(),
            unit: self.unit.clone(),
            pid: self.pid,
        })
    }
}
