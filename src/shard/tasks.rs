//! File tasks: a few ops one after another, then something else. Everything that is not on the path of a request.
//!
//! Invariant: a step is submitted only when the one before it has ended well. A full disk makes a task wait and try the same
//! step again, or give up where nobody needs what it makes; any other failure of a write, and every failure of a sync, ends
//! the shard, because what is durable is unknown then.

use super::compact::Wrote;
use super::{Shard, timers::Timer};
use crate::boundary::{Done, FileId, Halt, IoError, Level, Op, OpenMode, SECTOR};
use crate::ids::Offset;
use crate::journal::ring::Ring;
use crate::log::segment::Name;
use crate::shard::effects::Pending;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;

const RETRY: Duration = Duration::from_millis(500);
/// Small, so that a commit does not wait long behind one of them.
const ZEROS_BYTES: usize = 256 << 10;

/// One step of a task; those without a path are about the file that was opened last.
#[derive(Debug)]
pub enum Step {
    MakeDir(String),
    Open(String, OpenMode),
    Allocate {
        offset: u64,
        len: u64,
    },
    Write {
        offset: u64,
        data: Bytes,
    },
    /// Writes zeros over `[from, to)`, whole sectors.
    Zero {
        from: u64,
        to: u64,
    },
    /// The names in a folder.
    List(String),
    /// Reads the file to its end; a file that is not there is no file.
    ReadAll(String),
    Sync,
    Truncate(u64),
    Close,
    Rename {
        from: String,
        to: String,
    },
    /// Unlinks; what is gone already is fine.
    Remove(String),
    /// Unlinks a file, or a folder with everything in it, but for journal files that are kept.
    RemoveTree(String),
    /// Then as a folder whose names must go first,
    RemoveInside(String),
    /// and whatever is left in it stays.
    RemoveEmpty(String),
    /// Unlinks the folders of shards as they were before their number was changed, all but this layout.
    RemoveLayouts {
        but: String,
    },
    SyncDir(String),
}

/// What comes after a task.
#[derive(Debug)]
pub enum Then {
    FormatRead,
    FolderMade,
    FormatWritten,
    CheckpointRead { mirror: bool },
    FolderListed,
    SlotOpened { slot: usize },
    SlotFilled { slot: usize, number: u32, bytes: u64 },
    DamagedKept,
    SegmentOpened { partition: u32 },
    Mended { partition: u32 },
    Rolled { partition: u32, base: Offset },
    TableWritten { partition: u32 },
    SegmentsListed { partition: u32 },
    Tidied { partition: u32 },
    SegmentsRemoved { partition: u32, names: Vec<Name> },
    Compacted { partition: u32, wrote: Wrote },
    PartitionRemoved { partition: u32 },
    Synced { partition: Option<u32> },
    CheckpointSaved,
    Trimmed,
    LaidOut,
    Nothing,
}

/// What a task leaves behind.
#[derive(Debug, Default)]
pub struct Outcome {
    pub file: Option<FileId>,
    /// Length of the file when it was opened.
    pub len: u64,
    /// What `ReadAll` read; `None` where there is no file.
    pub bytes: Option<Vec<u8>>,
    /// What `List` listed.
    pub names: Vec<String>,
    /// The file that was opened last.
    pub path: String,
}

#[derive(Debug)]
pub struct Task {
    steps: VecDeque<Step>,
    then: Then,
    path: String,
    outcome: Outcome,
    /// The file that it was given.
    lent: Option<FileId>,
    read: Vec<u8>,
    /// Its last step found the disk full.
    stuck: bool,
}

impl Shard {
    pub(super) fn start_task(&mut self, steps: Vec<Step>, file: Option<FileId>, path: &str, then: Then) {
        let id = self.next_task;
        self.next_task += 1;
        let outcome = Outcome { file, ..Outcome::default() };
        let (steps, path, read) = (steps.into(), path.into(), Vec::new());
        let task = Task { steps, then, path, outcome, lent: file, read, stuck: false };
        self.tasks.insert(id, task);
        self.run_task(id);
    }

    /// Submits the task's next step, or ends it.
    pub(super) fn run_task(&mut self, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let file = task.outcome.file;
        let opened = || file.expect("a step about a file follows its Open");
        let Some(step) = task.steps.front() else {
            let mut task = self.tasks.remove(&id).expect("it was there");
            task.outcome.path = task.path;
            self.on_task(task.then, task.outcome);
            return;
        };
        let op = match step {
            Step::MakeDir(path) => Op::MakeDir { path: path.clone() },
            Step::Open(path, mode) => {
                task.path.clone_from(path);
                Op::Open { path: path.clone(), mode: *mode }
            }
            Step::Allocate { offset, len } => Op::Allocate { file: opened(), offset: *offset, len: *len },
            Step::Write { offset, data } => {
                Op::Write { file: opened(), offset: *offset, data: vec![data.clone()], durable: false }
            }
            Step::Zero { from, to } => {
                let len = (to - from).min(ZEROS_BYTES as u64) as usize;
                let data = vec![self.zeros.get_or_insert_with(zeros).slice(..len)];
                Op::Write { file: opened(), offset: *from, data, durable: false }
            }
            Step::ReadAll(path) => match file {
                None => {
                    task.path.clone_from(path);
                    let mode = OpenMode { create: false, truncate: false, direct: false };
                    Op::Open { path: path.clone(), mode }
                }
                Some(file) => {
                    let left = task.outcome.len.saturating_sub(task.read.len() as u64);
                    let len = left.min(1 << 20) as usize;
                    Op::Read { file, offset: task.read.len() as u64, buf: BytesMut::with_capacity(len), len }
                }
            },
            Step::Sync => Op::Sync { file: opened() },
            Step::Truncate(len) => Op::Truncate { file: opened(), len: *len },
            Step::Close => Op::Close { file: opened() },
            Step::Rename { from, to } => Op::Rename { from: from.clone(), to: to.clone() },
            Step::Remove(path) | Step::RemoveTree(path) | Step::RemoveEmpty(path) => Op::Remove { path: path.clone() },
            Step::RemoveInside(path) | Step::List(path) => Op::List { path: path.clone() },
            Step::RemoveLayouts { .. } => Op::List { path: String::new() },
            Step::SyncDir(path) => Op::SyncDir { path: path.clone() },
        };
        self.fx.submit(op, Pending::Task(id));
    }

    pub(super) fn on_task_done(&mut self, id: u64, done: Done) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let advanced = task.advance(done);
        let filling = matches!((&task.then, task.steps.front()), (Then::SlotFilled { .. }, Some(Step::Zero { .. })));
        match advanced {
            Ok(()) if core::mem::take(&mut task.stuck) => {
                self.on_room();
                self.run_task(id);
            }
            Ok(()) => match self.filling_pause().filter(|_| filling) {
                Some(pause) => self.timers.set(self.fx.now.mono.after(pause), Timer::RetryTask(id)),
                None => self.run_task(id),
            },
            Err(IoError::NoSpace) if !matches!(task.steps.front(), Some(Step::Sync | Step::SyncDir(_))) => {
                if self.gives_up(id) {
                    return self.give_up_task(id);
                }
                let task = self.tasks.get_mut(&id).expect("just seen");
                task.stuck = true;
                let path = task.path.clone();
                self.on_disk_full(&path);
                self.timers.set(self.fx.now.mono.after(RETRY), Timer::RetryTask(id));
            }
            Err(error) => {
                let path = task.failing_path();
                self.fx.halt(Halt::Disk { path, error });
            }
        }
    }

    /// Whether a task that finds no room ends there: nobody needs what it makes, and perhaps only what waits for its end, the
    /// deletion of its partition or of its records, makes room.
    fn gives_up(&self, id: u64) -> bool {
        match &self.tasks[&id].then {
            Then::Compacted { wrote, .. } => matches!(wrote, Wrote::Part | Wrote::Sealed),
            Then::TableWritten { .. } => true,
            Then::SegmentOpened { partition } | Then::Mended { partition } => self.is_deleted(*partition),
            Then::Rolled { partition, base } => {
                let partition = self.partitions[*partition as usize].as_deref();
                partition.is_none_or(|partition| {
                    let segment = partition.log.segment_at(*base);
                    partition.deleted || segment.is_none_or(|segment| segment.end <= partition.proven_start)
                })
            }
            _ => false,
        }
    }

    fn give_up_task(&mut self, id: u64) {
        let Task { then, mut outcome, lent, .. } = self.tasks.remove(&id).expect("it has just met a full disk");
        let file = outcome.file.take();
        self.on_room();
        if matches!(then, Then::Compacted { .. }) {
            return self.on_compaction_stuck(file);
        }
        let opened = file.filter(|file| Some(*file) != lent);
        self.close_files(opened.into_iter().collect());
        self.on_task(then, outcome);
    }

    pub(super) fn on_disk_full(&mut self, path: &str) {
        if !self.disk_full {
            self.disk_full = true;
            let text = format!("{path}: no space left on the disk; appends are refused once the journal is full");
            self.fx.log(Level::Error, text);
        }
    }

    /// Somebody who met a full disk got through. It is full until all have: others may only have found what was theirs before.
    pub(super) fn on_room(&mut self) {
        self.disk_full = self.flusher.met_a_full_disk() || self.tasks.values().any(|task| task.stuck);
    }
}

fn zeros() -> Bytes {
    crate::memory::aligned_zeroed(ZEROS_BYTES).freeze()
}

impl Task {
    /// One step has ended: drops it if it is over.
    fn advance(&mut self, done: Done) -> Result<(), IoError> {
        let step = self.steps.front_mut().expect("a step was in flight");
        let over = match (step, done) {
            (Step::Open(..), Done::Opened(result)) => {
                let opened = result?;
                self.outcome.file = Some(opened.file);
                self.outcome.len = opened.len;
                true
            }
            (Step::ReadAll(_), Done::Opened(Err(IoError::NotFound))) => true,
            (Step::ReadAll(_), Done::Opened(result)) => {
                let opened = result?;
                self.outcome.file = Some(opened.file);
                self.outcome.len = opened.len;
                if opened.len == 0 {
                    self.outcome.bytes = Some(Vec::new());
                    *self.steps.front_mut().expect("still there") = Step::Close;
                }
                false
            }
            (Step::ReadAll(_), Done::Read { buf, result }) => {
                let read = result?;
                self.read.extend_from_slice(&buf);
                if read == 0 || self.read.len() as u64 >= self.outcome.len {
                    self.outcome.bytes = Some(core::mem::take(&mut self.read));
                    *self.steps.front_mut().expect("still there") = Step::Close;
                }
                false
            }
            (Step::Write { offset, data }, Done::Wrote(result)) => {
                let mut written = result?;
                if (*offset as usize).is_multiple_of(SECTOR) && data.len().is_multiple_of(SECTOR) {
                    // It may be a direct write: the rest must begin at a whole sector too.
                    written = written / SECTOR * SECTOR;
                }
                data.advance(written);
                *offset += written as u64;
                data.is_empty()
            }
            (Step::Zero { from, to }, Done::Wrote(result)) => {
                *from += (result? / SECTOR * SECTOR) as u64;
                from >= to
            }
            // Its partition was deleted meanwhile: a folder that is gone has no names to keep.
            (Step::SyncDir(path), Done::Ended(Err(IoError::NotFound))) if path.starts_with("partitions/") => true,
            // Nothing was ever written to its partition.
            (Step::List(path), Done::Listed(Err(IoError::NotFound))) if path.starts_with("partitions/") => true,
            (Step::List(_), Done::Listed(result)) => {
                self.outcome.names = result?;
                true
            }
            (step @ (Step::RemoveInside(_) | Step::RemoveLayouts { .. }), Done::Listed(result)) => {
                let more = remove_listed(step, result?);
                self.steps.pop_front();
                more.into_iter().for_each(|step| self.steps.push_front(step));
                false
            }
            (Step::Remove(_) | Step::RemoveTree(_) | Step::RemoveEmpty(_), Done::Ended(Err(IoError::NotFound)))
            | (Step::RemoveEmpty(_), Done::Ended(Err(IoError::NotEmpty))) => true,
            (Step::RemoveTree(path), Done::Ended(Err(IoError::NotEmpty))) => {
                let path = core::mem::take(path);
                self.steps[0] = Step::RemoveEmpty(path.clone());
                self.steps.push_front(Step::RemoveInside(path));
                false
            }
            (Step::Close, Done::Ended(result)) => {
                result?;
                self.outcome.file = None;
                true
            }
            (_, Done::Ended(result)) => {
                result?;
                true
            }
            (step, done) => panic!("{step:?} ended as {done:?}"),
        };
        if over {
            self.steps.pop_front();
        }
        Ok(())
    }

    fn failing_path(&self) -> String {
        match self.steps.front() {
            Some(
                Step::MakeDir(path)
                | Step::Open(path, _)
                | Step::ReadAll(path)
                | Step::List(path)
                | Step::Remove(path)
                | Step::RemoveTree(path)
                | Step::RemoveInside(path)
                | Step::RemoveEmpty(path)
                | Step::SyncDir(path),
            ) => path.clone(),
            Some(Step::Rename { to, .. }) => to.clone(),
            Some(Step::RemoveLayouts { .. }) => String::from("the data folder"),
            Some(
                Step::Allocate { .. }
                | Step::Write { .. }
                | Step::Zero { .. }
                | Step::Sync
                | Step::Truncate(_)
                | Step::Close,
            )
            | None => self.path.clone(),
        }
    }
}

/// What is to be unlinked of the names that were listed.
fn remove_listed(step: &Step, names: Vec<String>) -> Vec<Step> {
    let old = |name: &String, but: &String| name.starts_with("layout-") && name != but;
    let names = names.into_iter();
    match step {
        Step::RemoveLayouts { but } => names.filter(|name| old(name, but)).map(Step::RemoveTree).collect(),
        Step::RemoveInside(path) => {
            let goes = names.filter(|name| !Ring::is_kept(name));
            goes.map(|name| Step::RemoveTree(format!("{path}/{name}"))).collect()
        }
        step => panic!("nothing is listed for {step:?}"),
    }
}

/// The steps that put `bytes` at `path` in one piece or not at all.
pub fn save(folder: &str, name: &str, bytes: Bytes) -> Vec<Step> {
    let path = if folder.is_empty() { String::from(name) } else { format!("{folder}/{name}") };
    let new = format!("{path}.new");
    vec![
        Step::Open(new.clone(), OpenMode { create: true, truncate: true, direct: false }),
        Step::Write { offset: 0, data: bytes },
        Step::Sync,
        Step::Close,
        Step::Rename { from: new, to: path },
        Step::SyncDir(folder.into()),
    ]
}
