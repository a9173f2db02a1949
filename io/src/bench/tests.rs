//! The producing load against a stand-in that reads slowly, in small pieces, so that requests are written in parts.

use super::admin::Leaders;
use super::meter::Meter;
use super::wire::Reader;
use super::{batch, produce};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

fn load(acks: i16, in_request: usize) -> produce::Load {
    produce::Load {
        topic: "t".to_string(),
        batch: batch::encode(3, 5000, 0),
        records_per_batch: 3,
        connections: 2,
        in_flight: 4,
        partitions_per_request: in_request,
        rate: None,
        acks,
        timeout_ms: 1000,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(60),
        bytes: Some(6_000_000),
        at_least: 0,
    }
}

/// Serves one connection and checks every byte; gives the number of requests. Answers partition 6 with error 3.
fn serve(mut stream: TcpStream, in_request: usize, acks: i16) -> i32 {
    let mut pending = Vec::new();
    let mut piece = vec![0; 1777];
    let mut requests = 0;
    loop {
        match stream.read(&mut piece).unwrap_or(0) {
            0 => return requests,
            got => pending.extend_from_slice(&piece[..got]),
        }
        while pending.len() >= 4 {
            let size = u32::from_be_bytes(pending[..4].try_into().unwrap()) as usize;
            if pending.len() < 4 + size {
                break;
            }
            let answer = answer(&pending[4..4 + size], requests, in_request);
            pending.drain(..4 + size);
            requests += 1;
            if acks != 0 && stream.write_all(&answer).is_err() {
                return requests;
            }
        }
    }
}

fn answer(request: &[u8], correlation: i32, in_request: usize) -> Vec<u8> {
    let mut request = Reader(request);
    assert_eq!((request.i16().unwrap(), request.i16().unwrap()), (0, 7), "API key and version");
    assert_eq!(request.i32().unwrap(), correlation, "requests come in their order");
    request.string().unwrap();
    assert_eq!(request.string().unwrap(), "", "no transaction");
    let _acks_and_timeout = (request.i16().unwrap(), request.i32().unwrap());
    assert_eq!((request.count().unwrap(), request.string().unwrap()), (1, "t"));
    assert_eq!(request.count().unwrap(), in_request);
    let mut out = vec![0; 4];
    out.extend(correlation.to_be_bytes());
    out.extend(1i32.to_be_bytes());
    out.extend([0, 1, b't']);
    out.extend((in_request as i32).to_be_bytes());
    let mut seen = BTreeSet::new();
    for _ in 0..in_request {
        let index = request.i32().unwrap();
        assert!(seen.insert(index), "partition {index} is in a request twice");
        let mut batches = 0;
        assert_eq!(batch::walk(request.bytes().unwrap(), true, |_| batches += 1), 0, "no batch is damaged");
        assert_eq!(batches, 1);
        out.extend(index.to_be_bytes());
        out.extend(if index == 6 { 3i16 } else { 0 }.to_be_bytes());
        out.extend([0; 24]);
    }
    assert!(request.0.is_empty(), "{} bytes too many", request.0.len());
    out.extend(0i32.to_be_bytes());
    let size = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&size.to_be_bytes());
    out
}

/// Runs a load; gives its meter and the requests that arrived.
fn drive(load: &produce::Load) -> (Meter, i32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let leaders = Leaders::from([(address, (0..7).collect())]);
    let (connections, in_request, acks) = (load.connections, load.partitions_per_request, load.acks);
    let accepting = thread::spawn(move || {
        let serving = (0..connections).map(|_| {
            let stream = listener.accept().unwrap().0;
            thread::spawn(move || serve(stream, in_request, acks))
        });
        serving.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let mut meter = Meter::begin(None).unwrap();
    produce::run(load, &leaders, &mut meter).unwrap();
    (meter, accepting.join().unwrap())
}

#[test]
fn requests_written_in_parts_arrive_whole_and_in_order() {
    for in_request in [1, 5, 7] {
        let (meter, requests) = drive(&load(-1, in_request));
        assert!(meter.failures.is_empty(), "{:?}", meter.failures);
        assert!(meter.bytes >= 6_000_000);
        assert!(requests as u64 >= meter.requests, "{requests} arrived, {} are counted", meter.requests);
    }
}

#[test]
fn errors_are_counted_by_code_and_are_no_throughput() {
    let (meter, requests) = drive(&load(-1, 7));
    assert_eq!(meter.errors.keys().collect::<Vec<_>>(), [&3]);
    assert_eq!(meter.errors[&3], requests as u64, "one partition of each request is refused");
    assert_eq!(meter.bytes % 6, 0, "six of seven batches count");
}

#[test]
fn without_acknowledgement_written_is_done() {
    let mut load = load(0, 2);
    load.bytes = Some(600_000);
    let (meter, requests) = drive(&load);
    assert!(meter.failures.is_empty(), "{:?}", meter.failures);
    assert!(meter.bytes >= 600_000, "{} bytes", meter.bytes);
    assert!(requests > 0);
}
