//! The driver under a scripted core: a test says op by op what the shard asks, and sees every answer.

use super::*;
use bytes::{Bytes, BytesMut};
use highwater::boundary::{IoError, NetError, OpenMode, Opened, SECTOR};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);
const SEATS: u64 = 4;
const PLAIN: OpenMode = OpenMode { create: true, truncate: false, direct: false };
const DIRECT: OpenMode = OpenMode { create: true, truncate: false, direct: true };

/// Stands where the shard would: the test is at the other ends of its channels.
struct Puppet {
    inputs: Sender<(Now, Input)>,
    actions: Receiver<Action>,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Core for Puppet {
    fn handle(&mut self, now: Now, input: Input) {
        if matches!(input, Input::Tick) {
            *self.deadline.lock().expect("deadline") = None;
        }
        let _ = self.inputs.send((now, input));
    }

    fn poll(&mut self) -> Option<Action> {
        self.actions.try_recv().ok()
    }

    fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().expect("deadline")
    }

    fn sample(&self) -> Sample {
        panic!("nobody asks a puppet")
    }
}

struct Rig {
    folder: TempDir,
    address: SocketAddr,
    clock: Clock,
    mailboxes: Arc<Mailboxes<Post>>,
    inputs: Receiver<(Now, Input)>,
    actions: Sender<Action>,
    deadline: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<Halt>>,
    next_token: u64,
    early: BTreeMap<Token, Done>,
}

impl Rig {
    fn new() -> Rig {
        Rig::of(1)
    }

    /// Shard 0 of so many.
    fn of(shards: u16) -> Rig {
        let folder = TempDir::new().expect("folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("bound");
        let mailboxes = Arc::new(Mailboxes::new(shards).expect("mailboxes"));
        let clock = Clock::start();
        let outfit = Outfit {
            shard: ShardId(0),
            mailboxes: Arc::clone(&mailboxes),
            clock,
            folder: std::fs::File::open(folder.path()).expect("folder").into(),
            lock: tempfile::tempfile().expect("a file").into(),
            listeners: vec![listener.into()],
            seats: Arc::new(Seats::new(SEATS, shards)),
            samples: channel().0,
            on_ready: Box::new(|| {}),
        };
        let (inputs_in, inputs) = channel();
        let (actions, actions_out) = channel();
        let deadline = Arc::new(Mutex::new(None));
        let puppet = Puppet { inputs: inputs_in, actions: actions_out, deadline: Arc::clone(&deadline) };
        let thread = std::thread::spawn(move || Driver::new(outfit, |_| puppet).expect("driver").run());
        let thread = Some(thread);
        let early = BTreeMap::new();
        Rig { folder, address, clock, mailboxes, inputs, actions, deadline, thread, next_token: 0, early }
    }

    fn act(&self, action: Action) {
        self.actions.send(action).expect("the driver runs");
        self.mailboxes.of(ShardId(0)).ring_bell();
    }

    fn submit(&mut self, op: Op) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.act(Action::Submit { token, op });
        token
    }

    fn next(&mut self) -> (Token, Done) {
        match self.inputs.recv_timeout(PATIENCE).expect("an input in time").1 {
            Input::Done { token, done } => (token, done),
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn done(&mut self, token: Token) -> Done {
        loop {
            if let Some(done) = self.early.remove(&token) {
                return done;
            }
            let (token, done) = self.next();
            assert!(self.early.insert(token, done).is_none(), "{token:?} was answered twice");
        }
    }

    fn perform(&mut self, op: Op) -> Done {
        let token = self.submit(op);
        self.done(token)
    }

    fn ended(&mut self, op: Op) -> Result<(), IoError> {
        let Done::Ended(outcome) = self.perform(op) else { panic!("it should answer Ended") };
        outcome
    }

    fn open(&mut self, path: &str, mode: OpenMode) -> Result<Opened, IoError> {
        let Done::Opened(opened) = self.perform(Op::Open { path: path.to_owned(), mode }) else { panic!("not opened") };
        opened
    }

    fn write(&mut self, file: FileId, offset: u64, data: Vec<Bytes>) -> Result<usize, IoError> {
        let Done::Wrote(count) = self.perform(Op::Write { file, offset, data, durable: true }) else {
            panic!("not written")
        };
        count
    }

    fn read(&mut self, file: FileId, offset: u64, buf: BytesMut, len: usize) -> (BytesMut, Result<usize, IoError>) {
        let Done::Read { buf, result } = self.perform(Op::Read { file, offset, buf, len }) else { panic!("not read") };
        (buf, result)
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, IoError> {
        let Done::Listed(names) = self.perform(Op::List { path: path.to_owned() }) else { panic!("not listed") };
        names
    }

    /// A client, and the driver's name of its connection.
    fn connect(&mut self) -> (TcpStream, ConnId) {
        let client = TcpStream::connect(self.address).expect("connect");
        client.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let Done::Accepted(Ok(accepted)) = self.perform(Op::Accept { listener: 0 }) else { panic!("not accepted") };
        assert_eq!(accepted.peer, client.local_addr().expect("bound").to_string());
        assert_eq!((accepted.listener, &accepted.principal[..]), (0, "User:ANONYMOUS"));
        (client, accepted.conn)
    }

    fn receive(&mut self, conn: ConnId, into: Option<BytesMut>) -> Result<BytesMut, NetError> {
        let Done::Received(received) = self.perform(Op::Recv { conn, into }) else { panic!("not received") };
        received
    }

    /// Ends the driver. Each op must have been answered once: what is left over is returned.
    fn halt(mut self) -> BTreeMap<Token, Done> {
        self.act(Action::Halt(Halt::Stopped));
        let thread = self.thread.take().expect("halted once");
        assert_eq!(thread.join().expect("the driver did not panic"), Halt::Stopped);
        let mut left = std::mem::take(&mut self.early);
        for (_, input) in self.inputs.try_iter() {
            let Input::Done { token, done } = input else { panic!("not an answer: {input:?}") };
            assert!(left.insert(token, done).is_none(), "{token:?} was answered twice");
        }
        left
    }
}

fn aligned(bytes: usize, fill: u8) -> BytesMut {
    let mut whole = BytesMut::zeroed(bytes + SECTOR);
    let skip = whole.as_ptr().align_offset(SECTOR);
    let mut buf = whole.split_off(skip);
    buf.truncate(bytes);
    buf.fill(fill);
    buf
}

#[test]
fn what_is_written_is_read_back_direct_and_plain() {
    let mut rig = Rig::new();
    let opened = rig.open("journal", DIRECT).expect("opened");
    assert_eq!(opened.len, 0);
    assert_eq!(rig.ended(Op::Allocate { file: opened.file, offset: 0, len: 1 << 20 }), Ok(()));
    let data = vec![aligned(8192, 1).freeze(), aligned(4096, 2).freeze()];
    assert_eq!(rig.write(opened.file, 4096, data), Ok(12288));
    assert_eq!(rig.ended(Op::Sync { file: opened.file }), Ok(()));
    let mut buf = aligned(20480, 9);
    buf.truncate(4096);
    let (buf, count) = rig.read(opened.file, 4096, buf, 16384);
    assert_eq!(count, Ok(16384));
    let expected = [[9; 4096], [1; 4096], [1; 4096], [2; 4096], [0; 4096]].concat();
    assert!(buf[..] == expected[..], "appended to what the buffer held");
    assert_eq!(rig.ended(Op::Truncate { file: opened.file, len: 5000 }), Ok(()));
    assert_eq!(rig.ended(Op::Close { file: opened.file }), Ok(()));

    let plain = rig.open("journal", PLAIN).expect("opened");
    assert_eq!(plain.len, 5000);
    let (buf, count) = rig.read(plain.file, 4090, BytesMut::with_capacity(2000), 2000);
    assert_eq!(count, Ok(910), "short at the end of the file");
    assert_eq!(buf.len(), 910);
    assert_eq!(buf[..7], [0, 0, 0, 0, 0, 0, 1]);
    let cut = rig.open("journal", OpenMode { truncate: true, ..PLAIN }).expect("opened");
    assert_eq!(cut.len, 0);
    assert!(rig.halt().is_empty());
}

#[test]
fn more_slices_than_the_kernel_takes_make_a_short_write() {
    let mut rig = Rig::new();
    let file = rig.open("many", PLAIN).expect("opened").file;
    assert_eq!(rig.write(file, 0, vec![Bytes::from_static(b"ab"); 3000]), Ok(2048));
    assert!(rig.halt().is_empty());
}

#[test]
fn names_are_made_listed_renamed_and_removed() {
    let mut rig = Rig::new();
    let path = |path: &str| path.to_owned();
    assert_eq!(rig.ended(Op::MakeDir { path: path("topics") }), Ok(()));
    assert_eq!(rig.ended(Op::MakeDir { path: path("topics") }), Ok(()), "one that exists is fine");
    for name in ["topics/b", "topics/a", "topics/B"] {
        let file = rig.open(name, PLAIN).expect("opened").file;
        assert_eq!(rig.ended(Op::Close { file }), Ok(()));
    }
    assert_eq!(rig.ended(Op::MakeDir { path: path("topics/a") }), Err(IoError::Os(libc::ENOTDIR)), "a file is not");
    assert_eq!(rig.list("topics"), Ok(vec![path("B"), path("a"), path("b")]));
    assert_eq!(rig.ended(Op::Rename { from: path("topics/a"), to: path("topics/b") }), Ok(()));
    assert_eq!(rig.list("topics"), Ok(vec![path("B"), path("b")]));
    assert_eq!(rig.ended(Op::SyncDir { path: path("topics") }), Ok(()));
    assert_eq!(rig.ended(Op::SyncDir { path: path("") }), Ok(()));
    assert_eq!(rig.ended(Op::Remove { path: path("topics") }), Err(IoError::NotEmpty));
    assert_eq!(rig.ended(Op::Remove { path: path("topics/B") }), Ok(()));
    assert_eq!(rig.ended(Op::Remove { path: path("topics/b") }), Ok(()));
    assert_eq!(rig.ended(Op::Remove { path: path("topics") }), Ok(()), "an empty folder");
    std::fs::write(rig.folder.path().join(crate::folder::LOCK), "").expect("written");
    assert_eq!(rig.list(""), Ok(vec![]), "without the driver's own lock");
    assert!(rig.halt().is_empty());
}

#[test]
fn what_is_missing_is_not_found() {
    let mut rig = Rig::new();
    let path = || "missing".to_owned();
    assert_eq!(rig.open("missing", OpenMode { create: false, ..PLAIN }), Err(IoError::NotFound));
    assert_eq!(rig.open("missing/file", PLAIN), Err(IoError::NotFound));
    assert_eq!(rig.list("missing"), Err(IoError::NotFound));
    assert_eq!(rig.ended(Op::Remove { path: path() }), Err(IoError::NotFound));
    assert_eq!(rig.ended(Op::Rename { from: path(), to: "other".to_owned() }), Err(IoError::NotFound));
    assert_eq!(rig.ended(Op::SyncDir { path: path() }), Err(IoError::NotFound));
    assert!(rig.halt().is_empty());
}

#[test]
fn a_full_disk_is_told_apart() {
    let mut rig = Rig::new();
    std::os::unix::fs::symlink("/dev/full", rig.folder.path().join("full")).expect("linked");
    let file = rig.open("full", OpenMode { create: false, ..PLAIN }).expect("opened").file;
    assert_eq!(rig.write(file, 0, vec![Bytes::from_static(b"one too many")]), Err(IoError::NoSpace));
    assert!(rig.halt().is_empty());
}

#[test]
fn many_ops_in_flight_are_answered_once_each() {
    let mut rig = Rig::new();
    let file = rig.open("busy", DIRECT).expect("opened").file;
    let data = aligned(4096, 7).freeze();
    let tokens: Vec<Token> = (0..2000)
        .map(|at| rig.submit(Op::Write { file, offset: at * 4096, data: vec![data.clone()], durable: at % 50 == 0 }))
        .collect();
    for token in tokens {
        assert!(matches!(rig.done(token), Done::Wrote(Ok(4096))));
    }
    assert!(rig.halt().is_empty());
}

#[test]
fn a_close_ends_the_files_ops_first() {
    let mut rig = Rig::new();
    // A read of a terminal or pipe waits for ever: the one op on a file that surely is in flight at the close.
    let pipe = rig.folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("fifo");
    let file = rig.open("pipe", OpenMode { create: false, ..PLAIN }).expect("opened").file;
    let reads = [(); 3].map(|()| rig.submit(Op::Read { file, offset: 0, buf: BytesMut::with_capacity(10), len: 10 }));
    std::thread::sleep(Duration::from_millis(20));
    let close = rig.submit(Op::Close { file });
    let mut canceled = Vec::new();
    for _ in reads {
        let (token, done) = rig.next();
        assert!(matches!(done, Done::Read { result: Err(IoError::Canceled), .. }), "{done:?}");
        canceled.push(token);
    }
    canceled.sort();
    assert_eq!(canceled, reads);
    let (token, done) = rig.next();
    assert_eq!(token, close, "the close comes last");
    assert!(matches!(done, Done::Ended(Ok(()))), "{done:?}");
    assert_eq!(rig.open("other", PLAIN).expect("opened").file, file, "its id is free again");
    assert!(rig.halt().is_empty());
}

#[test]
fn bytes_go_both_ways() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.connect();
    client.write_all(b"hello").expect("written");
    let hello = rig.receive(conn, None).expect("received");
    assert_eq!(hello[..], *b"hello");
    client.write_all(b" world, and more").expect("written");
    let mut room = BytesMut::with_capacity(11);
    room.extend_from_slice(&hello);
    assert_eq!(rig.receive(conn, Some(room)).expect("received")[..], *b"hello world");
    let data = vec![Bytes::from_static(b"an "), Bytes::new(), Bytes::from_static(b"answer")];
    assert!(matches!(rig.perform(Op::Send { conn, data, within: None }), Done::Sent(Ok(9))));
    let mut answer = [0; 9];
    client.read_exact(&mut answer).expect("read");
    assert_eq!(answer, *b"an answer");
    drop(client);
    assert_eq!(rig.receive(conn, None).expect("received")[..], *b", and more");
    assert_eq!(rig.receive(conn, None), Err(NetError::Closed));
    assert_eq!(rig.ended(Op::Hangup { conn }), Ok(()));
    assert!(rig.halt().is_empty());
}

#[test]
fn a_hang_up_ends_the_connections_ops_first_and_the_peer_sees_it() {
    let mut rig = Rig::new();
    for round in 0..50 {
        let (mut client, conn) = rig.connect();
        let into = (round % 2 == 0).then(|| BytesMut::with_capacity(100));
        let receive = rig.submit(Op::Recv { conn, into });
        // Far more than both socket buffers hold: the client reads none of it yet.
        let send = rig.submit(Op::Send { conn, data: vec![Bytes::from(vec![1; 32 << 20])], within: None });
        if round % 3 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let hangup = rig.submit(Op::Hangup { conn });
        let mut order = Vec::new();
        for _ in 0..3 {
            let (token, done) = rig.next();
            match &done {
                Done::Received(outcome) => assert_eq!(*outcome, Err(NetError::Canceled)),
                Done::Sent(Ok(count)) => assert!(*count < 32 << 20, "{count} bytes sent"),
                Done::Sent(Err(error)) => assert_eq!(*error, NetError::Canceled),
                other => assert!(matches!(other, Done::Ended(Ok(()))), "{other:?}"),
            }
            order.push(token);
        }
        assert_eq!(order.pop(), Some(hangup), "the hang-up comes last");
        order.sort();
        assert_eq!(order, [receive, send]);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("the peer sees the end");
    }
    assert!(rig.halt().is_empty());
}

#[test]
fn ids_of_connections_are_never_used_again() {
    let mut rig = Rig::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (_client, conn) = rig.connect();
        assert!(seen.insert(conn.0), "{conn:?} again");
        assert_eq!(rig.ended(Op::Hangup { conn }), Ok(()));
    }
    assert!(rig.halt().is_empty());
}

#[test]
fn without_a_seat_a_connection_waits_outside_until_another_has_left() {
    let mut rig = Rig::new();
    let mut inside: Vec<_> = (0..SEATS).map(|_| rig.connect()).collect();
    let _outside = TcpStream::connect(rig.address).expect("the kernel takes it");
    let start = rig.clock.mono();
    let Done::Accepted(refused) = rig.perform(Op::Accept { listener: 0 }) else { panic!("not accepted") };
    assert_eq!(refused, Err(NetError::Os(libc::EMFILE)));
    assert!(rig.clock.mono().since(start) >= Duration::from_millis(100), "not at once");
    let (_, conn) = inside.pop().expect("someone");
    assert_eq!(rig.ended(Op::Hangup { conn }), Ok(()));
    assert!(matches!(rig.perform(Op::Accept { listener: 0 }), Done::Accepted(Ok(_))));
    assert!(rig.halt().is_empty());
}

#[test]
fn a_connection_goes_to_the_shard_with_the_fewest() {
    let mut rig = Rig::of(2);
    let (_first, _) = rig.connect();
    let waits = rig.submit(Op::Accept { listener: 0 });
    // Shard 1 has none: the second is for it, and the core is told nothing.
    let second = TcpStream::connect(rig.address).expect("connect");
    let other = rig.mailboxes.of(ShardId(1));
    let mut posts = Vec::new();
    let start = rig.clock.mono();
    while posts.is_empty() && rig.clock.mono().since(start) < PATIENCE {
        other.take(&mut posts);
    }
    let Some((ShardId(0), Post::Guest(guest))) = posts.pop() else { panic!("not handed on: {posts:?}") };
    assert_eq!((guest.listener, guest.peer.clone()), (0, second.local_addr().expect("bound").to_string()));
    assert!(rig.inputs.try_recv().is_err(), "the core waits on");
    // With one each, the third is ours: it is what the core waits for.
    let third = TcpStream::connect(rig.address).expect("connect");
    let Done::Accepted(Ok(accepted)) = rig.done(waits) else { panic!("not accepted") };
    assert_eq!(accepted.peer, third.local_addr().expect("bound").to_string());
    assert!(rig.halt().is_empty());
}

#[test]
fn a_connection_from_another_shard_answers_an_accept_or_waits_for_one() {
    let mut rig = Rig::of(2);
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = elsewhere.local_addr().expect("bound");
    let waits = rig.submit(Op::Accept { listener: 0 });
    let mut clients = Vec::new();
    for name in ["asked for", "early"] {
        clients.push(TcpStream::connect(address).expect("connect"));
        let fd = elsewhere.accept().expect("accept").0.into();
        let guest = Guest { fd, listener: 0, peer: name.to_owned() };
        let _ = rig.mailboxes.of(ShardId(0)).deliver(ShardId(1), &mut vec![Post::Guest(guest)]);
        rig.mailboxes.of(ShardId(0)).ring_bell();
    }
    let mut conns = Vec::new();
    let Done::Accepted(Ok(asked)) = rig.done(waits) else { panic!("not accepted") };
    let Done::Accepted(Ok(early)) = rig.perform(Op::Accept { listener: 0 }) else { panic!("not accepted") };
    for (accepted, name) in [(asked, "asked for"), (early, "early")] {
        assert_eq!((accepted.listener, &accepted.peer[..]), (0, name));
        conns.push(accepted.conn);
    }
    // The accept at our own door is still in flight: the next to come there is told too.
    let (mut own, conn) = rig.connect();
    own.write_all(b"own").expect("write");
    assert_eq!(rig.receive(conn, None).as_deref(), Ok(&b"own"[..]));
    clients[1].write_all(b"early").expect("write");
    assert_eq!(rig.receive(conns[1], None).as_deref(), Ok(&b"early"[..]));
    assert!(rig.halt().is_empty());
}

#[test]
fn receivers_wait_while_all_buffers_are_held_and_a_hang_up_reaches_them() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.connect();
    let mut held = Vec::new();
    // Until nothing comes any more.
    let late = loop {
        client.write_all(&[7; crate::ring::BLOCK_BYTES]).expect("written");
        let token = rig.submit(Op::Recv { conn, into: None });
        match rig.inputs.recv_timeout(Duration::from_millis(200)) {
            Ok((_, Input::Done { done: Done::Received(Ok(data)), .. })) => held.push(data),
            Ok((_, other)) => panic!("{other:?}"),
            Err(_) => break token,
        }
    };
    assert!(held.len() >= crate::ring::BLOCKS_MAX, "{} are held", held.len());
    let (mut other, other_conn) = rig.connect();
    other.write_all(b"never").expect("written");
    let never = rig.submit(Op::Recv { conn: other_conn, into: None });
    let hangup = rig.submit(Op::Hangup { conn: other_conn });
    assert!(matches!(rig.done(never), Done::Received(Err(NetError::Canceled))));
    assert!(matches!(rig.done(hangup), Done::Ended(Ok(()))));
    assert!(rig.inputs.recv_timeout(Duration::from_millis(20)).is_err(), "nobody hears of it");
    held.clear();
    let Done::Received(Ok(data)) = rig.done(late) else { panic!("not received") };
    assert_eq!(data[0], 7);
    assert!(rig.halt().is_empty());
}

#[test]
fn a_send_whose_time_is_up_says_exactly_what_was_taken() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.connect();
    let all: Vec<u8> = (0..32 << 20).map(|at: u32| (at % 251) as u8).collect();
    let (mut position, mut empty) = (0, 0);
    while empty < 2 {
        // In one piece or in many: the kernel has two ways to send.
        let piece = if empty == 0 { all.len() - position } else { 64 << 10 };
        let data = Bytes::copy_from_slice(&all[position..]);
        let data = (0..data.len()).step_by(piece).map(|at| data.slice(at..data.len().min(at + piece))).take(1000);
        let within = Some(Duration::from_millis(20));
        let done = rig.perform(Op::Send { conn, data: data.collect(), within });
        let Done::Sent(Ok(count)) = done else { panic!("{done:?} after {position} bytes") };
        position += count;
        empty += u32::from(count == 0);
        assert!(position < all.len(), "the peer has read nothing, and {position} bytes are taken");
        if count == 0 && empty == 1 {
            let mut read = vec![0; 1 << 20];
            client.read_exact(&mut read).expect("what was sent");
            assert!(read == all[..1 << 20]);
        }
    }
    let mut read = vec![0; position - (1 << 20)];
    client.read_exact(&mut read).expect("what was sent");
    assert!(read == all[1 << 20..position], "what the peer has read is what was said to be sent");
    client.set_nonblocking(true).expect("set");
    assert_eq!(client.read(&mut [0; 1]).expect_err("no more").kind(), std::io::ErrorKind::WouldBlock);
    assert!(rig.halt().is_empty());
}

#[test]
fn a_reset_is_told_apart_from_a_close() {
    let mut rig = Rig::new();
    let (client, conn) = rig.connect();
    let receive = rig.submit(Op::Recv { conn, into: None });
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("linger");
    drop(client);
    assert!(matches!(rig.done(receive), Done::Received(Err(NetError::Reset))));
    let sent = rig.perform(Op::Send { conn, data: vec![Bytes::from_static(b"anyone?")], within: None });
    assert!(matches!(sent, Done::Sent(Err(NetError::Reset))), "{sent:?}");
    assert!(rig.halt().is_empty());
}

#[test]
fn a_tick_comes_at_the_deadline_and_not_before() {
    let rig = Rig::new();
    let due = rig.clock.mono().after(Duration::from_millis(30));
    *rig.deadline.lock().expect("deadline") = Some(due);
    rig.mailboxes.of(ShardId(0)).ring_bell();
    let (now, input) = rig.inputs.recv_timeout(PATIENCE).expect("a tick");
    assert!(matches!(input, Input::Tick), "{input:?}");
    assert!(now.mono >= due && now.mono.since(due) < Duration::from_secs(1), "{now:?}, due at {due:?}");
    assert!(rig.halt().is_empty());
}

#[test]
fn a_stop_reaches_a_sleeping_shard_once() {
    let rig = Rig::new();
    std::thread::sleep(Duration::from_millis(10));
    rig.mailboxes.stop_all();
    let (_, input) = rig.inputs.recv_timeout(PATIENCE).expect("a stop");
    assert!(matches!(input, Input::Stop), "{input:?}");
    assert!(rig.inputs.recv_timeout(Duration::from_millis(20)).is_err());
    assert!(rig.halt().is_empty());
}

#[test]
fn a_driver_halts_with_ops_in_flight_and_answers_none_of_them() {
    let mut rig = Rig::new();
    let (_client, conn) = rig.connect();
    rig.submit(Op::Recv { conn, into: Some(BytesMut::with_capacity(1 << 20)) });
    rig.submit(Op::Accept { listener: 0 });
    std::thread::sleep(Duration::from_millis(10));
    assert!(rig.halt().is_empty());
}

#[test]
fn a_path_outside_the_folder_is_refused() {
    for path in ["", "/etc/passwd", "../up", "a/../../b", "a//b", "./a"] {
        let outcome = std::panic::catch_unwind(|| files::below(path));
        assert!(outcome.is_err(), "{path:?} passed");
    }
    assert_eq!(files::below("topics/a-0/0.log"), "topics/a-0/0.log");
}
