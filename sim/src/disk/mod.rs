//! The faulty disk: files and names, and what each op of the boundary does to them.
//!
//! An op takes effect when it completes (`perform`) or, where a crash meets it in flight, in part (`interrupt`). What
//! goes wrong with it was drawn when it was submitted (`Trouble`); nothing here draws for a healthy op. Lasting damage
//! is kept in the atlas, so that a checker can tell a rightful refusal from a wrong one.
//!
//! Invariant: a completed durable write, or a write covered by a completed sync, survives every power loss under a
//! name that a `SyncDir` made durable, unless the atlas says which damage took it.

pub mod atlas;
pub mod file;
mod image;
pub mod names;

use crate::dice::Dice;
use crate::faults::{Counts, Fault};
use atlas::{Atlas, is_journal};
use bytes::{Bytes, BytesMut};
use file::{Fate, File};
use highwater::boundary::{Done, FileId, IoError, Op, OpenMode, Opened, SECTOR, Volume};
use names::{Names, Node};

/// EIO.
pub const EIO: IoError = IoError::Os(5);
/// What the disk is told to be as large as.
pub const VOLUME: Volume = Volume { total_bytes: 1 << 40, usable_bytes: 1 << 39 };

/// What goes wrong with one op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// It fails, having done nothing, part or all of its work.
    Fail,
    /// It does less than asked.
    Short,
}

#[derive(Clone)]
struct Handle {
    file: usize,
    path: String,
    direct: bool,
}

#[derive(Clone, Default)]
pub struct Disk {
    names: Names,
    files: Vec<Option<File>>,
    handles: Vec<Option<Handle>>,
    /// Bytes that fit, where there is a limit.
    capacity: Option<u64>,
    pub atlas: Atlas,
    /// Synced folders until the next look for files without a name.
    until_reap: u32,
}

const REAP_EVERY: u32 = 200;

impl Disk {
    /// The bytes of all files, as reads see them.
    pub fn used(&self) -> u64 {
        self.files.iter().flatten().map(|file| file.len() as u64).sum()
    }

    pub fn set_capacity(&mut self, capacity: Option<u64>) {
        self.capacity = capacity;
    }

    pub fn open_files(&self) -> usize {
        self.handles.iter().flatten().count()
    }

    /// A file that is open and has no name any more, by the name it was opened under.
    pub fn open_without_name(&self) -> Option<&str> {
        let open = self.handles.iter().flatten();
        let mut nameless = open.filter(|handle| self.names.get(&handle.path) != Some(Node::File(handle.file)));
        nameless.next().map(|handle| handle.path.as_str())
    }

    pub fn paths(&self) -> Vec<String> {
        self.names.live().map(|(path, _)| path.to_string()).collect()
    }

    /// The bytes that reads see under a name.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        match self.names.get(path)? {
            Node::File(file) => Some(self.file(file).live().to_vec()),
            Node::Dir => None,
        }
    }

    /// The path of an open file, and whether it is direct.
    pub fn describe(&self, file: FileId) -> Option<(&str, bool)> {
        let handle = self.handles.get(file.0 as usize)?.as_ref()?;
        Some((&handle.path, handle.direct))
    }

    fn file(&self, index: usize) -> &File {
        self.files[index].as_ref().expect("a named file exists")
    }

    fn file_mut(&mut self, index: usize) -> &mut File {
        self.files[index].as_mut().expect("a named file exists")
    }

    fn handle(&self, file: FileId) -> Result<Handle, IoError> {
        self.handles.get(file.0 as usize).cloned().flatten().ok_or(IoError::Os(9))
    }

    /// What a sync submitted now covers.
    pub fn mark(&self, op: &Op) -> u64 {
        match op {
            Op::Sync { file } => self.handle(*file).map_or(0, |handle| self.file(handle.file).mark()),
            _ => 0,
        }
    }

    fn room_for(&self, grows: usize, counts: &mut Counts) -> Result<(), IoError> {
        match self.capacity {
            Some(capacity) if grows > 0 && self.used() + grows as u64 > capacity => {
                counts.add(Fault::DiskFull);
                Err(IoError::NoSpace)
            }
            _ => Ok(()),
        }
    }

    /// Completes an op of the disk. `mark` is what `mark` said at its submission.
    pub fn perform(&mut self, op: Op, trouble: Trouble, mark: u64, dice: &mut Dice, counts: &mut Counts) -> Done {
        match op {
            Op::Open { path, mode } => Done::Opened(self.open(&path, mode, trouble, counts)),
            Op::Read { file, offset, buf, len } => self.read(file, offset, (buf, len), trouble, dice, counts),
            Op::Write { file, offset, data, durable } => {
                Done::Wrote(self.write(file, offset, &data, durable, trouble, dice, counts))
            }
            Op::Sync { file } => Done::Ended(self.sync(file, mark, trouble, dice, counts)),
            Op::List { path } => Done::Listed(if trouble == Trouble::Fail {
                counts.add(Fault::ReadError);
                Err(EIO)
            } else {
                self.names.list(&path)
            }),
            Op::Volume => Done::Volume(if trouble == Trouble::Fail {
                counts.add(Fault::ReadError);
                Err(EIO)
            } else {
                Ok(VOLUME)
            }),
            Op::Allocate { .. }
            | Op::Truncate { .. }
            | Op::Close { .. }
            | Op::MakeDir { .. }
            | Op::Rename { .. }
            | Op::Remove { .. }
            | Op::SyncDir { .. } => Done::Ended(self.change(op, trouble, counts)),
            Op::Accept { .. } | Op::Recv { .. } | Op::Send { .. } | Op::Hangup { .. } => {
                panic!("not an op of the disk: {op:?}")
            }
        }
    }

    fn open(&mut self, path: &str, mode: OpenMode, trouble: Trouble, counts: &mut Counts) -> Result<Opened, IoError> {
        if trouble == Trouble::Fail {
            counts.add(Fault::ReadError);
            return Err(EIO);
        }
        let file = match self.names.get(path) {
            Some(Node::Dir) => return Err(IoError::Os(21)),
            Some(Node::File(file)) => file,
            None if mode.create => {
                self.room_for(1, counts)?;
                self.files.push(Some(File::default()));
                let file = self.files.len() - 1;
                self.names.add(path, Node::File(file)).inspect_err(|_| {
                    self.files.pop();
                })?;
                file
            }
            None => return Err(IoError::NotFound),
        };
        if mode.truncate {
            self.file_mut(file).set_len(0);
        }
        self.handles.push(Some(Handle { file, path: path.to_string(), direct: mode.direct }));
        Ok(Opened { file: FileId((self.handles.len() - 1) as u32), len: self.file(file).len() as u64 })
    }

    fn read(
        &mut self,
        file: FileId,
        offset: u64,
        (mut buf, len): (BytesMut, usize),
        trouble: Trouble,
        dice: &mut Dice,
        counts: &mut Counts,
    ) -> Done {
        let handle = match self.handle(file) {
            Ok(handle) => handle,
            Err(error) => return Done::Read { buf, result: Err(error) },
        };
        let spare = buf.spare_capacity_mut();
        assert!(len > 0 && spare.len() >= len, "{}: a read of {len} bytes into room for {}", handle.path, spare.len());
        if handle.direct {
            let aligned = offset.is_multiple_of(SECTOR as u64)
                && len.is_multiple_of(SECTOR)
                && (spare.as_ptr() as usize).is_multiple_of(SECTOR);
            assert!(aligned, "{}: direct read of {len} bytes at {offset} is not aligned", handle.path);
        }
        if trouble == Trouble::Fail {
            counts.add(Fault::ReadError);
            return Done::Read { buf, result: Err(EIO) };
        }
        let live = self.file(handle.file).live();
        let start = (offset as usize).min(live.len());
        let mut len = len.min(live.len() - start);
        if trouble == Trouble::Short {
            len = shorter(len, handle.direct, dice);
            counts.add(Fault::ShortRead);
        }
        let have = buf.len();
        buf.resize(have + len, 0);
        live.read(start, &mut buf[have..]);
        Done::Read { buf, result: Ok(len) }
    }

    #[allow(clippy::too_many_arguments)]
    fn write(
        &mut self,
        file: FileId,
        offset: u64,
        data: &[Bytes],
        durable: bool,
        trouble: Trouble,
        dice: &mut Dice,
        counts: &mut Counts,
    ) -> Result<usize, IoError> {
        let handle = self.handle(file)?;
        check_aligned(&handle, offset, data);
        let bytes = joined(data);
        let offset = offset as usize;
        let grows = (offset + bytes.len()).saturating_sub(self.file(handle.file).len());
        self.room_for(grows, counts)?;
        match trouble {
            Trouble::None => {
                self.put(&handle, offset, &bytes, durable);
                Ok(bytes.len())
            }
            Trouble::Short => {
                let len = shorter(bytes.len(), handle.direct, dice);
                counts.add(Fault::ShortWrite);
                self.put(&handle, offset, &bytes[..len], durable);
                Ok(len)
            }
            Trouble::Fail => {
                counts.add(if durable { Fault::FailedSync } else { Fault::WriteError });
                if durable {
                    counts.add(Fault::WriteError);
                }
                self.file_mut(handle.file).tear_live(offset, &bytes, durable, dice);
                Err(EIO)
            }
        }
    }

    fn put(&mut self, handle: &Handle, offset: usize, bytes: &[u8], durable: bool) {
        let file = self.files[handle.file].as_mut().expect("an open file exists");
        self.atlas.note(handle.file, &handle.path, file, offset, bytes, durable);
        if durable {
            file.write_through(offset, bytes);
        } else {
            file.write(offset, bytes);
        }
    }

    fn sync(
        &mut self,
        file: FileId,
        mark: u64,
        trouble: Trouble,
        dice: &mut Dice,
        counts: &mut Counts,
    ) -> Result<(), IoError> {
        let handle = self.handle(file)?;
        if trouble == Trouble::Fail {
            counts.add(Fault::FailedSync);
            self.file_mut(handle.file).sync_failed(mark, handle.direct, dice);
            return Err(EIO);
        }
        self.file_mut(handle.file).sync(mark);
        Ok(())
    }

    fn change(&mut self, op: Op, trouble: Trouble, counts: &mut Counts) -> Result<(), IoError> {
        if trouble == Trouble::Fail && !matches!(op, Op::Close { .. }) {
            let sync = matches!(op, Op::SyncDir { .. });
            counts.add(if sync { Fault::FailedSync } else { Fault::WriteError });
            return Err(EIO);
        }
        match op {
            Op::Allocate { file, offset, len } => {
                let handle = self.handle(file)?;
                let (end, now) = ((offset + len) as usize, self.file(handle.file).len());
                self.room_for(end.saturating_sub(now), counts)?;
                self.file_mut(handle.file).set_len(end.max(now));
                Ok(())
            }
            Op::Truncate { file, len } => {
                let handle = self.handle(file)?;
                self.room_for((len as usize).saturating_sub(self.file(handle.file).len()), counts)?;
                self.file_mut(handle.file).set_len(len as usize);
                Ok(())
            }
            Op::Close { file } => {
                self.handle(file)?;
                self.handles[file.0 as usize] = None;
                Ok(())
            }
            Op::MakeDir { path } => match self.names.get(&path) {
                Some(Node::Dir) => Ok(()),
                Some(Node::File(_)) => Err(IoError::Os(17)),
                None => self.names.add(&path, Node::Dir),
            },
            Op::Rename { from, to } => {
                self.names.rename(&from, &to)?;
                if is_journal(&to) {
                    self.journal_renamed(&from, &to);
                }
                Ok(())
            }
            Op::Remove { path } => self.names.remove(&path),
            Op::SyncDir { path } => {
                self.names.sync(&path)?;
                self.until_reap = self.until_reap.saturating_sub(1);
                if self.until_reap == 0 || self.capacity.is_some() {
                    self.reap();
                }
                Ok(())
            }
            other => panic!("not a change: {other:?}"),
        }
    }

    /// A journal file that is set aside goes on being written, and its damage goes with it.
    fn journal_renamed(&mut self, from: &str, to: &str) {
        for handle in self.handles.iter_mut().flatten().filter(|handle| handle.path == from) {
            handle.path = to.to_string();
        }
        self.atlas.renamed(from, to);
    }

    /// Drops the files that nothing leads to any more.
    fn reap(&mut self) {
        self.until_reap = REAP_EVERY;
        let mut marks = vec![false; self.files.len()];
        self.names.mark(&mut marks);
        for handle in self.handles.iter().flatten() {
            marks[handle.file] = true;
        }
        for (file, marked) in self.files.iter_mut().zip(marks) {
            if !marked {
                *file = None;
            }
        }
    }

    /// A crash meets this op in flight: it has done nothing, part or all of its work.
    pub fn interrupt(&mut self, op: Op, mark: u64, power: bool, dice: &mut Dice, counts: &mut Counts) {
        match op {
            Op::Write { file, offset, data, durable } => {
                let Ok(handle) = self.handle(file) else { return };
                let bytes = joined(&data);
                let grows = (offset as usize + bytes.len()).saturating_sub(self.file(handle.file).len());
                if bytes.is_empty() || self.room_for(grows, counts).is_err() {
                    return;
                }
                let file = self.file_mut(handle.file);
                if power {
                    file.tear_stable(offset as usize, &bytes, dice, counts);
                } else {
                    file.tear_live(offset as usize, &bytes, durable, dice);
                }
            }
            Op::Open { .. } | Op::Read { .. } | Op::List { .. } | Op::Volume | Op::Close { .. } => {}
            Op::Sync { .. }
            | Op::Allocate { .. }
            | Op::Truncate { .. }
            | Op::MakeDir { .. }
            | Op::Rename { .. }
            | Op::Remove { .. }
            | Op::SyncDir { .. } => {
                if dice.coin() {
                    self.perform(op, Trouble::None, mark, dice, counts);
                }
            }
            Op::Accept { .. } | Op::Recv { .. } | Op::Send { .. } | Op::Hangup { .. } => {}
        }
    }

    /// The process is gone; the machine's caches are not.
    pub fn process_gone(&mut self) {
        self.handles.clear();
        self.reap();
    }

    /// The power goes, for every file and folder.
    pub fn lose_power(&mut self, dice: &mut Dice, counts: &mut Counts) {
        let fate = Fate::draw(dice);
        self.names.lose_power(fate, dice, counts);
        for file in self.files.iter_mut().flatten() {
            let fate = if dice.coin() { fate } else { Fate::draw(dice) };
            file.lose_power(fate, dice, counts);
        }
        self.process_gone();
    }

    /// What the hardest power loss would leave: nothing that is not surely durable. A fresh disk, for an audit.
    pub fn worst_case(&self) -> Disk {
        let names = self.names.worst_case();
        let mut files: Vec<Option<File>> = Vec::new();
        files.resize_with(self.files.len(), || None);
        for (_, node) in names.live() {
            if let Node::File(file) = node {
                files[file] = Some(self.file(file).worst_case());
            }
        }
        Disk { names, files, ..Disk::default() }
    }
}

fn joined(data: &[Bytes]) -> Bytes {
    match data {
        [one] => one.clone(),
        many => many.concat().into(),
    }
}

fn check_aligned(handle: &Handle, offset: u64, data: &[Bytes]) {
    if !handle.direct {
        return;
    }
    assert!(offset.is_multiple_of(SECTOR as u64), "{}: direct write at {offset}", handle.path);
    for slice in data {
        let aligned = slice.len().is_multiple_of(SECTOR) && (slice.as_ptr() as usize).is_multiple_of(SECTOR);
        assert!(aligned, "{}: direct write of {} bytes from {:p}", handle.path, slice.len(), slice.as_ptr());
    }
}

/// Fewer bytes than asked, never none; whole sectors where the file is direct.
fn shorter(len: usize, direct: bool, dice: &mut Dice) -> usize {
    let unit = if direct { file::UNIT } else { 1 };
    let units = len / unit;
    if units <= 1 { len } else { dice.between(1, units as u64 - 1) as usize * unit }
}
