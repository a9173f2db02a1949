//! What a running node tells its operators: Prometheus text, `/health` and `/ready`, over HTTP.
//!
//! A plain thread that accepts, and one thread for each request, of which there are few: shards know nothing of HTTP, they
//! only answer with a sample when the collector asks. Invariant: whoever talks to this port, however badly, costs at most
//! [`VISITORS_MAX`] threads with [`REQUEST_MAX`] bytes each for [`PATIENCE`], and never a shard's time but for a sample.

mod text;

use crate::address::HostPort;
use crate::driver::Post;
use crate::mailbox::Mailboxes;
use highwater::ids::ShardId;
use highwater::metrics::Sample;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Requests that are looked after at the same time; more are closed unread.
const VISITORS_MAX: usize = 8;
/// Bytes of a request's head.
const REQUEST_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// How long a visitor may take for its request, and again for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a shard may take for its sample before it counts as silent.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(1);

/// Asks the shards that run for samples of themselves.
pub struct Collector {
    samples: Mutex<Receiver<(ShardId, Sample)>>,
    running: Mutex<Option<Arc<Mailboxes<Post>>>>,
}

/// What the shards said.
pub struct Collected {
    pub samples: BTreeMap<u16, Sample>,
    /// Shards that did not answer in time.
    pub silent: Vec<u16>,
}

impl Collector {
    /// The sender is for the shards.
    pub fn new() -> (Collector, Sender<(ShardId, Sample)>) {
        let (sender, receiver) = channel();
        (Collector { samples: Mutex::new(receiver), running: Mutex::new(None) }, sender)
    }

    /// These shards run from now on.
    pub fn watch(&self, mailboxes: &Arc<Mailboxes<Post>>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(mailboxes));
    }

    /// One sample of each shard; waits for them.
    fn collect(&self) -> Collected {
        // One at a time: a sample is its asker's.
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut collected = Collected { samples: BTreeMap::new(), silent: Vec::new() };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(mailboxes) = running else { return collected };
        // What came too late for the last one who asked.
        while samples.try_recv().is_ok() {}
        mailboxes.ask_all();
        let until = Instant::now() + SAMPLE_PATIENCE;
        let shards = mailboxes.shards();
        while collected.samples.len() < usize::from(shards) {
            match samples.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((shard, sample)) => drop(collected.samples.insert(shard.0, sample)),
                Err(_) => break,
            }
        }
        collected.silent = (0..shards).filter(|shard| !collected.samples.contains_key(shard)).collect();
        collected
    }
}

impl Collected {
    /// Why the node does not serve, if it does not.
    fn unready(&self) -> Option<String> {
        if let Some(reason) = self.unhealthy() {
            return Some(reason);
        }
        if self.samples.is_empty() {
            return Some("no shard runs yet".to_owned());
        }
        let starting = self.samples.iter().find(|(_, sample)| !sample.serving);
        starting.map(|(shard, _)| format!("shard {shard} does not serve yet, or no longer"))
    }

    /// Why the node is in no good state, if it is not.
    fn unhealthy(&self) -> Option<String> {
        let silent = self.silent.first();
        silent.map(|shard| format!("shard {shard} has not answered within {} s", SAMPLE_PATIENCE.as_secs()))
    }
}

/// Listens, and answers from now on. Returns the address.
pub fn serve(listen: &HostPort, collector: Arc<Collector>) -> Result<SocketAddr, String> {
    let refuse = |error: io::Error| format!("--metrics: cannot listen on {listen}: {error}");
    let addresses: Vec<SocketAddr> = (listen.host.as_str(), listen.port).to_socket_addrs().map_err(refuse)?.collect();
    let listener = TcpListener::bind(addresses.as_slice()).map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    let visitors = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        for stream in listener.incoming() {
            // Out of descriptors, or a visitor who left at once: nothing that haste would mend.
            let Ok(stream) = stream else {
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if visitors.fetch_add(1, Ordering::Relaxed) >= VISITORS_MAX {
                visitors.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (collector, count) = (Arc::clone(&collector), Arc::clone(&visitors));
            let visit = move || {
                // Whoever has gone meanwhile misses nothing.
                let _ = visit(stream, &collector);
                count.fetch_sub(1, Ordering::Relaxed);
            };
            if thread::Builder::new().name("metrics".to_owned()).spawn(visit).is_err() {
                visitors.fetch_sub(1, Ordering::Relaxed);
            }
        }
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(accept).map_err(refuse)?;
    Ok(address)
}

/// An answer: its status and what it is, and its text.
struct Answer {
    status: &'static str,
    kind: &'static str,
    text: String,
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn visit(mut stream: TcpStream, collector: &Collector) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let (answer, with_body) = match read_request(&mut stream)? {
        Ok((method, path)) if method == "GET" || method == "HEAD" => (answer(&path, collector), method == "GET"),
        Ok((method, _)) => (
            Answer { status: "405 Method Not Allowed", kind: PLAIN, text: format!("{method}: only GET is answered\n") },
            true,
        ),
        Err(reason) => (Answer { status: "400 Bad Request", kind: PLAIN, text: format!("{reason}\n") }, true),
    };
    let Answer { status, kind, text } = answer;
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if with_body {
        stream.write_all(text.as_bytes())?;
    }
    stream.shutdown(std::net::Shutdown::Write)
}

/// The method and the path of a request, or what is wrong with it.
fn read_request(stream: &mut TcpStream) -> io::Result<Result<(String, String), String>> {
    let until = Instant::now() + PATIENCE;
    let mut bytes = Vec::with_capacity(REQUEST_MAX);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(_)) => {
                let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
                return Ok(Ok((method.to_owned(), path.to_owned())));
            }
            Ok(httparse::Status::Partial) => {}
            Err(error) => return Ok(Err(format!("not an HTTP request: {error}"))),
        }
        if bytes.len() >= REQUEST_MAX {
            return Ok(Err(format!("a request's head may have {REQUEST_MAX} bytes")));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(format!("no whole request within {} s", PATIENCE.as_secs())));
        }
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 1024];
        let room = piece.len().min(REQUEST_MAX - bytes.len());
        match stream.read(&mut piece[..room])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn answer(path: &str, collector: &Collector) -> Answer {
    let judged = |reason: Option<String>| match reason {
        None => Answer { status: "200 OK", kind: PLAIN, text: "ok\n".to_owned() },
        Some(reason) => Answer { status: "503 Service Unavailable", kind: PLAIN, text: format!("{reason}\n") },
    };
    match path.split('?').next().unwrap_or_default() {
        "/metrics" => Answer { status: "200 OK", kind: text::KIND, text: text::write(&collector.collect()) },
        "/health" => judged(collector.collect().unhealthy()),
        "/ready" => judged(collector.collect().unready()),
        other => Answer {
            status: "404 Not Found",
            kind: PLAIN,
            text: format!("{other} is not here: /metrics, /health and /ready are\n"),
        },
    }
}
