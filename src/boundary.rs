//! The boundary between the core, which computes, and its driver, which performs.
//!
//! Two drivers exist: `io` performs these ops with io_uring, `sim` performs them badly. (A third, in `tests/rig`, makes tasks
//! of them for other simulators.) The contract:
//!
//! - each [`Action::Submit`] is answered by exactly one [`Input::Done`] with its token (a crash excepted);
//! - ops in flight may finish in **any order**. All ordering is "wait for the completion, then queue the next":
//!   no rule of the protocol lives in a driver;
//! - `now.mono` never goes back; `now.wall` may. Ticks may be late or spurious;
//! - buffers travel with their op: bytes to write are shared and never change, a buffer to fill is owned by the op and
//!   comes back in its [`Done`];
//! - at most one `Accept` per listener, one `Recv` and one `Send` per connection are in flight;
//! - `Close` and `Hangup` complete every pending op of their file or connection, and they are the last op of it;
//! - reads and writes may be short; an op that failed has done nothing, part or all of its work;
//! - `Mail` arrives in order for each pair of shards, and is never lost while both live.
//!
//! Paths are relative to the data folder, with `/` between their parts, and never contain `..`.

use crate::ids::ShardId;
use crate::mail::Mail;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt;
use core::time::Duration;

/// Direct reads and writes are aligned to this, in file offset, length and memory address.
pub const SECTOR: usize = 4096;

/// Monotonic time: nanoseconds since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    pub fn after(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time: milliseconds since 1970, as Kafka counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Both clocks, read once for each input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub mono: Instant,
    pub wall: Timestamp,
}

/// Names one op from its submission to its completion. Never reused in a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// An open file, named by the driver. Valid from [`Done::Opened`] to the submission of `Close`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

/// An accepted connection, named by the driver. Never reused in a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// What a driver tells a shard.
#[derive(Debug)]
pub enum Input {
    /// Time has passed: the deadline is due, or nothing at all.
    Tick,
    /// An op has ended.
    Done { token: Token, done: Done },
    /// Another shard of this node has written.
    Mail { from: ShardId, mail: Mail },
    /// Please stop: answer what is committed, write a checkpoint if that can be done soon, then [`Halt::Stopped`].
    Stop,
}

/// What a shard asks of its driver.
#[derive(Debug)]
pub enum Action {
    Submit {
        token: Token,
        op: Op,
    },
    Mail {
        to: ShardId,
        mail: Mail,
    },
    /// The shard is over; the driver ends the whole process. Nothing follows.
    Halt(Halt),
    /// A line for the operator.
    Log {
        level: Level,
        text: String,
    },
    /// Shard 0, once: every shard serves. The driver prints its ready line.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// Why a shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// [`Input::Stop`] has been obeyed: everything is in the checkpoint, or, where that would have taken too long, in the
    /// journal.
    Stopped,
    /// The data folder has the number of shards that `Config::reshard` asked for: start those.
    Resharded,
    /// A write or a sync of the named file failed. What is durable is unknown until a restart reads it back.
    Disk { path: String, error: IoError },
    /// Damage to something the whole shard rests on (its checkpoint, the metadata log): file, offset and reason.
    Damage { path: String, offset: u64, reason: String },
    /// The data folder is not ours to serve: a newer format, a damaged one.
    Refused { reason: String },
}

/// A system call, described.
#[derive(Debug)]
pub enum Op {
    /// Opens a file of the data folder for reading and writing. Answered by [`Done::Opened`].
    Open { path: String, mode: OpenMode },
    /// Reserves `[offset, offset + len)` and extends the file to hold it; the range reads as zeros where it was not
    /// written. Answered by [`Done::Ended`].
    Allocate { file: FileId, offset: u64, len: u64 },
    /// Reads up to `len` bytes from `offset`, appended to `buf` within its spare capacity. Direct: offset, length and the
    /// address behind what `buf` holds are multiples of [`SECTOR`] (see `memory::aligned`). Answered by [`Done::Read`].
    Read { file: FileId, offset: u64, buf: BytesMut, len: usize },
    /// Writes the slices one after another from `offset`. Direct: offset, and each slice's length and address, are
    /// multiples of [`SECTOR`]. With `durable` the data (not the file's name) is on stable storage when it ends
    /// (`RWF_DSYNC`). Answered by [`Done::Wrote`].
    Write { file: FileId, offset: u64, data: Vec<Bytes>, durable: bool },
    /// Makes the file's data and length durable (fdatasync). Answered by [`Done::Ended`].
    Sync { file: FileId },
    /// Cuts or extends the file to `len` bytes. Answered by [`Done::Ended`].
    Truncate { file: FileId, len: u64 },
    /// Ends every pending op of the file, then closes it. Answered by [`Done::Ended`].
    Close { file: FileId },
    /// Names in a folder, in byte order. Answered by [`Done::Listed`].
    List { path: String },
    /// Makes a folder; one that exists is fine. Answered by [`Done::Ended`].
    MakeDir { path: String },
    /// Renames a file, replacing one that has the new name. Answered by [`Done::Ended`].
    Rename { from: String, to: String },
    /// Unlinks a file, or a folder that is empty. Answered by [`Done::Ended`].
    Remove { path: String },
    /// Makes the names in a folder durable. `""` is the data folder itself. Answered by [`Done::Ended`].
    SyncDir { path: String },
    /// How large the volume of the data folder is. Answered by [`Done::Volume`].
    Volume,
    /// Takes the next connection of a listener. Answered by [`Done::Accepted`].
    Accept { listener: u16 },
    /// Receives some bytes: into `into`, appended within its spare capacity, or, where that is `None`, into a buffer of
    /// the driver's choice. Answered by [`Done::Received`].
    Recv { conn: ConnId, into: Option<BytesMut> },
    /// Sends the slices one after another. Where the peer does not take them `within` this time, what it has taken is all
    /// that is sent. Answered by [`Done::Sent`].
    Send { conn: ConnId, data: Vec<Bytes>, within: Option<Duration> },
    /// Ends every pending op of the connection, then closes it. Answered by [`Done::Ended`].
    Hangup { conn: ConnId },
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMode {
    /// Make it where it is missing (its name is durable only after a `SyncDir`).
    pub create: bool,
    /// Cut it to nothing.
    pub truncate: bool,
    /// `O_DIRECT`: past the page cache, aligned to [`SECTOR`].
    pub direct: bool,
}

/// How an op ended.
#[derive(Debug)]
pub enum Done {
    Opened(Result<Opened, IoError>),
    /// Ops without a result of their own: Allocate, Sync, Truncate, Close, MakeDir, Rename, Remove, SyncDir, Hangup.
    Ended(Result<(), IoError>),
    /// The buffer, and how many bytes were appended to it: fewer than asked at the end of the file, or for no reason.
    Read {
        buf: BytesMut,
        result: Result<usize, IoError>,
    },
    /// How many bytes were written: fewer than asked for no reason but bad luck.
    Wrote(Result<usize, IoError>),
    Listed(Result<Vec<String>, IoError>),
    Volume(Result<Volume, IoError>),
    Accepted(Result<Accepted, NetError>),
    /// The bytes received, never none: the given buffer with what was appended to it, or the driver's.
    Received(Result<BytesMut, NetError>),
    /// How many bytes were sent; none only where the time was limited.
    Sent(Result<usize, NetError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    pub file: FileId,
    /// Its length in bytes.
    pub len: u64,
}

/// The file system that holds the data folder, in bytes; `usable_bytes` are those that are free for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub total_bytes: u64,
    pub usable_bytes: u64,
}

/// A new connection: who is there, and over which listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub conn: ConnId,
    pub listener: u16,
    /// The peer's address, for people.
    pub peer: String,
    /// Whom the listener's authentication found; `User:ANONYMOUS` where it asks nobody.
    pub principal: String,
}

/// Why an op on a file failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// ENOSPC, EDQUOT.
    NoSpace,
    /// ENOENT.
    NotFound,
    /// ENOTEMPTY.
    NotEmpty,
    /// The file was closed meanwhile.
    Canceled,
    /// Anything else, by its errno.
    Os(i32),
}

/// Why an op on a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetError {
    /// The peer has closed its side.
    Closed,
    /// The connection was reset.
    Reset,
    /// We hung up meanwhile.
    Canceled,
    /// Anything else, by its errno (EMFILE on Accept, for one).
    Os(i32),
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoError::NoSpace => f.write_str("no space left on the disk"),
            IoError::NotFound => f.write_str("no such file or folder"),
            IoError::NotEmpty => f.write_str("the folder is not empty"),
            IoError::Canceled => f.write_str("closed meanwhile"),
            IoError::Os(errno) => write!(f, "errno {errno}"),
        }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetError::Closed => f.write_str("closed by the peer"),
            NetError::Reset => f.write_str("reset by the peer"),
            NetError::Canceled => f.write_str("hung up"),
            NetError::Os(errno) => write!(f, "errno {errno}"),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Stopped => f.write_str("stopped"),
            Halt::Resharded => f.write_str("the data folder has another number of shards now"),
            Halt::Disk { path, error } => {
                write!(f, "{path}: {error}; what is durable is unknown until a restart reads it back")
            }
            Halt::Damage { path, offset, reason } => write!(f, "{path} is damaged at offset {offset}: {reason}"),
            Halt::Refused { reason } => f.write_str(reason),
        }
    }
}
