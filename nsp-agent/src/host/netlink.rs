//! One netlink socket: requests that dump a table of the kernel, and its notifications.
//!
//! Messages stay bytes here. The readers take the attributes that they know and pass over the
//! rest, so that an attribute of a newer kernel can never make a device or a route vanish from
//! what the agent sees, which a decoder that drops what it cannot read would do.

use std::io;

use futures_util::{Stream, StreamExt as _};
use rtnetlink::{
    MulticastGroup,
    packet_core::{
        DecodeError, NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
        NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
        NlasIterator,
    },
    proto::{ConnectionHandle, new_connection},
    sys::{AsyncSocket as _, SocketAddr, protocols::NETLINK_ROUTE},
};
use tokio::task::JoinHandle;

/// How often a dump that the kernel marks as interrupted is asked for.
const DUMP_ATTEMPTS_MAX: usize = 8;

/// Why the kernel did not tell.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket for {table}: {source}")]
    Open {
        /// What was to be read.
        table: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("the kernel does not list {table}: {source}")]
    Refused {
        /// What was to be read.
        table: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The answer did not come to its end.
    #[error("the kernel's list of {table} broke off")]
    Incomplete {
        /// What was to be read.
        table: &'static str,
    },
    /// A message that is not what the kernel documents.
    #[error("cannot read the kernel's list of {table}: {source}")]
    Decode {
        /// What was to be read.
        table: &'static str,
        /// Why.
        source: DecodeError,
    },
}

/// A message without its netlink header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// `RTM_*` or `SOCK_DIAG_*`.
    pub(super) kind: u16,
    /// A fixed part, then attributes.
    pub(super) payload: Vec<u8>,
}

impl NetlinkDeserializable for Message {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self { kind: header.message_type, payload: payload.to_vec() })
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.payload);
    }
}

/// A socket that answers requests. Closed when dropped.
pub(super) struct Netlink {
    handle: ConnectionHandle<Message>,
    _task: Task,
}

impl Netlink {
    /// Opens a socket of a netlink protocol, in the network namespace of this thread.
    pub(super) fn open(protocol: isize, table: &'static str) -> Result<Self, NetlinkError> {
        let (mut connection, handle, _) =
            new_connection(protocol).map_err(|source| NetlinkError::Open { table, source })?;
        // The last message says whether the whole was interrupted or failed.
        connection.set_forward_done(true);
        Ok(Self { handle, _task: Task(tokio::spawn(connection)) })
    }

    /// Reads a whole table. One that changes all the while is read as well as can be: its
    /// notifications will have it read again.
    pub(super) async fn dump(
        &self,
        table: &'static str,
        request: &Message,
    ) -> Result<Vec<Message>, NetlinkError> {
        let mut messages = Vec::new();
        for _ in 0..DUMP_ATTEMPTS_MAX {
            let interrupted;
            (messages, interrupted) = self.dump_once(table, request.clone()).await?;
            if !interrupted {
                return Ok(messages);
            }
        }
        tracing::warn!(table, "the kernel's list changed at every reading");
        Ok(messages)
    }

    /// Asks for one thing.
    pub(super) async fn ask(
        &self,
        table: &'static str,
        request: Message,
    ) -> Result<Message, NetlinkError> {
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST;
        let broken = NetlinkError::Incomplete { table };
        let Ok(mut answers) = self.handle.request(request, SocketAddr::new(0, 0)) else {
            return Err(broken);
        };
        match answers.next().await.map(|answer| answer.payload) {
            Some(NetlinkPayload::InnerMessage(message)) => Ok(message),
            Some(NetlinkPayload::Error(error)) => {
                Err(NetlinkError::Refused { table, source: error.to_io() })
            }
            _ => Err(broken),
        }
    }

    async fn dump_once(
        &self,
        table: &'static str,
        request: Message,
    ) -> Result<(Vec<Message>, bool), NetlinkError> {
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self
            .handle
            .request(request, SocketAddr::new(0, 0))
            .map_err(|_| NetlinkError::Incomplete { table })?;
        let refused = |source| NetlinkError::Refused { table, source };
        let (mut messages, mut interrupted) = (Vec::new(), false);
        while let Some(answer) = answers.next().await {
            interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => messages.push(message),
                NetlinkPayload::Error(error) => return Err(refused(error.to_io())),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(refused(io::Error::from_raw_os_error(-done.code)));
                }
                NetlinkPayload::Done(_) => return Ok((messages, interrupted)),
                _ => {}
            }
        }
        Err(NetlinkError::Incomplete { table })
    }
}

impl From<Message> for NetlinkPayload<Message> {
    fn from(message: Message) -> Self {
        Self::InnerMessage(message)
    }
}

/// One notice of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Something of this message type happened.
    Kind(u16),
    /// Notices were lost: anything may have happened.
    Lost,
}

/// Subscribes to rtnetlink groups. The stream ends if the socket fails.
pub(super) fn notices(
    groups: &[MulticastGroup],
) -> Result<impl Stream<Item = Notice> + Unpin + Send + use<>, NetlinkError> {
    let open = |source| NetlinkError::Open { table: "notifications", source };
    let (mut connection, _handle, messages) =
        new_connection::<Message>(NETLINK_ROUTE).map_err(open)?;
    let mask = groups.iter().fold(0, |mask, group| mask | 1 << (*group as u32 - 1));
    connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, mask)).map_err(open)?;
    let task = Task(tokio::spawn(connection));
    Ok(messages.map(move |(message, _)| {
        let _lives_as_long = &task;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => Notice::Kind(message.kind),
            _ => Notice::Lost,
        }
    }))
}

/// The attributes behind the fixed part of a message, as (type, value).
pub(super) fn attributes(
    payload: &[u8],
    fixed_len: usize,
) -> impl Iterator<Item = Result<(u16, &[u8]), DecodeError>> {
    NlasIterator::new(payload.get(fixed_len..).unwrap_or_default()).map(|attribute| {
        let attribute = attribute?;
        let (kind, len) = (attribute.kind(), usize::from(attribute.length()));
        Ok((kind, attribute.into_inner().get(NLA_HEADER_SIZE..len).unwrap_or_default()))
    })
}

/// A connection's task, which ends with whoever uses the connection.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A message of a test.
#[cfg(test)]
pub(super) fn with_attributes(mut fixed: Vec<u8>, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    use rtnetlink::packet_core::{DefaultNla, Emitable as _};
    for (kind, value) in attributes {
        let attribute = DefaultNla::new(*kind, value.to_vec());
        let mut bytes = vec![0; attribute.buffer_len()];
        attribute.emit(&mut bytes);
        fixed.extend(bytes);
    }
    fixed
}
