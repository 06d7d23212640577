//! The system calls that have no safe wrapper: the only file with `unsafe` in it.
#![expect(unsafe_code, reason = "packet sockets, their control messages, TCP_INFO and bpf(2)")]

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// A VLAN tag that the kernel took out of a frame: its type and its control field.
pub(crate) type TakenTag = (u16, u16);

/// A packet socket that sends to and sees everything on one interface of the namespace of the
/// calling thread. `sniff` makes it see what arrives there.
pub(crate) fn packet_socket(interface: u32, sniff: bool) -> io::Result<OwnedFd> {
    // A socket with protocol 0 receives nothing, so nothing arrives before the bind below.
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
    // SAFETY: the call above made this descriptor and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if sniff {
        set_packet_option(&socket, libc::PACKET_AUXDATA)?;
        set_packet_option(&socket, libc::PACKET_IGNORE_OUTGOING)?;
    }
    // SAFETY: all-zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("AF_PACKET is 17");
    let protocol = if sniff { libc::ETH_P_ALL } else { 0 };
    address.sll_protocol = u16::try_from(protocol).expect("ETH_P_ALL is 3").to_be();
    address.sll_ifindex = i32::try_from(interface).expect("interface indexes are positive");
    let length = socklen::<libc::sockaddr_ll>();
    // SAFETY: the pointer is to a live sockaddr_ll and the length is its size.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Makes a packet socket send past the queueing discipline, and so past TC egress.
pub(crate) fn bypass_queueing(socket: &OwnedFd) -> io::Result<()> {
    set_packet_option(socket, libc::PACKET_QDISC_BYPASS)
}

/// Makes a packet socket expect a `virtio_net_hdr` before each frame, which says how much of it is to be
/// linear.
pub(crate) fn expect_layout(socket: &OwnedFd) -> io::Result<()> {
    set_packet_option(socket, libc::PACKET_VNET_HDR)
}

/// The next frame of a packet socket into `buffer`: its length and the tag taken out of it.
pub(crate) fn receive_frame(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<TakenTag>)> {
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the message points to one live iovec over `buffer` and to `control`, with their
    // lengths, and all three outlive the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    Ok((length, taken_tag(&message)))
}

fn taken_tag(message: &libc::msghdr) -> Option<TakenTag> {
    // SAFETY: `message` was filled by recvmsg and its control buffer still lives.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: CMSG_FIRSTHDR gives null or a header inside the control buffer.
    let header = unsafe { header.as_ref() }?;
    let is_auxdata =
        (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA);
    if !is_auxdata {
        return None;
    }
    // SAFETY: the kernel put a tpacket_auxdata behind a header of this level and type; the read
    // is unaligned because CMSG_DATA promises no alignment.
    let data = unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let valid = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
    let typed = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    valid.then_some((if typed { data.tp_vlan_tpid } else { 0x8100 }, data.tp_vlan_tci))
}

/// What the kernel knows of a TCP connection.
pub(crate) fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: all-zero bytes are a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = socklen::<libc::tcp_info>();
    // SAFETY: the pointers are to a live tcp_info and to its size; a kernel with a shorter one
    // leaves the rest zero.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    })?;
    Ok(info)
}

/// What is pinned at a path.
fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    const BPF_OBJ_GET: libc::c_int = 7;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut get = [path.as_ptr() as u64, 0];
    // SAFETY: `union bpf_attr` begins with the path's address, which lives, and zeros.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, get.as_mut_ptr(), size_of_val(&get))
    } as libc::c_int)?;
    // SAFETY: the call above made this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts the program that is pinned at a path into the link that is pinned at another, as another program would.
pub(crate) fn replace_program(link: &Path, program: &Path) -> io::Result<()> {
    const BPF_LINK_UPDATE: libc::c_int = 29;
    let (link, program) = (open_pinned(link)?, open_pinned(program)?);
    let mut update = [link.as_raw_fd(), program.as_raw_fd(), 0, 0];
    // SAFETY: `union bpf_attr` begins with both descriptors, and no flags.
    check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_UPDATE, update.as_mut_ptr(), size_of_val(&update))
    } as libc::c_int)?;
    Ok(())
}

/// Detaches the link that is pinned at a path, as another program would; its file stays.
pub(crate) fn detach_link(path: &Path) -> io::Result<()> {
    const BPF_LINK_DETACH: libc::c_int = 34;
    let link = open_pinned(path)?;
    let mut detach = [link.as_raw_fd()];
    // SAFETY: `union bpf_attr` begins with the link's descriptor.
    check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, detach.as_mut_ptr(), size_of_val(&detach))
    } as libc::c_int)?;
    Ok(())
}

/// Loads a program that returns a number, and pins it. It stays as long as the file, or a hook that it is at.
pub(crate) fn pin_program(
    (kind, hook): (u32, u32),
    name: &str,
    returns: i32,
    path: &Path,
) -> io::Result<()> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_OBJ_PIN: libc::c_int = 6;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let licence = c"GPL";
    // r0 = returns; exit
    let instructions = [0xb7 | u64::from(returns.cast_unsigned()) << 32, 0x95];
    let mut named = [0_u8; 16];
    named[..name.len()].copy_from_slice(name.as_bytes());
    let half = |at: usize| u64::from_ne_bytes(named[at..at + 8].try_into().expect("eight bytes"));
    let mut load = [
        u64::from(kind) | (instructions.len() as u64) << 32,
        instructions.as_ptr() as u64,
        licence.as_ptr() as u64,
        0, // no log
        0,
        0,
        half(0),
        half(8),
        u64::from(hook) << 32,
    ];
    // SAFETY: `union bpf_attr` as BPF_PROG_LOAD reads it (little-endian); what it points to lives.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, load.as_mut_ptr(), size_of_val(&load))
    } as libc::c_int)?;
    // SAFETY: the call above made this descriptor and nobody else has it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut pin = [path.as_ptr() as u64, program.as_raw_fd() as u64];
    let size = size_of_val(&pin);
    // SAFETY: `union bpf_attr` begins with the path's address, which lives, and the descriptor.
    let pinned = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, pin.as_mut_ptr(), size) };
    check(pinned as libc::c_int)?;
    Ok(())
}

/// The part of `union bpf_attr` that `BPF_PROG_TEST_RUN` reads and writes (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    return_value: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// Runs a program once on a frame with a context; its return value.
pub(crate) fn test_run(program: BorrowedFd<'_>, frame: &[u8], context: &[u8]) -> io::Result<u32> {
    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("frames are small");
    let mut run = TestRun {
        program: u32::try_from(program.as_raw_fd()).expect("descriptors are not negative"),
        data_size_in: size(frame),
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        context_size_in: size(context),
        context_in: context.as_ptr() as u64,
        ..TestRun::default()
    };
    // SAFETY: the pointer is to a live attribute of that size; the two addresses in it are of slices
    // with their lengths, which the kernel only reads, and both outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut run, size_of::<TestRun>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(run.return_value) }
}

fn set_packet_option(socket: &OwnedFd, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: the pointer is to a live i32 and the length is its size.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            socklen::<i32>(),
        )
    })?;
    Ok(())
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("socket structures are small")
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
