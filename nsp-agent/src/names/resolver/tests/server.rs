//! A small DNS server on loopback, over UDP and TCP.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

/// More than this is truncated over UDP.
const UDP_BYTES_MAX: usize = 1232;

#[derive(Clone)]
pub(super) enum Reply {
    Records(Vec<Record>),
    Code(ResponseCode),
    Silence,
}

#[derive(Default)]
struct Zone {
    replies: HashMap<(Name, RecordType), Reply>,
    asked: HashMap<(Name, RecordType), usize>,
}

pub(super) struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Server {
    /// A server that knows nothing, and says nothing.
    pub(super) async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let zone = Arc::<Mutex<Zone>>::default();
        let tasks = [
            tokio::spawn(serve_udp(udp, zone.clone())),
            tokio::spawn(serve_tcp(tcp, zone.clone())),
        ];
        Self { address, zone, tasks }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is answered to one question.
    pub(super) fn reply(&mut self, name: &str, record_type: RecordType, reply: Reply) {
        self.zone.lock().unwrap().replies.insert((fqdn(name), record_type), reply);
    }

    /// Records written `[owner] TYPE TTL DATA`; a CNAME answers both families, and a family that
    /// has no record is answered with none.
    pub(super) fn records(&mut self, name: &str, lines: &[&str]) {
        for record_type in [RecordType::A, RecordType::AAAA] {
            self.add_records(name, record_type, lines);
        }
    }

    /// Likewise, to one question.
    pub(super) fn add_records(&mut self, name: &str, asked: RecordType, lines: &[&str]) {
        let fits = |record: &Record| [asked, RecordType::CNAME].contains(&record.record_type());
        let new = lines.iter().map(|line| parse(name, line)).filter(fits);
        let mut zone = self.zone.lock().unwrap();
        let held =
            zone.replies.entry((fqdn(name), asked)).or_insert_with(|| Reply::Records(Vec::new()));
        if let Reply::Records(records) = held {
            records.extend(new);
        }
    }

    /// How often a question was asked.
    pub(super) fn asked(&self, name: &str, record_type: RecordType) -> usize {
        self.zone.lock().unwrap().asked.get(&(fqdn(name), record_type)).copied().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn fqdn(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

fn parse(name: &str, line: &str) -> Record {
    let words: Vec<_> = line.split(' ').collect();
    let (owner, words) = match words.len() {
        4 => (words[0], &words[1..]),
        _ => (name, &words[..]),
    };
    let data = match words[0] {
        "A" => RData::A(A(words[2].parse().unwrap())),
        "AAAA" => RData::AAAA(AAAA(words[2].parse().unwrap())),
        "CNAME" => RData::CNAME(CNAME(fqdn(words[2]))),
        other => panic!("no record type {other}"),
    };
    Record::from_rdata(fqdn(owner), words[1].parse().unwrap(), data)
}

fn answer(query: &[u8], zone: &Mutex<Zone>) -> Option<Message> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let key = (question.name().clone(), question.query_type());
    let mut zone = zone.lock().unwrap();
    *zone.asked.entry(key.clone()).or_default() += 1;
    let reply = zone.replies.get(&key).cloned().unwrap_or(Reply::Silence);
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(question);
    match reply {
        Reply::Silence => return None,
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Records(records) => {
            message.add_answers(records);
        }
    }
    Some(message)
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let Some(mut message) = answer(&buffer[..length], &zone) else { continue };
        if message.to_vec().unwrap().len() > UDP_BYTES_MAX {
            message.answers.clear();
            message.metadata.truncation = true;
        }
        socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let zone = zone.clone();
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                stream.read_exact(&mut query).await.unwrap();
                let Some(message) = answer(&query, &zone) else { continue };
                let bytes = message.to_vec().unwrap();
                stream.write_u16(bytes.len() as u16).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
    }
}
