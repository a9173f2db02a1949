//! Many connections on one thread: epoll, readiness, and frames out of a byte stream.
//!
//! A link never blocks and never copies a frame it has received whole; its buffer grows to the largest frame it met.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::Timespec;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

const INBOX_BYTES: usize = 64 << 10;
/// No answer we ask for is larger: a length above it is a broker's mistake.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Waits for any of many connections.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// What a connection is ready for.
#[derive(Clone, Copy)]
pub struct Ready {
    pub token: usize,
    pub write: bool,
    /// Bytes, an end or an error to read.
    pub read: bool,
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        Ok(Poller { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Waits until something is ready or `timeout` is over, and gives what is ready.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Vec<Ready>> {
        self.events.clear();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = self.events.iter().map(|event| {
            let flags = event.flags;
            let read = flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP | EventFlags::RDHUP);
            Ready { token: event.data.u64() as usize, write: flags.contains(EventFlags::OUT), read }
        });
        Ok(ready.collect())
    }
}

/// One connection of a load.
pub struct Link {
    pub stream: TcpStream,
    token: usize,
    inbox: Vec<u8>,
    /// Bytes of `inbox` that hold what was received and not yet taken.
    filled: usize,
    wants_write: bool,
}

impl Link {
    pub fn new(stream: TcpStream, token: usize, poller: &Poller) -> io::Result<Link> {
        stream.set_nonblocking(true)?;
        epoll::add(&poller.epoll, &stream, EventData::new_u64(token as u64), EventFlags::IN)?;
        Ok(Link { stream, token, inbox: vec![0; INBOX_BYTES], filled: 0, wants_write: false })
    }

    /// Is it full, for now?
    pub fn is_blocked(&self) -> bool {
        self.wants_write
    }

    /// Asks to be told, or no longer, when the connection takes more bytes.
    pub fn want_write(&mut self, wanted: bool, poller: &Poller) -> io::Result<()> {
        if wanted != self.wants_write {
            let flags = if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&poller.epoll, &self.stream, EventData::new_u64(self.token as u64), flags)?;
            self.wants_write = wanted;
        }
        Ok(())
    }

    /// Reads what is there and hands each whole frame, without its length, to `each`.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            let space = self.inbox.len() - self.filled;
            let got = match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker closed a connection")),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.filled += got;
            self.take_frames(&mut each)?;
            if got < space {
                return Ok(());
            }
        }
    }

    fn take_frames(&mut self, each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut taken = 0;
        while self.filled - taken >= 4 {
            let length = u32::from_be_bytes(self.inbox[taken..taken + 4].try_into().expect("four bytes")) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(io::Error::other(format!("the broker announces a response of {length} bytes")));
            }
            let end = taken + 4 + length;
            if end > self.filled {
                if 4 + length > self.inbox.len() {
                    self.inbox.resize(4 + length, 0);
                }
                break;
            }
            each(&self.inbox[taken + 4..end])?;
            taken = end;
        }
        self.inbox.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        Ok(())
    }
}
