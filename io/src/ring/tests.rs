use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    (near, listener.accept().expect("accept").0)
}

/// Waits for the next completions, at least one.
fn ended<T>(ring: &mut Ring<T>) -> Vec<Completion<T>> {
    let mut events = Vec::new();
    while events.is_empty() {
        ring.wait(Some(Duration::from_secs(10)));
        ring.collect(&mut events);
    }
    events
        .into_iter()
        .map(|event| match event {
            Event::Ended(ended) => ended,
            Event::Woken | Event::WakeFailed(_) => panic!("nobody rings here"),
        })
        .collect()
}

fn buffer<T>(completion: Completion<T>) -> BytesMut {
    assert!(completion.result.is_ok(), "failed with errno {:?}", completion.result);
    match completion.payload {
        Payload::Buffer(buf) => buf,
        Payload::Nothing | Payload::Peer(_) => panic!("no buffer came back"),
    }
}

#[test]
fn a_ring_wakes_another_that_sleeps() {
    let (tell, told) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        let mut ring = Ring::<()>::new().expect("ring");
        tell.send(ring.descriptor()).expect("told");
        let mut events = Vec::new();
        ring.wait(None);
        ring.collect(&mut events);
        assert!(matches!(events[..], [Event::Woken]));
    });
    let descriptor = told.recv().expect("told");
    let mut ring = Ring::<()>::new().expect("ring");
    assert!(ring.abilities().message);
    ring.wake(descriptor, 3);
    ring.wait(Some(Duration::ZERO));
    sleeper.join().expect("the sleeper woke");
    let mut events = Vec::new();
    ring.collect(&mut events);
    assert!(events.is_empty(), "a wake that succeeds says nothing");
}

#[test]
fn a_wake_that_finds_no_ring_names_whom_it_missed() {
    let mut ring = Ring::<()>::new().expect("ring");
    ring.wake(-1, 3);
    let mut events = Vec::new();
    ring.wait(Some(Duration::from_secs(10)));
    ring.collect(&mut events);
    assert!(matches!(events[..], [Event::WakeFailed(3)]));
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let mut ring = Ring::<()>::new().expect("ring");
    let start = std::time::Instant::now();
    ring.wait(Some(Duration::from_millis(20)));
    assert!((20..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn pooled_blocks_circulate_while_they_are_dropped_and_run_out_while_they_are_held() {
    let (mut near, far) = pair();
    let mut ring = Ring::<u32>::new().expect("ring");
    assert!(ring.refill());
    for round in 0..1000u32 {
        near.write_all(&round.to_be_bytes()).expect("write");
        ring.receive_pooled(round, far.as_raw_fd());
        let completion = ended(&mut ring).pop().expect("one");
        assert_eq!(completion.context, round);
        assert_eq!(buffer(completion)[..], round.to_be_bytes());
        assert!(ring.refill());
    }
    let block = vec![7; BLOCK_BYTES];
    let mut kept = Vec::new();
    loop {
        near.write_all(&block).expect("write");
        // All of it has to be there before it is received.
        std::thread::sleep(Duration::from_millis(1));
        ring.receive_pooled(0, far.as_raw_fd());
        let completion = ended(&mut ring).pop().expect("one");
        if completion.result == Err(libc::ENOBUFS) {
            break;
        }
        kept.push(buffer(completion));
        ring.refill();
    }
    assert!(kept.len() >= BLOCKS_MAX, "{} are kept", kept.len());
    let bytes: usize = kept.iter().map(BytesMut::len).sum();
    assert!(bytes > BLOCKS_MAX * BLOCK_BYTES / 2 && bytes <= BLOCKS_MAX * BLOCK_BYTES, "{bytes} bytes are kept");
    assert!(kept.iter().all(|buf| buf.iter().all(|byte| *byte == 7)));
    assert!(!ring.refill(), "all are held");
    kept.truncate(kept.len() / 2);
    assert!(ring.refill(), "some have been dropped");
    ring.receive_pooled(0, far.as_raw_fd());
    assert_eq!(buffer(ended(&mut ring).pop().expect("one"))[0], 7);
}

#[test]
fn small_pieces_that_are_held_share_their_blocks() {
    let (mut near, far) = pair();
    let mut ring = Ring::<u32>::new().expect("ring");
    let mut kept = Vec::new();
    for round in 0..20 * BLOCKS_MAX as u32 {
        assert!(ring.refill(), "no block after {round} rounds");
        near.write_all(&round.to_be_bytes()).expect("write");
        ring.receive_pooled(round, far.as_raw_fd());
        kept.push(buffer(ended(&mut ring).pop().expect("one")));
    }
    for (round, buf) in kept.iter().enumerate() {
        assert_eq!(buf[..], (round as u32).to_be_bytes());
    }
}

#[test]
fn received_bytes_are_appended_within_the_room_of_the_buffer() {
    let (mut near, far) = pair();
    near.write_all(b"-and some more").expect("write");
    let mut ring = Ring::<()>::new().expect("ring");
    let mut buf = BytesMut::with_capacity(8);
    buf.extend_from_slice(b"old");
    let start = buf.as_ptr();
    ring.receive((), far.as_raw_fd(), buf);
    let buf = buffer(ended(&mut ring).pop().expect("one"));
    assert_eq!(buf[..], *b"old-and ");
    assert_eq!(buf.as_ptr(), start, "received in place");
}

#[test]
fn many_slices_are_sent_in_their_order_whatever_the_socket_buffer_holds() {
    let (mut near, far) = pair();
    let slices: Vec<Bytes> = (0..200u8).map(|byte| Bytes::from(vec![byte; 100_000])).collect();
    let mut ring = Ring::<()>::new().expect("ring");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        near.read_to_end(&mut all).expect("read");
        all
    });
    ring.send((), far.as_raw_fd(), slices.clone());
    let completion = ended(&mut ring).pop().expect("one");
    assert_eq!(completion.result, Ok(20_000_000));
    drop(far);
    assert!(reader.join().expect("reader") == slices.concat());
}

#[test]
fn more_slices_than_the_kernel_takes_make_a_short_send() {
    let (near, far) = pair();
    let mut ring = Ring::<()>::new().expect("ring");
    ring.send((), far.as_raw_fd(), vec![Bytes::from_static(b"x"); SLICES_MAX + 5]);
    assert_eq!(ended(&mut ring).pop().expect("one").result, Ok(SLICES_MAX as u32));
    drop(near);
}

#[test]
fn a_ring_dropped_with_ops_in_flight_waits_for_them() {
    let (_near, far) = pair();
    let mut ring = Ring::<u8>::new().expect("ring");
    ring.refill();
    ring.receive(1, far.as_raw_fd(), BytesMut::with_capacity(1 << 20));
    ring.receive_pooled(2, far.as_raw_fd());
    ring.wait(Some(Duration::ZERO));
    assert_eq!(ring.in_flight(), 2);
    drop(ring);
}

#[test]
fn more_ops_than_the_queues_hold_all_complete_once() {
    let mut ring = Ring::<u32>::new().expect("ring");
    let count = COMPLETIONS * 2;
    for number in 0..count {
        let fd = far_end();
        ring.close(number, fd);
    }
    let mut seen = vec![false; count as usize];
    while ring.in_flight() > 0 {
        for completion in ended(&mut ring) {
            assert_eq!(completion.result, Ok(0));
            assert!(!std::mem::replace(&mut seen[completion.context as usize], true));
        }
    }
    assert!(seen.into_iter().all(|seen| seen));
}

fn far_end() -> RawFd {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("eventfd").into_raw_fd()
}

#[test]
fn a_refusal_says_what_to_do() {
    for (errno, advice) in [
        (libc::EPERM, "io_uring is forbidden"),
        (libc::ENOSYS, "Linux 5.19 or later"),
        (libc::EINVAL, "Linux 5.19 or later"),
        (libc::ENOMEM, "`ulimit -l`"),
        (libc::EMFILE, "cannot be set up: Too many open files"),
    ] {
        let text = explain(&io::Error::from_raw_os_error(errno));
        assert!(text.contains(advice), "{text}");
    }
}
