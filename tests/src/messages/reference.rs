//! What an answer teaches by the book, read with another library.

use std::net::IpAddr;

use hickory_proto::{
    op::{Header, Query},
    rr::{DNSClass, Name, RData, RecordType, rdata::svcb::SvcParamValue},
    serialize::binary::{BinDecodable as _, BinDecoder, DecodeError, Restrict},
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

/// Why an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be read to its end.
    Broken,
    /// The parameters of a service are not as the library wants them: in order, each of them well-formed,
    /// though most say nothing about addresses.
    Service,
    /// A name runs on over the pointer that led to it. It is bounded all the same.
    Overlap,
}

/// The refusal behind an error of the library.
fn refusal(error: &DecodeError, otherwise: Refusal) -> Refusal {
    match error {
        DecodeError::LabelOverlapsWithOther { .. } => Refusal::Overlap,
        _ => otherwise,
    }
}

/// Reads header, question and the records of the answer; of records that do not count no more than where
/// they end.
///
/// # Errors
/// [`Refusal`].
pub fn read(bytes: &[u8]) -> Result<Lesson, Refusal> {
    let mut decoder = BinDecoder::new(bytes);
    let (header, query) = asked(&mut decoder).ok_or(Refusal::Broken)?;
    let mut chain = vec![query.name().to_lowercase()];
    let mut addresses = Vec::new();
    for _ in 0..header.counts.answers {
        let record = Fixed::read(&mut decoder).map_err(|error| refusal(&error, Refusal::Broken))?;
        let is_service = matches!(record.kind, RecordType::SVCB | RecordType::HTTPS);
        let is_address =
            matches!(record.kind, RecordType::A | RecordType::AAAA | RecordType::CNAME);
        let counts = record.is_internet
            && (is_service && record.owner == chain[0]
                || is_address && chain.contains(&record.owner));
        if !counts {
            decoder.read_slice(record.length.into()).map_err(|_| Refusal::Broken)?;
            continue;
        }
        let otherwise = if is_service { Refusal::Service } else { Refusal::Broken };
        let length = Restrict::new(record.length);
        let ttl_s = if record.ttl >> 31 == 1 { 0 } else { record.ttl };
        match RData::read(&mut decoder, record.kind, length)
            .map_err(|error| refusal(&error, otherwise))?
        {
            RData::A(it) => addresses.push((IpAddr::V4(it.0), ttl_s)),
            RData::AAAA(it) => addresses.push((IpAddr::V6(it.0), ttl_s)),
            RData::CNAME(it) => chain.push(it.0.to_lowercase()),
            RData::SVCB(it) => {
                hints(&it.svc_params, ttl_s, &mut addresses).ok_or(Refusal::Broken)?;
            }
            RData::HTTPS(it) => {
                hints(&it.0.svc_params, ttl_s, &mut addresses).ok_or(Refusal::Broken)?;
            }
            other => unreachable!("{other}"),
        }
        if chain.len() > CHAIN_MAX || addresses.len() > nsp_common::dns::ADDRESSES_MAX {
            return Err(Refusal::Broken);
        }
    }
    Ok(Lesson { key: key(query.name()), kind: query.query_type().into(), addresses })
}

/// What all records have.
struct Fixed {
    owner: Name,
    kind: RecordType,
    is_internet: bool,
    ttl: u32,
    length: u16,
}

impl Fixed {
    fn read(decoder: &mut BinDecoder<'_>) -> Result<Self, DecodeError> {
        let owner = Name::read(decoder)?.to_lowercase();
        let kind = RecordType::read(decoder)?;
        let is_internet = decoder.read_u16()?.unverified() == u16::from(DNSClass::IN);
        let ttl = decoder.read_u32()?.unverified();
        let length = decoder.read_u16()?.unverified();
        Ok(Self { owner, kind, is_internet, ttl, length })
    }
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
