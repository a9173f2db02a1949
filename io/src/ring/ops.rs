//! The ops of a ring: each describes one system call and leaves what it needs in its slot.
//!
//! No `unsafe` is here: a pointer is only ever taken from the slot that `Ring::start` hands out.

use super::{Held, PeerAddress, Ring, SLICES_MAX, Slot};
use bytes::{Bytes, BytesMut};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

impl<T> Ring<T> {
    pub fn open(&mut self, context: T, folder: RawFd, path: &str, flags: i32) {
        self.start(context, Held::Path(c_string(path)), |slot| {
            let Held::Path(path) = &slot.held else { unreachable!("an open holds its path") };
            opcode::OpenAt::new(Fd(folder), path.as_ptr()).flags(flags | libc::O_CLOEXEC).mode(0o644).build()
        });
    }

    pub fn make_dir(&mut self, context: T, folder: RawFd, path: &str) {
        self.start(context, Held::Path(c_string(path)), |slot| {
            let Held::Path(path) = &slot.held else { unreachable!("a mkdir holds its path") };
            opcode::MkDirAt::new(Fd(folder), path.as_ptr()).mode(0o755).build()
        });
    }

    /// `flags`: 0 for a file, `AT_REMOVEDIR` for a folder.
    pub fn unlink(&mut self, context: T, folder: RawFd, path: &str, flags: i32) {
        self.start(context, Held::Path(c_string(path)), |slot| {
            let Held::Path(path) = &slot.held else { unreachable!("an unlink holds its path") };
            opcode::UnlinkAt::new(Fd(folder), path.as_ptr()).flags(flags).build()
        });
    }

    pub fn rename(&mut self, context: T, folder: RawFd, from: &str, to: &str) {
        self.start(context, Held::Paths(c_string(from), c_string(to)), |slot| {
            let Held::Paths(from, to) = &slot.held else { unreachable!("a rename holds its paths") };
            opcode::RenameAt::new(Fd(folder), from.as_ptr(), Fd(folder), to.as_ptr()).build()
        });
    }

    pub fn allocate(&mut self, context: T, fd: RawFd, offset: u64, len: u64) {
        self.start(context, Held::Nothing, |_| opcode::Fallocate::new(Fd(fd), len).offset(offset).build());
    }

    pub fn truncate(&mut self, context: T, fd: RawFd, len: u64) {
        assert!(self.abilities().truncate, "the kernel's rings cannot truncate");
        self.start(context, Held::Nothing, |_| opcode::Ftruncate::new(Fd(fd), len).build());
    }

    /// `data_only`: fdatasync instead of fsync.
    pub fn sync(&mut self, context: T, fd: RawFd, data_only: bool) {
        let flags = if data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
        self.start(context, Held::Nothing, |_| opcode::Fsync::new(Fd(fd)).flags(flags).build());
    }

    pub fn close(&mut self, context: T, fd: RawFd) {
        self.start(context, Held::Nothing, |_| opcode::Close::new(Fd(fd)).build());
    }

    /// Appends up to `len` bytes to `buf`, within its spare capacity.
    pub fn read(&mut self, context: T, fd: RawFd, offset: u64, buf: BytesMut, len: usize) {
        self.start(context, Held::Buffer(buf), |slot| {
            let room = slot.room();
            assert!(room.len() >= len, "a read of {len} bytes into room for {}", room.len());
            opcode::Read::new(Fd(fd), room.as_mut_ptr().cast(), length(len)).offset(offset).build()
        });
    }

    /// More than `SLICES_MAX` slices make a short write.
    pub fn write(&mut self, context: T, fd: RawFd, offset: u64, data: Vec<Bytes>, durable: bool) {
        let flags = if durable { libc::RWF_DSYNC } else { 0 };
        self.start(context, Held::Data(data), |slot| match slot.gather() {
            Gathered::One(slice) => {
                let (start, len) = (slice.iov_base.cast_const().cast(), length(slice.iov_len));
                opcode::Write::new(Fd(fd), start, len).offset(offset).rw_flags(flags).build()
            }
            Gathered::Many(start, count) => {
                opcode::Writev::new(Fd(fd), start, count).offset(offset).rw_flags(flags).build()
            }
        });
    }

    pub fn accept(&mut self, context: T, fd: RawFd) {
        self.start(context, Held::Peer(PeerAddress::new()), |slot| {
            let Held::Peer(peer) = &mut slot.held else { unreachable!("an accept holds its address") };
            let address = (&raw mut peer.address).cast();
            opcode::Accept::new(Fd(fd), address, &raw mut peer.len).flags(libc::SOCK_CLOEXEC).build()
        });
    }

    /// Appends to `buf`, within its spare capacity, of which there must be some.
    pub fn receive(&mut self, context: T, fd: RawFd, buf: BytesMut) {
        assert!(buf.capacity() > buf.len(), "no room to receive into: {} bytes, all used", buf.len());
        self.start(context, Held::Buffer(buf), |slot| {
            let room = slot.room();
            opcode::Recv::new(Fd(fd), room.as_mut_ptr().cast(), length(room.len())).build()
        });
    }

    /// Receives into a buffer of the pool, taken when there are bytes. Fails with ENOBUFS when the pool is empty then.
    pub fn receive_pooled(&mut self, context: T, fd: RawFd) {
        self.start(context, Held::Pooled, |_| {
            let entry = opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0).buf_group(super::pool::GROUP).build();
            entry.flags(squeue::Flags::BUFFER_SELECT)
        });
    }

    /// Sends all slices, unless the connection ends. More than `SLICES_MAX` make a short send. Gives what [`Ring::end`]
    /// wants.
    pub fn send(&mut self, context: T, fd: RawFd, data: Vec<Bytes>) -> u32 {
        self.start(context, Held::Data(data), |slot| match slot.gather() {
            Gathered::One(slice) => {
                let (start, len) = (slice.iov_base.cast_const().cast(), length(slice.iov_len));
                opcode::Send::new(Fd(fd), start, len).flags(SEND_FLAGS).build()
            }
            Gathered::Many(start, count) => {
                slot.header.msg_iov = start.cast_mut();
                slot.header.msg_iovlen = count as usize;
                opcode::SendMsg::new(Fd(fd), &raw const slot.header).flags(SEND_FLAGS as u32).build()
            }
        })
    }

    /// Reads (and so resets) an eventfd.
    pub fn read_event(&mut self, context: T, fd: RawFd) {
        self.start(context, Held::Counter(Box::new(0)), |slot| {
            let Held::Counter(counter) = &mut slot.held else { unreachable!("an event read holds its counter") };
            opcode::Read::new(Fd(fd), (&raw mut **counter).cast(), size_of::<u64>() as u32).build()
        });
    }
}

/// The slices of an op, as the kernel wants them.
enum Gathered {
    One(libc::iovec),
    Many(*const libc::iovec, u32),
}

impl<T> Slot<T> {
    /// Where the buffer of a read or receive has room.
    fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        let Held::Buffer(buf) = &mut self.held else { unreachable!("only buffers are appended to") };
        buf.spare_capacity_mut()
    }

    fn gather(&mut self) -> Gathered {
        let Held::Data(data) = &self.held else { unreachable!("only data is gathered") };
        self.slices.clear();
        self.slices.extend(
            data.iter()
                .filter(|slice| !slice.is_empty())
                .take(SLICES_MAX)
                .map(|slice| libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() }),
        );
        match self.slices[..] {
            [] => panic!("nothing to write or send: {} slices, all empty", data.len()),
            [one] => Gathered::One(one),
            [_, ..] => Gathered::Many(self.slices.as_ptr(), self.slices.len() as u32),
        }
    }
}

/// The kernel moves at most this much at once anyway; a longer op is a short one.
fn length(bytes: usize) -> u32 {
    bytes.min(0x7fff_f000) as u32
}

fn c_string(path: &str) -> CString {
    CString::new(path).unwrap_or_else(|_| panic!("a path with a zero byte: {path:?}"))
}
