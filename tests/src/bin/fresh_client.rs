//! A program that asks for names and connects at once to what it is told, as programs do: by the C
//! library's resolver, many at a time. Run by a test inside a namespace.
//!
//! `fresh_client SUFFIX FIRST END PORT PARALLEL` asks for `n<number>.SUFFIX`, connects to every address
//! and prints one JSON object.

use std::{
    env,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nsp_tests::sockets::tcp_counters;

const PATIENCE: Duration = Duration::from_millis(2500);
/// The resolver gives up on a busy machine; who asks, asks again.
const QUESTIONS: u32 = 5;

#[derive(Default)]
struct Seen {
    connected: usize,
    retransmitted: u32,
    /// Connections whose first packet was sent again.
    lost: usize,
    failures: Vec<String>,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [suffix, first, end, port, parallel] = &arguments[..] else {
        panic!("usage: fresh_client SUFFIX FIRST END PORT PARALLEL");
    };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let (next, end) = (AtomicUsize::new(number(first)), number(end));
    let port = port.parse::<u16>().expect("a port");
    let seen = Mutex::new(Seen::default());
    thread::scope(|scope| {
        for _ in 0..number(parallel) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    let name = format!("n{number}.{suffix}");
                    for address in resolve(&name, port, &seen) {
                        connect(&name, address, &seen);
                    }
                }
            });
        }
    });
    let Seen { connected, retransmitted, lost, failures } =
        seen.into_inner().expect("no thread panicked");
    let count = failures.len();
    let first: Vec<_> = failures.into_iter().take(5).collect();
    println!(
        "{}",
        serde_json::json!({
            "connected": connected,
            "retransmitted": retransmitted,
            "lost": lost,
            "failures": count,
            "first": first,
        })
    );
}

fn resolve(name: &str, port: u16, seen: &Mutex<Seen>) -> Vec<SocketAddr> {
    let mut why = String::new();
    for _ in 0..QUESTIONS {
        match (name, port).to_socket_addrs() {
            Ok(addresses) => return addresses.collect(),
            Err(error) => why = error.to_string(),
        }
    }
    seen.lock().expect("no thread panicked").failures.push(format!("{name}: {why}"));
    Vec::new()
}

fn connect(name: &str, address: SocketAddr, seen: &Mutex<Seen>) {
    let stream = TcpStream::connect_timeout(&address, PATIENCE);
    let mut seen = seen.lock().expect("no thread panicked");
    match stream {
        Ok(stream) => {
            seen.connected += 1;
            let again = tcp_counters(&stream).retransmitted_total;
            seen.retransmitted += again;
            seen.lost += usize::from(again > 0);
        }
        Err(error) => seen.failures.push(format!("{name} at {address}: {error}")),
    }
}
