//! Real traffic with deadlines: connections, datagrams, echo requests and raw frames, each made
//! in a namespace of ours.

mod delivered;
mod echo;
mod frames;
mod outcome;
mod ping;
mod tcp;
mod udp;

pub use self::{
    delivered::Delivered,
    echo::{EchoServer, Served},
    frames::{FrameListener, FrameSender, ScatteredSender},
    outcome::Outcome,
    ping::ping,
    tcp::{TcpCounters, still_echoes, tcp_connect, tcp_counters, tcp_open},
    udp::udp_exchange,
};

#[cfg(test)]
mod tests;
