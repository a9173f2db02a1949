//! What the broker is told: flags, then environment, then file, then defaults.
//!
//! Everything is checked here, before a folder or a socket is touched; a refusal names the value, where it came from
//! and what is allowed.

use crate::address::HostPort;
use crate::file::ConfigFile;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

const DEFAULT_LISTEN: &str = "127.0.0.1:9092";
const DEFAULT_DATA: &str = "./highwater-data";
const DEFAULT_MEMORY: &str = "512MB";
const DEFAULT_NODE: i32 = 1;

/// The flags of `highwater serve`. Each is also an environment variable, and the first ones a key of the file.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Where to listen: HOST:PORT, several separated by commas or by repeating the flag; port 0 takes a free one
    /// [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT", env = "HIGHWATER_LISTEN", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Where clients are told to connect [default: the first --listen]
    #[arg(long, value_name = "HOST:PORT", env = "HIGHWATER_ADVERTISE")]
    pub advertise: Option<String>,
    /// The data folder, made if it is missing [default: ./highwater-data]
    #[arg(long, value_name = "FOLDER", env = "HIGHWATER_DATA")]
    pub data: Option<PathBuf>,
    /// Threads, each with its share of the partitions [default: as many as the data folder has, or the cores]
    #[arg(long, value_name = "N", env = "HIGHWATER_SHARDS")]
    pub shards: Option<String>,
    /// The most memory that the process takes: 512MB, 1GiB or a number of bytes [default: 512MB]
    #[arg(long, value_name = "SIZE", env = "HIGHWATER_MEMORY")]
    pub memory: Option<String>,
    /// This broker's node.id [default: 1]
    #[arg(long, value_name = "ID", env = "HIGHWATER_NODE_ID")]
    pub node_id: Option<String>,
    /// A TOML file with any of listen, advertise, data, shards, memory, and broker configurations under Kafka's names
    #[arg(long, value_name = "FILE", env = "HIGHWATER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where Prometheus reads metrics, with /health and /ready beside them, for example 127.0.0.1:9644 [default: nowhere]
    #[arg(long, value_name = "HOST:PORT", env = "HIGHWATER_METRICS")]
    pub metrics: Option<String>,
    /// What is logged to stderr: error, warn, info, debug, trace or off [default: info]
    #[arg(long, value_name = "LEVEL", env = "HIGHWATER_LOG")]
    pub log: Option<String>,
    /// How it is logged: text, or json, an object a line [default: text]
    #[arg(long, value_name = "FORMAT", env = "HIGHWATER_LOG_FORMAT")]
    pub log_format: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listen: Vec<HostPort>,
    pub advertise: Option<HostPort>,
    pub data: PathBuf,
    /// As told; the data folder or the machine decides otherwise.
    pub shards: Option<u16>,
    pub memory_bytes: u64,
    pub metrics: Option<HostPort>,
    pub node: i32,
    /// Broker configurations of the file, checked.
    pub broker: BTreeMap<String, String>,
}

impl Settings {
    pub fn resolve(args: &ServeArgs) -> Result<Settings, String> {
        let file = args.config.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
        let listen = if !args.listen.is_empty() {
            addresses("--listen", &args.listen)?
        } else if !file.listen.is_empty() {
            addresses("listen", &file.listen)?
        } else {
            addresses("--listen", &[DEFAULT_LISTEN.to_owned()])?
        };
        let advertise = match (&args.advertise, &file.advertise) {
            (Some(text), _) => Some(advertised("--advertise", text)?),
            (None, Some(text)) => Some(advertised("advertise", text)?),
            (None, None) => None,
        };
        if let (None, Some(wildcard)) = (&advertise, listen.iter().find(|address| address.is_wildcard())) {
            return Err(refuse_wildcard(wildcard));
        }
        let shards = args.shards.as_deref().or(file.shards.as_deref()).map(shard_count).transpose()?;
        let memory = args.memory.as_deref().or(file.memory.as_deref()).unwrap_or(DEFAULT_MEMORY);
        let metrics = match (&args.metrics, &file.metrics) {
            (Some(text), _) => addresses("--metrics", std::slice::from_ref(text))?.pop(),
            (None, Some(text)) => addresses("metrics", std::slice::from_ref(text))?.pop(),
            (None, None) => None,
        };
        let node = args.node_id.as_deref().or(file.node_id.as_deref()).map(node_id).transpose()?;
        Ok(Settings {
            listen,
            advertise,
            data: args.data.clone().or(file.data).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA)),
            shards,
            memory_bytes: memory_size(memory)?,
            metrics,
            node: node.unwrap_or(DEFAULT_NODE),
            broker: file.broker,
        })
    }
}

fn addresses(name: &str, texts: &[String]) -> Result<Vec<HostPort>, String> {
    texts.iter().map(|text| text.trim().parse().map_err(|reason| format!("{name}: {reason}"))).collect()
}

fn advertised(name: &str, text: &str) -> Result<HostPort, String> {
    let address: HostPort = text.trim().parse().map_err(|reason| format!("{name}: {reason}"))?;
    if address.is_wildcard() || address.port == 0 {
        return Err(format!(
            "{name}: no client can connect to {address}: it takes a host and a port that they can reach"
        ));
    }
    Ok(address)
}

fn refuse_wildcard(listen: &HostPort) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let port = if listen.port == 0 { 9092 } else { listen.port };
    format!(
        "--listen {listen} takes connections on every address of this machine, so clients must be told which one is for \
         them: add --advertise HOST:PORT, for example --advertise {host}:{port}"
    )
}

fn shard_count(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(shards @ 1..=1024) => Ok(shards),
        Ok(_) | Err(_) => Err(format!("--shards: {text:?} is not a number from 1 to 1024")),
    }
}

fn node_id(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(node @ 0..) => Ok(node),
        Ok(_) | Err(_) => Err(format!("--node-id: {text:?} is not a number from 0 to {}", i32::MAX)),
    }
}

/// `512MB`, `1GiB`, `64 mb` or bytes. Units without an `i` are powers of ten.
fn memory_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("--memory: {text:?} is not a size: write 512MB, 1GiB or a number of bytes");
    let text = text.trim();
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000 * 1000,
        "g" | "gb" => 1000 * 1000 * 1000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return Err(refuse()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ServeArgs {
        ServeArgs::default()
    }

    fn refusal(args: &ServeArgs) -> String {
        Settings::resolve(args).expect_err("it should be refused")
    }

    #[test]
    fn without_flags_the_defaults_hold() {
        let settings = Settings::resolve(&args()).expect("resolved");
        assert_eq!(settings.listen, ["127.0.0.1:9092".parse().expect("an address")]);
        assert_eq!((settings.advertise, settings.shards), (None, None));
        assert_eq!(settings.data, PathBuf::from("./highwater-data"));
        assert_eq!((settings.memory_bytes, settings.node), (512_000_000, 1));
        assert!(settings.broker.is_empty());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("highwater.toml");
        let text = "listen = ['[::1]:1', 'localhost:2']\nadvertise = 'a:3'\ndata = '/d'\nshards = 5\nmemory = '1GiB'\n\
                    node.id = 7\nnum.partitions = 4\n\"auto.create.topics.enable\" = false\n";
        std::fs::write(&path, text).expect("written");
        let mut args = ServeArgs { config: Some(path), ..args() };
        let settings = Settings::resolve(&args).expect("resolved");
        let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["[::1]:1", "localhost:2"]);
        assert_eq!(settings.advertise.expect("told").to_string(), "a:3");
        assert_eq!((settings.data, settings.shards), (PathBuf::from("/d"), Some(5)));
        assert_eq!((settings.memory_bytes, settings.node), (1 << 30, 7));
        let broker: Vec<_> = settings.broker.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(broker, ["auto.create.topics.enable=false", "num.partitions=4"]);
        args.shards = Some("2".to_owned());
        args.listen = vec!["h:1".to_owned()];
        let settings = Settings::resolve(&args).expect("resolved");
        assert_eq!((settings.shards, settings.listen.len()), (Some(2), 1));
    }

    #[test]
    fn a_wildcard_needs_an_advertised_address() {
        let mut args = ServeArgs { listen: vec!["127.0.0.1:1".to_owned(), "0.0.0.0:9093".to_owned()], ..args() };
        let message = refusal(&args);
        assert!(message.starts_with("--listen 0.0.0.0:9093 takes connections on every address"), "{message}");
        assert!(message.contains("add --advertise HOST:PORT, for example --advertise ") && message.ends_with(":9093"));
        args.advertise = Some("[::]:9093".to_owned());
        assert!(refusal(&args).contains("no client can connect to [::]:9093"));
        args.advertise = Some("broker.example:9093".to_owned());
        Settings::resolve(&args).expect("resolved");
    }

    #[test]
    fn sizes_are_read_in_both_units() {
        for (text, bytes) in [
            ("512MB", 512_000_000),
            ("512 mib", 512 << 20),
            ("2GiB", 2 << 30),
            ("100000000", 100_000_000),
            ("64k", 64_000),
        ] {
            assert_eq!(memory_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "1.5GB", "-1", "1TB", "99999999999999999999", "18446744073709551615GB"] {
            assert!(memory_size(text).expect_err(text).contains("write 512MB, 1GiB or a number of bytes"));
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for text in ["0", "1025", "two", "-1"] {
            let message = refusal(&ServeArgs { shards: Some(text.to_owned()), ..args() });
            assert_eq!(message, format!("--shards: {text:?} is not a number from 1 to 1024"));
        }
        let message = refusal(&ServeArgs { node_id: Some("-1".to_owned()), ..args() });
        assert_eq!(message, "--node-id: \"-1\" is not a number from 0 to 2147483647");
    }
}
