//! Ops on files and names.
//!
//! Invariant: a file that is being closed takes no new op, and its descriptor is closed only when its last op has ended:
//! a descriptor that the kernel has given to somebody else meanwhile is never used.

use super::{Core, Driver, FileOp, Flight, NameOp};
use crate::ring::Payload;
use bytes::{Bytes, BytesMut};
use highwater::boundary::{Done, FileId, IoError, OpenMode, Opened, SECTOR, Token, Volume};
use rustix::fs::{Dir, Mode, OFlags};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Open files by their id. Ids are used again, the last one first.
#[derive(Default)]
pub(super) struct Files {
    open: Vec<Option<File>>,
    free: Vec<u32>,
}

struct File {
    /// `None` once its close is submitted.
    fd: Option<OwnedFd>,
    direct: bool,
    pending: u32,
    closing: Option<Token>,
}

impl Files {
    fn insert(&mut self, fd: OwnedFd, direct: bool) -> FileId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            u32::try_from(self.open.len() - 1).expect("open files fit in 32 bits")
        });
        self.open[id as usize] = Some(File { fd: Some(fd), direct, pending: 0, closing: None });
        FileId(id)
    }

    fn get(&mut self, id: FileId) -> &mut File {
        let file = self.open.get_mut(id.0 as usize).and_then(Option::as_mut);
        file.unwrap_or_else(|| panic!("{id:?} is not open"))
    }

    /// Counts one more op in flight.
    fn begin(&mut self, id: FileId) -> (RawFd, bool) {
        let file = self.get(id);
        assert!(file.closing.is_none(), "an op on {id:?} after its close");
        file.pending += 1;
        (file.fd.as_ref().expect("open until closed").as_raw_fd(), file.direct)
    }

    fn forget(&mut self, id: FileId) {
        self.open[id.0 as usize] = None;
        self.free.push(id.0);
    }
}

impl<C: Core> Driver<C> {
    pub(super) fn open(&mut self, token: Token, path: &str, mode: OpenMode) {
        let mut flags = libc::O_RDWR;
        flags |= if mode.create { libc::O_CREAT } else { 0 };
        flags |= if mode.truncate { libc::O_TRUNC } else { 0 };
        flags |= if mode.direct { libc::O_DIRECT } else { 0 };
        let flight = Flight::Open { token, direct: mode.direct };
        self.ring.open(flight, self.folder.as_raw_fd(), below(path), flags);
    }

    pub(super) fn ended_open(&mut self, token: Token, direct: bool, result: Result<u32, i32>) {
        let opened = result.map_err(io_error).and_then(|fd| {
            let fd = own(fd);
            let stat = rustix::fs::fstat(&fd).map_err(|error| io_error(error.raw_os_error()))?;
            let len = u64::try_from(stat.st_size).unwrap_or(0);
            Ok(Opened { file: self.files.insert(fd, direct), len })
        });
        self.answer(token, Done::Opened(opened));
    }

    pub(super) fn allocate(&mut self, token: Token, file: FileId, offset: u64, len: u64) {
        let (fd, _) = self.files.begin(file);
        self.ring.allocate(Flight::File { token, file, kind: FileOp::Plain }, fd, offset, len);
    }

    pub(super) fn read(&mut self, token: Token, file: FileId, offset: u64, mut buf: BytesMut, len: usize) {
        let (fd, direct) = self.files.begin(file);
        if direct {
            assert_aligned(offset, buf.spare_capacity_mut().as_ptr().cast(), len);
        }
        self.ring.read(Flight::File { token, file, kind: FileOp::Read }, fd, offset, buf, len);
    }

    pub(super) fn write(&mut self, token: Token, file: FileId, offset: u64, data: Vec<Bytes>, durable: bool) {
        let (fd, direct) = self.files.begin(file);
        if direct {
            for slice in &data {
                assert_aligned(offset, slice.as_ptr(), slice.len());
            }
        }
        self.ring.write(Flight::File { token, file, kind: FileOp::Write }, fd, offset, data, durable);
    }

    pub(super) fn sync(&mut self, token: Token, file: FileId) {
        let (fd, _) = self.files.begin(file);
        self.ring.sync(Flight::File { token, file, kind: FileOp::Plain }, fd, true);
    }

    pub(super) fn truncate(&mut self, token: Token, file: FileId, len: u64) {
        if self.ring.abilities().truncate {
            let (fd, _) = self.files.begin(file);
            self.ring.truncate(Flight::File { token, file, kind: FileOp::Plain }, fd, len);
            return;
        }
        // Before Linux 6.9 no ring can do it.
        let file = self.files.get(file);
        let fd = file.fd.as_ref().expect("no op after its close");
        let outcome = rustix::fs::ftruncate(fd, len).map_err(|error| io_error(error.raw_os_error()));
        self.ready.push_back((token, Done::Ended(outcome)));
    }

    pub(super) fn ended_on_file(
        &mut self,
        token: Token,
        id: FileId,
        kind: FileOp,
        result: Result<u32, i32>,
        payload: Payload,
    ) {
        let done = match kind {
            FileOp::Plain => Done::Ended(result.map(drop).map_err(io_error)),
            FileOp::Write => Done::Wrote(result.map(|count| count as usize).map_err(io_error)),
            FileOp::Read => {
                let Payload::Buffer(buf) = payload else { unreachable!("a read returns its buffer") };
                Done::Read { buf, result: result.map(|count| count as usize).map_err(io_error) }
            }
        };
        self.answer(token, done);
        let file = self.files.get(id);
        file.pending -= 1;
        self.close_if_quiet(id);
    }

    pub(super) fn close(&mut self, token: Token, id: FileId) {
        let file = self.files.get(id);
        assert!(file.closing.is_none(), "{id:?} is closed twice");
        file.closing = Some(token);
        if file.pending > 0 {
            let fd = file.fd.as_ref().expect("open until closed").as_raw_fd();
            self.ring.cancel(fd);
        }
        self.close_if_quiet(id);
    }

    fn close_if_quiet(&mut self, id: FileId) {
        let file = self.files.get(id);
        let Some(token) = file.closing.filter(|_| file.pending == 0) else { return };
        let fd = file.fd.take().expect("closed once").into_raw_fd();
        self.ring.close(Flight::CloseFile { token, file: id }, fd);
    }

    pub(super) fn ended_close(&mut self, token: Token, id: FileId, result: Result<u32, i32>) {
        self.files.forget(id);
        self.answer(token, Done::Ended(result.map(drop).map_err(io_error)));
    }

    /// No kernel lists folders in a ring. Folders are listed while a shard starts, and are short.
    pub(super) fn list(&mut self, token: Token, path: &str) {
        let names = self.names(path).map_err(|error| io_error(error.raw_os_error()));
        self.ready.push_back((token, Done::Listed(names)));
    }

    /// No kernel tells of a volume in a ring either; it looks nothing up on the disk.
    pub(super) fn volume(&mut self, token: Token) {
        let volume = rustix::fs::fstatvfs(&self.folder).map_err(|error| io_error(error.raw_os_error()));
        let bytes = |blocks: u64, each: u64| blocks.saturating_mul(each);
        let volume = volume.map(|found| Volume {
            total_bytes: bytes(found.f_blocks, found.f_frsize),
            usable_bytes: bytes(found.f_bavail, found.f_frsize),
        });
        self.ready.push_back((token, Done::Volume(volume)));
    }

    fn names(&self, path: &str) -> rustix::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_folder(path)?)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // The lock is the driver's own: the folder that the core sees is without it.
            let hidden = name == "." || name == ".." || (path.is_empty() && name == crate::folder::LOCK);
            if !hidden {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open_folder(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { below(path) };
        rustix::fs::openat(&self.folder, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    pub(super) fn make_dir(&mut self, token: Token, path: String) {
        let folder = self.folder.as_raw_fd();
        let name = below(&path).to_owned();
        self.ring.make_dir(Flight::Name { token, kind: NameOp::MakeDir(path) }, folder, &name);
    }

    pub(super) fn rename(&mut self, token: Token, from: &str, to: &str) {
        let flight = Flight::Name { token, kind: NameOp::Rename };
        self.ring.rename(flight, self.folder.as_raw_fd(), below(from), below(to));
    }

    pub(super) fn remove(&mut self, token: Token, path: String) {
        let folder = self.folder.as_raw_fd();
        let name = below(&path).to_owned();
        self.ring.unlink(Flight::Name { token, kind: NameOp::Remove(path) }, folder, &name, 0);
    }

    pub(super) fn sync_dir(&mut self, token: Token, path: &str) {
        match self.open_folder(path) {
            Ok(folder) => {
                let fd = folder.as_raw_fd();
                self.ring.sync(Flight::Name { token, kind: NameOp::SyncDir(folder) }, fd, false);
            }
            Err(error) => self.ready.push_back((token, Done::Ended(Err(io_error(error.raw_os_error()))))),
        }
    }

    pub(super) fn ended_name(&mut self, token: Token, kind: NameOp, result: Result<u32, i32>) {
        let outcome = match (kind, result) {
            (NameOp::MakeDir(path), Err(libc::EEXIST)) => {
                // Fine if it is a folder; a file of that name is not.
                self.open_folder(&path).map(drop).map_err(|error| io_error(error.raw_os_error()))
            }
            (NameOp::Remove(path), Err(libc::EISDIR)) => {
                let flight = Flight::Name { token, kind: NameOp::RemoveDir };
                self.ring.unlink(flight, self.folder.as_raw_fd(), &path, libc::AT_REMOVEDIR);
                return;
            }
            (NameOp::SyncDir(folder), result) => {
                drop(folder);
                result.map(drop).map_err(io_error)
            }
            (NameOp::MakeDir(_) | NameOp::Rename | NameOp::Remove(_) | NameOp::RemoveDir, result) => {
                result.map(drop).map_err(io_error)
            }
        };
        self.answer(token, Done::Ended(outcome));
    }
}

/// A path that stays below the data folder.
pub(super) fn below(path: &str) -> &str {
    let stays = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    assert!(stays, "not a path below the data folder: {path:?}");
    path
}

fn assert_aligned(offset: u64, start: *const u8, len: usize) {
    let start = start.addr();
    let aligned = offset.is_multiple_of(SECTOR as u64) && len.is_multiple_of(SECTOR) && start.is_multiple_of(SECTOR);
    assert!(aligned, "a direct op that is not aligned: offset {offset}, {len} bytes at {start:#x}");
}

/// Takes a descriptor that the kernel has just made.
pub(super) fn own(fd: u32) -> OwnedFd {
    // SAFETY: the number is the result of an open or accept that has just completed: it is open, and only we know it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

fn io_error(errno: i32) -> IoError {
    match errno {
        libc::ENOSPC | libc::EDQUOT => IoError::NoSpace,
        libc::ENOENT => IoError::NotFound,
        libc::ENOTEMPTY => IoError::NotEmpty,
        // A worker of the kernel that was at it is interrupted; nothing else interrupts one.
        libc::ECANCELED | libc::EINTR => IoError::Canceled,
        errno => IoError::Os(errno),
    }
}
