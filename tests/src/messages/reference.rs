//! What an answer teaches by the book, read with another library.

use std::net::IpAddr;

use hickory_proto::{
    op::{Header, Query},
    rr::{DNSClass, Name, RData, Record, rdata::svcb::SvcParamValue},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use super::subject::Lesson;

/// Names that a chain may have.
const CHAIN_MAX: usize = nsp_common::dns::CHAIN_MAX;

/// Reads header and question: the key of the asked name, and the type.
pub fn question(bytes: &[u8]) -> Option<(Vec<u8>, u16)> {
    let query = asked(&mut BinDecoder::new(bytes))?.1;
    Some((key(query.name()), query.query_type().into()))
}

fn asked(decoder: &mut BinDecoder<'_>) -> Option<(Header, Query)> {
    let header = Header::read(decoder).ok()?;
    if header.counts.queries != 1 {
        return None;
    }
    let query = Query::read(decoder).ok()?;
    (query.query_class() == DNSClass::IN).then_some((header, query))
}

/// Reads header, question and the records of the answer; `None` where the library refuses them.
pub fn read(bytes: &[u8]) -> Option<Lesson> {
    let mut decoder = BinDecoder::new(bytes);
    let (header, query) = asked(&mut decoder)?;
    let mut chain = vec![query.name().to_lowercase()];
    let mut addresses = Vec::new();
    for _ in 0..header.counts.answers {
        let record = Record::read(&mut decoder).ok()?;
        let owner = record.name.to_lowercase();
        if record.dns_class != DNSClass::IN || !chain.contains(&owner) {
            continue;
        }
        let ttl_s = if record.ttl >> 31 == 1 { 0 } else { record.ttl };
        match &record.data {
            // A record without data, which dynamic updates have and answers do not.
            RData::Update0(_) => return None,
            RData::A(it) => addresses.push((IpAddr::V4(it.0), ttl_s)),
            RData::AAAA(it) => addresses.push((IpAddr::V6(it.0), ttl_s)),
            RData::CNAME(it) => chain.push(it.0.to_lowercase()),
            RData::SVCB(it) if owner == chain[0] => hints(&it.svc_params, ttl_s, &mut addresses)?,
            RData::HTTPS(it) if owner == chain[0] => {
                hints(&it.0.svc_params, ttl_s, &mut addresses)?;
            }
            _ => {}
        }
        if chain.len() > CHAIN_MAX || addresses.len() > nsp_common::dns::ADDRESSES_MAX {
            return None;
        }
    }
    Some(Lesson { key: key(query.name()), kind: query.query_type().into(), addresses })
}

/// The addresses of hints; `None` where one is empty, which the library admits and the book does not
/// (RFC 9460 7.3).
fn hints<K>(
    params: &[(K, SvcParamValue)],
    ttl_s: u32,
    addresses: &mut Vec<(IpAddr, u32)>,
) -> Option<()> {
    for (_, value) in params {
        let before = addresses.len();
        match value {
            SvcParamValue::Ipv4Hint(hint) => {
                addresses.extend(hint.0.iter().map(|it| (IpAddr::V4(it.0), ttl_s)));
            }
            SvcParamValue::Ipv6Hint(hint) => {
                addresses.extend(hint.0.iter().map(|it| (IpAddr::V6(it.0), ttl_s)));
            }
            _ => continue,
        }
        if addresses.len() == before {
            return None;
        }
    }
    Some(())
}

/// The key of a name, from its labels.
fn key(name: &Name) -> Vec<u8> {
    let mut key = Vec::new();
    for label in name.iter().rev() {
        key.push(u8::try_from(label.len()).expect("a label"));
        key.extend(label.to_ascii_lowercase());
    }
    key.push(0);
    key
}
