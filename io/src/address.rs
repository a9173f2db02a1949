//! Addresses as people write them: `HOST:PORT`, with an IPv6 address in brackets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl HostPort {
    /// Stands for every address of the machine: one can listen on it, but not connect to it from elsewhere.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let refuse = |reason: &str| Err(format!("{text:?} is not HOST:PORT: {reason}"));
        if text.contains("://") {
            return refuse("write it without the protocol");
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once("]:") {
                Some((host, port)) => (host, port),
                None => return refuse("an IPv6 address is written [::1]:9092"),
            },
            None => match text.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => return refuse("an IPv6 address is written [::1]:9092"),
                Some((host, port)) => (host, port),
                None => return refuse("the port is missing, as in localhost:9092"),
            },
        };
        if host.is_empty() {
            return refuse("the host is missing, as in localhost:9092, or 0.0.0.0:9092 for every address");
        }
        match port.parse() {
            Ok(port) => Ok(HostPort { host: host.to_owned(), port }),
            Err(_) => refuse("the port is a number from 0 to 65535"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for (text, host, port) in
            [("127.0.0.1:9092", "127.0.0.1", 9092), ("localhost:0", "localhost", 0), ("[::1]:65535", "::1", 65535)]
        {
            let address: HostPort = text.parse().expect(text);
            assert_eq!(address, HostPort { host: host.to_owned(), port });
            assert_eq!(address.to_string(), text);
            assert!(!address.is_wildcard());
        }
        for text in ["0.0.0.0:9092", "[::]:9092"] {
            assert!(text.parse::<HostPort>().expect(text).is_wildcard());
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("9092", "the port is missing"),
            (":9092", "the host is missing"),
            ("::1:9092", "written [::1]:9092"),
            ("[::1]", "written [::1]:9092"),
            ("localhost:", "a number from 0 to 65535"),
            ("localhost:65536", "a number from 0 to 65535"),
            ("PLAINTEXT://localhost:9092", "without the protocol"),
        ] {
            let message = text.parse::<HostPort>().expect_err(text);
            assert!(message.contains(reason) && message.contains(text), "{message}");
        }
    }
}
