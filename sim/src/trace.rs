//! The trace: one hash over every input and action, so that two runs can be compared by a number.
//!
//! Invariant: what is mixed in are values, never addresses, so that debug, release and another process agree.

use bytes::Bytes;
use highwater::boundary::{Action, Done, Input, Now, Op};
use std::fmt::Write;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    hash: u64,
    pub events: u64,
    /// What is mixed in as text is written here first.
    text: String,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { hash: 0x9e37_79b9_7f4a_7c15, events: 0, text: String::new() }
    }
}

impl Trace {
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x2545_f491_4f6c_dd1d);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.mix((bytes.len() as u64) << 32 | u64::from(crc32fast::hash(bytes)));
    }

    fn slices(&mut self, slices: &[Bytes]) {
        let mut crc = crc32fast::Hasher::new();
        let mut len = 0;
        for slice in slices {
            crc.update(slice);
            len += slice.len() as u64;
        }
        self.mix(len << 32 | u64::from(crc.finalize()));
    }

    fn text(&mut self, text: &dyn std::fmt::Debug) {
        let mut written = std::mem::take(&mut self.text);
        written.clear();
        write!(written, "{text:?}").expect("a string takes all");
        self.bytes(written.as_bytes());
        self.text = written;
    }

    pub fn input(&mut self, shard: u16, now: Now, input: &Input) {
        self.events += 1;
        self.mix(u64::from(shard) << 56 ^ now.mono.0);
        self.mix(now.wall.0 as u64);
        match input {
            Input::Tick => self.mix(1),
            Input::Done { token, done } => {
                self.mix(token.0 << 8 | 2);
                self.done(done);
            }
            Input::Mail { from, .. } => self.mix(u64::from(from.0) << 8 | 3),
            Input::Stop => self.mix(4),
        }
    }

    fn done(&mut self, done: &Done) {
        match done {
            Done::Read { buf, result: Ok(len) } => self.bytes(&buf[buf.len() - len..]),
            Done::Received(Ok(buf)) => self.bytes(buf),
            Done::Wrote(Ok(len)) | Done::Sent(Ok(len)) => self.mix(*len as u64),
            Done::Ended(Ok(())) => self.mix(5),
            Done::Opened(Ok(opened)) => self.mix(u64::from(opened.file.0) << 40 ^ opened.len),
            Done::Listed(Ok(names)) => names.iter().for_each(|name| self.bytes(name.as_bytes())),
            Done::Read { result: Err(error), .. } => self.text(error),
            Done::Opened(_) | Done::Ended(_) | Done::Wrote(_) | Done::Listed(_) | Done::Volume(_) => self.text(done),
            Done::Accepted(_) | Done::Received(_) | Done::Sent(_) => self.text(done),
        }
    }

    pub fn action(&mut self, shard: u16, action: &Action) {
        self.mix(u64::from(shard) << 8 | 6);
        match action {
            Action::Submit { token, op } => {
                self.mix(token.0);
                self.op(op);
            }
            Action::Mail { to, .. } => self.mix(u64::from(to.0) << 8 | 7),
            Action::Halt(halt) => self.text(halt),
            Action::Log { level, text } => {
                self.mix(*level as u64);
                self.bytes(text.as_bytes());
            }
            Action::Ready => self.mix(8),
        }
    }

    fn path(&mut self, kind: u64, path: &str) {
        self.mix(kind);
        self.bytes(path.as_bytes());
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Read { file, offset, len, .. } => {
                self.mix(u64::from(file.0) << 40 ^ *offset);
                self.mix(*len as u64);
            }
            Op::Write { file, offset, data, durable } => {
                self.mix(u64::from(file.0) << 40 ^ *offset ^ u64::from(*durable) << 63);
                self.slices(data);
            }
            Op::Recv { conn, into } => self.mix(conn.0 << 1 | u64::from(into.is_some())),
            Op::Send { conn, data, within } => {
                self.mix(conn.0 << 1 | u64::from(within.is_some()));
                self.slices(data);
            }
            Op::Open { path, mode } => {
                let modes = u64::from(mode.create) << 8 | u64::from(mode.truncate) << 9 | u64::from(mode.direct) << 10;
                self.path(9 | modes, path);
            }
            Op::Allocate { file, offset, len } => {
                self.mix(u64::from(file.0) << 8 | 10);
                self.mix(*offset);
                self.mix(*len);
            }
            Op::Truncate { file, len } => {
                self.mix(u64::from(file.0) << 8 | 11);
                self.mix(*len);
            }
            Op::Sync { file } => self.mix(u64::from(file.0) << 8 | 12),
            Op::Close { file } => self.mix(u64::from(file.0) << 8 | 13),
            Op::MakeDir { path } => self.path(14, path),
            Op::Remove { path } => self.path(15, path),
            Op::SyncDir { path } => self.path(16, path),
            Op::List { path } => self.path(17, path),
            Op::Rename { from, to } => {
                self.path(18, from);
                self.bytes(to.as_bytes());
            }
            Op::Volume => self.mix(19),
            Op::Accept { listener } => self.mix(u64::from(*listener) << 8 | 20),
            Op::Hangup { conn } => self.mix(conn.0 << 8 | 21),
        }
    }
}
