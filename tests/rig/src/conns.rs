//! Connections: streams of the runtime under the ops of the boundary.
//!
//! Each op is a task. A stream gives and takes as few bytes as chance says, so that frames are cut everywhere, also
//! inside their length. Invariant: a half is held by one op at a time; a hang-up ends both before it ends itself.

use crate::driver::Hand;
use crate::runtime::{First, Runtime, linger, race};
use bytes::{Buf, Bytes, BytesMut};
use highwater::boundary::{ConnId, Done, NetError, Token};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, Notify};

pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

pub type BoxStream = Box<dyn Stream>;

/// Connections that a shard has not accepted yet.
#[derive(Default)]
pub struct Backlog {
    waiting: RefCell<VecDeque<(BoxStream, String)>>,
    bell: Notify,
}

impl Backlog {
    pub fn push(&self, stream: BoxStream, peer: String) {
        self.waiting.borrow_mut().push_back((stream, peer));
        self.bell.notify_one();
    }

    pub async fn next(&self) -> (BoxStream, String) {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                Some(next) => return next,
                None => self.bell.notified().await,
            }
        }
    }
}

struct Conn {
    reader: Mutex<Option<ReadHalf<BoxStream>>>,
    writer: Mutex<Option<WriteHalf<BoxStream>>>,
    hung_up: Cell<bool>,
    bell: Notify,
    /// Its ops in flight, and who waits for there to be none.
    ops: Cell<u32>,
    idle: Notify,
}

impl Conn {
    fn end_op(&self) {
        self.ops.set(self.ops.get() - 1);
        self.idle.notify_one();
    }

    async fn gone(&self) {
        let told = self.bell.notified();
        if !self.hung_up.get() {
            told.await;
        }
    }
}

#[derive(Default)]
pub struct Conns(RefCell<BTreeMap<ConnId, Rc<Conn>>>);

impl Conns {
    pub fn insert(&self, id: ConnId, stream: BoxStream) {
        let (reader, writer) = tokio::io::split(stream);
        let conn = Conn {
            reader: Mutex::new(Some(reader)),
            writer: Mutex::new(Some(writer)),
            hung_up: Cell::new(false),
            bell: Notify::new(),
            ops: Cell::new(0),
            idle: Notify::new(),
        };
        self.0.borrow_mut().insert(id, Rc::new(conn));
    }

    fn of(&self, id: ConnId) -> Rc<Conn> {
        self.0.borrow().get(&id).cloned().unwrap_or_else(|| panic!("{id:?} is not there"))
    }

    pub fn receive<R: Runtime>(&self, hand: Hand, token: Token, id: ConnId, into: Option<BytesMut>) {
        let conn = self.of(id);
        conn.ops.set(conn.ops.get() + 1);
        R::spawn(async move {
            linger::<R>().await;
            let mut half = conn.reader.lock().await;
            let buf = into.unwrap_or_else(|| BytesMut::with_capacity(64 << 10));
            let result = match half.as_mut() {
                None => Err(NetError::Canceled),
                Some(_) if conn.hung_up.get() => Err(NetError::Canceled),
                Some(half) => match race(conn.gone(), read::<R>(half, buf)).await {
                    First::Left(()) => Err(NetError::Canceled),
                    First::Right(result) => result,
                },
            };
            drop(half);
            conn.end_op();
            hand.end(token, Done::Received(result));
        });
    }

    pub fn send<R: Runtime>(&self, hand: Hand, token: Token, id: ConnId, data: Vec<Bytes>, within: Option<Duration>) {
        let conn = self.of(id);
        conn.ops.set(conn.ops.get() + 1);
        R::spawn(async move {
            linger::<R>().await;
            let mut half = conn.writer.lock().await;
            let result = match half.as_mut() {
                None => Err(NetError::Canceled),
                Some(_) if conn.hung_up.get() => Err(NetError::Canceled),
                Some(half) => {
                    let late = async {
                        match within {
                            Some(within) => R::sleep(within).await,
                            None => std::future::pending().await,
                        }
                    };
                    match race(conn.gone(), race(write::<R>(half, &data), late)).await {
                        First::Left(()) => Err(NetError::Canceled),
                        First::Right(First::Left(result)) => result,
                        First::Right(First::Right(())) => Ok(0),
                    }
                }
            };
            drop(half);
            conn.end_op();
            hand.end(token, Done::Sent(result));
        });
    }

    pub fn hang_up<R: Runtime>(&self, hand: Hand, token: Token, id: ConnId) {
        let conn = self.0.borrow_mut().remove(&id).unwrap_or_else(|| panic!("{id:?} is not there"));
        conn.hung_up.set(true);
        conn.bell.notify_waiters();
        R::spawn(async move {
            // What waits is told, what has not begun finds that it was hung up.
            while conn.ops.get() > 0 {
                conn.idle.notified().await;
            }
            let reader = conn.reader.lock().await.take();
            let writer = conn.writer.lock().await.take();
            drop((reader, writer));
            linger::<R>().await;
            hand.end(token, Done::Ended(Ok(())));
        });
    }
}

/// How many of `most` bytes an op moves.
fn some<R: Runtime>(most: usize) -> usize {
    let few = match R::below(8) {
        0 => 1,
        1 => 2,
        2 => 3,
        3 => 7,
        4 => 100,
        _ => most,
    };
    few.min(most)
}

async fn read<R: Runtime>(half: &mut ReadHalf<BoxStream>, mut buf: BytesMut) -> Result<BytesMut, NetError> {
    let mut bytes = vec![0; some::<R>(buf.capacity() - buf.len())];
    match half.read(&mut bytes).await {
        Ok(0) => Err(NetError::Closed),
        Ok(len) => {
            buf.extend_from_slice(&bytes[..len]);
            Ok(buf)
        }
        Err(error) => Err(net_error(&error)),
    }
}

async fn write<R: Runtime>(half: &mut WriteHalf<BoxStream>, data: &[Bytes]) -> Result<usize, NetError> {
    let mut data = data.iter().cloned().collect::<VecDeque<Bytes>>();
    let mut bytes = BytesMut::new();
    let total = data.iter().map(Bytes::len).sum();
    let len = some::<R>(total);
    while bytes.len() < len {
        let slice = data.front_mut().expect("there are more bytes");
        let part = slice.len().min(len - bytes.len());
        bytes.extend_from_slice(&slice[..part]);
        slice.advance(part);
        if slice.is_empty() {
            data.pop_front();
        }
    }
    half.write(&bytes).await.map_err(|error| net_error(&error))
}

fn net_error(error: &io::Error) -> NetError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => NetError::Closed,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => NetError::Reset,
        _ => panic!("a stream fails as no stream does: {error}"),
    }
}
