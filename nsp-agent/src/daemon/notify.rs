//! Telling systemd how things are (sd_notify(3)); nothing happens where nobody asked for it.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Sends one line, such as `READY=1`, to `NOTIFY_SOCKET`.
///
/// # Errors
/// The socket is named and cannot be reached.
pub(super) fn notify(line: &str) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.to_string_lossy().strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(line.as_bytes(), &address)?;
    Ok(())
}
