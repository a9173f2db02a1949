//! The one place that talks to io_uring: a safe face over one ring.
//!
//! It holds every buffer, path and header that the kernel may read or write, in a slot, from the submission of an op
//! to its completion; nobody else can reach them meanwhile. That is the invariant all `unsafe` here rests on. It knows
//! nothing of shards, files or connections: an op carries a context of the caller's type, which comes back with it.
//! It never closes a descriptor by itself.

mod ops;
mod pool;

use bytes::{Bytes, BytesMut};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use pool::Pool;
pub use pool::{BLOCK_BYTES, BLOCKS_MAX};
use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Submissions between two calls of the kernel; more are handed over in between.
const SUBMISSIONS: u32 = 512;
/// Completions that fit before the kernel has to keep them on a list of its own.
const COMPLETIONS: u32 = 4096;
/// The kernel's `UIO_MAXIOV`: slices in one write or send.
const SLICES_MAX: usize = 1024;
/// A slot that once carried more slices than this does not keep the room for them.
const SLICES_KEPT: usize = 64;

/// Completions of these are nobody's: a cancellation says nothing that its victims do not say.
const IGNORED: u64 = u64::MAX;
/// Another ring rings ours.
const WOKEN: u64 = u64::MAX - 1;
/// Ringing another ring failed; the low bits name it.
const WAKE_FAILED: u64 = 1 << 32;

/// One io_uring, used by the thread that made it and no other (its raw pointers keep it from being `Send`).
pub struct Ring<T> {
    ring: IoUring,
    slots: Vec<Box<Slot<T>>>,
    free: Vec<u32>,
    pool: Pool,
    abilities: Abilities,
    /// Completions that had to make room before anybody collected them.
    early: VecDeque<cqueue::Entry>,
}

/// What the kernel at hand offers beyond what we cannot do without.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    pub message: bool,
    pub truncate: bool,
}

/// What a ring has to tell.
pub enum Event<T> {
    Ended(Completion<T>),
    /// [`Ring::wake`] of another ring.
    Woken,
    /// Our [`Ring::wake`] did not reach the ring that the caller gave this number.
    WakeFailed(u16),
}

pub struct Completion<T> {
    pub context: T,
    /// The value of the system call, or its errno.
    pub result: Result<u32, i32>,
    pub payload: Payload,
}

/// What comes back with an op.
pub enum Payload {
    Nothing,
    /// The buffer of a read or receive: the bytes were appended to it.
    Buffer(BytesMut),
    /// Who connected.
    Peer(Option<SocketAddr>),
}

/// What the kernel may touch while an op is in flight.
enum Held {
    Nothing,
    /// Bytes are appended to it.
    Buffer(BytesMut),
    /// The kernel picks a buffer of the pool.
    Pooled,
    Data(Vec<Bytes>),
    Peer(Box<PeerAddress>),
    Path(CString),
    Paths(CString, CString),
    Counter(Box<u64>),
}

struct PeerAddress {
    address: libc::sockaddr_storage,
    len: libc::socklen_t,
}

/// The memory of one op. Boxed, so that it stays where it is while the table grows.
struct Slot<T> {
    context: Option<T>,
    held: Held,
    slices: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl<T> Ring<T> {
    /// Fails where the kernel is too old, forbids io_uring, or has no memory for it: see [`explain`].
    pub fn new() -> io::Result<Ring<T>> {
        let ring = build()?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let abilities = Abilities {
            message: probe.is_supported(opcode::MsgRingData::CODE) && ring.params().is_feature_skip_cqe_on_success(),
            truncate: probe.is_supported(opcode::Ftruncate::CODE),
        };
        let pool = Pool::register(&ring.submitter())?;
        Ok(Ring { ring, slots: Vec::new(), free: Vec::new(), pool, abilities, early: VecDeque::new() })
    }

    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// By which [`Ring::wake`] of another ring finds this one.
    pub fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Keeps a file open until the last op of this ring has ended, whatever becomes of the process: a killed process is
    /// gone, and its descriptors with it, while the kernel still performs what it had submitted.
    pub fn keep_open(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_files(&[file.as_raw_fd()])
    }

    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives buffers that their users have dropped back to the kernel. False if it has none to receive into.
    pub fn refill(&mut self) -> bool {
        self.pool.refill()
    }

    /// Submits what is queued, and waits until something has completed or `timeout` has passed.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = if self.early.is_empty() { timeout } else { Some(Duration::ZERO) };
        let outcome = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        self.expect_entered(outcome);
    }

    /// Appends everything that has completed.
    pub fn collect(&mut self, events: &mut Vec<Event<T>>) {
        loop {
            let Some(entry) = self.early.pop_front().or_else(|| self.ring.completion().next()) else { return };
            match entry.user_data() {
                IGNORED => {}
                WOKEN => events.push(Event::Woken),
                data if data & WAKE_FAILED != 0 => events.push(Event::WakeFailed(data as u16)),
                data => events.push(Event::Ended(self.finish(data as usize, &entry))),
            }
        }
    }

    /// Ends every op of a descriptor that waits. They complete, with ECANCELED or with what they had reached.
    pub fn cancel(&mut self, fd: RawFd) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build();
        self.push(entry.user_data(IGNORED));
    }

    /// Ends one op that is in flight, as [`Ring::cancel`] does.
    pub fn end(&mut self, op: u32) {
        assert!(self.slots[op as usize].context.is_some(), "op {op} is not in flight");
        self.push(opcode::AsyncCancel::new(u64::from(op)).build().user_data(IGNORED));
    }

    /// Wakes another ring by its [`Ring::descriptor`]; `number` comes back if that fails.
    pub fn wake(&mut self, descriptor: RawFd, number: u16) {
        assert!(self.abilities.message, "the kernel cannot send messages between rings");
        let entry = opcode::MsgRingData::new(Fd(descriptor), 0, WOKEN, None).build();
        self.push(entry.user_data(WAKE_FAILED | u64::from(number)).flags(squeue::Flags::SKIP_SUCCESS));
    }

    /// Queues an op. `build` sees its slot where it will stay, with `held` inside.
    fn start(&mut self, context: T, held: Held, build: impl FnOnce(&mut Slot<T>) -> squeue::Entry) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Box::new(Slot::default()));
            u32::try_from(self.slots.len() - 1).expect("ops in flight fit in 32 bits")
        });
        let slot = &mut self.slots[index as usize];
        assert!(slot.context.is_none(), "slot {index} is free and in use");
        slot.context = Some(context);
        slot.held = held;
        let entry = build(slot);
        self.push(entry.user_data(u64::from(index)));
        index
    }

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: every pointer in an entry leads into its slot (the slot's box, or a heap block that `held` or
            // `slices` owns). Slots are only reached by `start`, before this line, and by `finish`, after the kernel
            // has completed the op; `drop` waits for all of them. So the memory outlives the op and nobody touches it.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            let outcome = self.ring.submit();
            self.expect_entered(outcome);
            // Older kernels take nothing more while their completions have no room.
            if self.ring.submission().is_full() {
                self.early.extend(self.ring.completion());
            }
        }
    }

    fn finish(&mut self, index: usize, entry: &cqueue::Entry) -> Completion<T> {
        assert!(!cqueue::more(entry.flags()), "no op of ours completes twice");
        let slot = &mut self.slots[index];
        let context = slot.context.take().unwrap_or_else(|| panic!("slot {index} completed without an op"));
        let held = std::mem::replace(&mut slot.held, Held::Nothing);
        if slot.slices.capacity() > SLICES_KEPT {
            slot.slices = Vec::new();
        }
        self.free.push(index as u32);
        let result = u32::try_from(entry.result()).map_err(|_| -entry.result());
        let count = result.unwrap_or(0) as usize;
        let payload = match held {
            Held::Nothing | Held::Data(_) | Held::Path(_) | Held::Paths(..) | Held::Counter(_) => Payload::Nothing,
            Held::Buffer(mut buf) => {
                assert!(
                    count <= buf.capacity() - buf.len(),
                    "{count} bytes more in {} of {}",
                    buf.len(),
                    buf.capacity()
                );
                // SAFETY: the kernel was given the spare capacity of `buf` and has written `count` bytes at its start.
                unsafe { buf.set_len(buf.len() + count) };
                Payload::Buffer(buf)
            }
            Held::Pooled => match cqueue::buffer_select(entry.flags()) {
                Some(id) => Payload::Buffer(self.pool.take(id, count)),
                None => Payload::Nothing,
            },
            Held::Peer(peer) => Payload::Peer(peer.parse()),
        };
        Completion { context, result, payload }
    }

    fn expect_entered(&self, outcome: io::Result<usize>) {
        let Err(error) = outcome else { return };
        match error.raw_os_error() {
            // Timeout, signal, a full completion queue (which the caller now drains), memory that is short for now.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
            Some(_) | None => panic!("io_uring_enter failed: {error}"),
        }
    }
}

impl<T> Drop for Ring<T> {
    /// The kernel may hold pointers into our slots: nothing is freed before it has let go.
    fn drop(&mut self) {
        self.push(opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(IGNORED));
        let mut ended = Vec::new();
        while self.in_flight() > 0 {
            self.wait(None);
            self.collect(&mut ended);
            ended.clear();
        }
        self.pool.unregister(&self.ring.submitter());
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        // SAFETY: `msghdr` is integers and pointers; all zero is a valid, empty header.
        let header = unsafe { std::mem::zeroed() };
        Slot { context: None, held: Held::Nothing, slices: Vec::new(), header }
    }
}

impl PeerAddress {
    fn new() -> Box<PeerAddress> {
        // SAFETY: `sockaddr_storage` is integers; all zero is valid, and means "unspecified".
        let address = unsafe { std::mem::zeroed() };
        Box::new(PeerAddress { address, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t })
    }

    fn parse(&self) -> Option<SocketAddr> {
        let start: *const libc::sockaddr_storage = &self.address;
        match i32::from(self.address.ss_family) {
            libc::AF_INET => {
                // SAFETY: `sockaddr_storage` is at least as large and as aligned as each address; the family says which.
                let v4 = unsafe { &*start.cast::<libc::sockaddr_in>() };
                Some(SocketAddr::from((v4.sin_addr.s_addr.to_ne_bytes(), u16::from_be(v4.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { &*start.cast::<libc::sockaddr_in6>() };
                Some(SocketAddr::from((v6.sin6_addr.s6_addr, u16::from_be(v6.sin6_port))))
            }
            _ => None,
        }
    }
}

/// The ring with the cheapest completions that the kernel knows: 6.1, then 5.19, then what there is.
fn build() -> io::Result<IoUring> {
    let mut failure = None;
    for flags in 0..3 {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_clamp().dontfork();
        match flags {
            0 => builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun(),
            1 => builder.setup_submit_all().setup_coop_taskrun(),
            _ => &mut builder,
        };
        match builder.build(SUBMISSIONS) {
            Ok(ring) => return Ok(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failure.expect("three builds failed"))
}

/// Says in the operator's words why there is no ring, and what to do.
pub fn explain(error: &io::Error) -> String {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match (error.raw_os_error(), disabled.trim()) {
        (Some(libc::EPERM), setting @ ("1" | "2")) => format!(
            "io_uring is forbidden on this machine: kernel.io_uring_disabled is {setting}; allow it with \
             `sysctl -w kernel.io_uring_disabled=0`"
        ),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden for this process, most likely by the seccomp profile of its container: allow the \
             system calls io_uring_setup, io_uring_enter and io_uring_register (Docker and Podman: \
             `--security-opt seccomp=PROFILE.json`, or `seccomp=unconfined` for a trial)"
                .to_owned()
        }
        (Some(libc::ENOSYS), _) => {
            "this kernel has no io_uring (or a sandbox hides it): Linux 5.19 or later is needed".to_owned()
        }
        (Some(libc::EINVAL), _) => {
            format!("io_uring of this kernel is too old: Linux 5.19 or later is needed ({error})")
        }
        (Some(libc::ENOMEM), _) => format!(
            "the kernel refuses memory for io_uring ({error}): raise the limit on locked memory (`ulimit -l`, \
             `LimitMEMLOCK=` of a systemd unit, `--ulimit memlock=` of a container)"
        ),
        (_, _) => format!("io_uring cannot be set up: {error}"),
    }
}

#[cfg(test)]
mod tests;
