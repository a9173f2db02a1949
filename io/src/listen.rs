//! Listening sockets: for each address one socket per shard. The kernel draws lots between them; whoever takes a connection
//! gives it to the shard that has the fewest (`driver::conns`).

use crate::address::HostPort;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// How long an address may be in use before we give up. The kernel closes the listeners of a process that was killed a
/// few milliseconds after it is gone, with its rings; whoever starts us again at once must not be refused for that.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(1) };

/// What all shards listen on.
pub struct Listeners {
    /// By shard, its sockets: one for each address, in the same order.
    pub by_shard: Vec<Vec<OwnedFd>>,
    pub addresses: Vec<SocketAddr>,
}

/// Binds every address behind `listen`. Port 0 becomes the same free port for all addresses of a name.
pub fn open(listen: &[HostPort], shards: u16) -> Result<Listeners, String> {
    let mut all = Listeners { by_shard: (0..shards).map(|_| Vec::new()).collect(), addresses: Vec::new() };
    for wanted in listen {
        open_one(wanted, &mut all)?;
    }
    Ok(all)
}

fn open_one(wanted: &HostPort, all: &mut Listeners) -> Result<(), String> {
    let resolved = (wanted.host.as_str(), wanted.port).to_socket_addrs();
    let mut found: Vec<SocketAddr> = resolved.map_err(|error| format!("cannot listen on {wanted}: {error}"))?.collect();
    // The resolver may name an address once for each kind of socket.
    found.sort_by_key(|address| !address.is_ipv4());
    found.dedup();
    let mut port = wanted.port;
    let mut failure = None;
    let before = all.addresses.len();
    for mut address in found {
        address.set_port(port);
        match open_patiently(address, all) {
            Ok(bound) => {
                port = bound.port();
                all.addresses.push(bound);
            }
            // `localhost` names ::1 where there is no IPv6, too: one address that works is enough.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => failure = Some((address, error)),
            Err(error) => return Err(refusal(address, &error)),
        }
    }
    match failure {
        Some((address, error)) if all.addresses.len() == before => Err(refusal(address, &error)),
        Some(_) | None => Ok(()),
    }
}

fn refusal(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: another process does; name another port with --listen, or port 0 for a free one"
        ),
        io::ErrorKind::AddrNotAvailable => format!("cannot listen on {address}: this machine has no such address"),
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: not permitted (ports below 1024 need a privilege)")
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}

fn open_patiently(address: SocketAddr, all: &mut Listeners) -> io::Result<SocketAddr> {
    let began = Instant::now();
    loop {
        match open_address(address, all) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < PATIENCE => {
                // What an attempt has opened for some shards is opened anew for all.
                let whole = all.addresses.len();
                all.by_shard.iter_mut().for_each(|sockets| sockets.truncate(whole));
                thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

fn open_address(mut address: SocketAddr, all: &mut Listeners) -> io::Result<SocketAddr> {
    let shared = all.by_shard.len() > 1;
    if shared {
        // Sockets that share a port would share it with another process of the same user, too, and each would get some
        // of the connections: a socket that does not share finds out whether somebody is there. The port stays ours
        // until the first sharing socket has it, but for a moment.
        let probe = bound_socket(address, false)?;
        address = local_address(&probe)?;
    }
    for sockets in &mut all.by_shard {
        let socket = bound_socket(address, shared)?;
        listen(&socket, BACKLOG)?;
        address = local_address(&socket)?;
        sockets.push(socket);
    }
    Ok(address)
}

fn bound_socket(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_reuseport(&socket, shared)?;
    // Accepted sockets inherit it: answers go out at once.
    set_tcp_nodelay(&socket, true)?;
    if address.is_ipv6() {
        // [::] means every address, those of IPv4 too, whatever the machine's default is.
        set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(getsockname(socket)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn address(text: &str) -> Vec<HostPort> {
        vec![text.parse().expect(text)]
    }

    #[test]
    fn port_0_is_the_same_free_port_for_every_shard() {
        let listeners = open(&address("127.0.0.1:0"), 3).expect("open");
        assert_eq!((listeners.addresses.len(), listeners.by_shard.len()), (1, 3));
        assert_ne!(listeners.addresses[0].port(), 0);
        for _ in 0..20 {
            TcpStream::connect(listeners.addresses[0]).expect("connect");
        }
    }

    #[test]
    fn a_port_in_use_is_refused_whether_shards_share_it_or_not() {
        for shards in [1, 2] {
            let first = open(&address("127.0.0.1:0"), shards).expect("open");
            let again = vec![HostPort { host: "127.0.0.1".to_owned(), port: first.addresses[0].port() }];
            for others in [1, 2] {
                let message = open(&again, others).err().expect("it is in use");
                assert!(message.contains("another process does"), "{message}");
            }
        }
    }

    #[test]
    fn a_name_listens_on_all_its_addresses_with_one_port() {
        let listeners = open(&address("localhost:0"), 1).expect("open");
        assert!(listeners.addresses.iter().any(|address| address.is_ipv4()));
        assert!(listeners.addresses.iter().all(|address| address.port() == listeners.addresses[0].port()));
        assert_eq!(listeners.by_shard[0].len(), listeners.addresses.len());
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let message = open(&address("192.0.2.1:0"), 1).err().expect("not ours");
        assert_eq!(message, "cannot listen on 192.0.2.1:0: this machine has no such address");
    }
}
