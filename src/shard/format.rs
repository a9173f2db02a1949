//! What the data folder says of itself: the file `format`.
//!
//! ```text
//! version=2
//! shards=3
//! layout=1
//! cluster.id=PqYvZ0IbTqmCq3WzUZ7T5w
//! check=1c291ca3
//! ```
//!
//! Text, one `key=value` a line; `check` is the CRC-32 of the lines before it, in hexadecimal digits. `layout` counts the
//! times that the number of shards was set: the folders of the shards lie in `layout-1`, then in `layout-2` and so on.
//!
//! Invariant: it is only ever replaced whole, by a durable rename, and a flipped bit in it is seen before it is believed:
//! with a wrong number of shards whole journals would be passed over.

use alloc::format;
use alloc::string::{String, ToString};

pub const FORMAT: &str = "format";
const VERSION: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub shards: u16,
    pub layout: u64,
    pub cluster_id: String,
}

impl Format {
    pub fn encode(&self) -> String {
        let Format { shards, layout, cluster_id } = self;
        let text = format!("version={VERSION}\nshards={shards}\nlayout={layout}\ncluster.id={cluster_id}\n");
        let check = crc32fast::hash(text.as_bytes());
        text + &format!("check={check:08x}\n")
    }

    /// What the bytes say, or why they are not believed.
    pub fn decode(bytes: &[u8]) -> Result<Format, String> {
        let text = core::str::from_utf8(bytes).map_err(|_| format!("{FORMAT}: not the text that Highwater writes"))?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let lacks = |what: &str| format!("{FORMAT}: no {what} in it");
        let version = value("version").ok_or_else(|| lacks("version"))?;
        if version != VERSION.to_string() {
            return Err(format!(
                "{FORMAT}: the data folder has format version {version}, this program reads {VERSION}"
            ));
        }
        let checked = text.find("check=").ok_or_else(|| lacks("checksum"))?;
        if text[checked..] != format!("check={:08x}\n", crc32fast::hash(&bytes[..checked])) {
            return Err(format!("{FORMAT}: its checksum fails: it is not what Highwater wrote"));
        }
        Ok(Format {
            shards: value("shards").and_then(|text| text.parse().ok()).ok_or_else(|| lacks("number of shards"))?,
            layout: value("layout").and_then(|text| text.parse().ok()).ok_or_else(|| lacks("layout"))?,
            cluster_id: value("cluster.id").map(String::from).ok_or_else(|| lacks("cluster id"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn what_is_written_is_read_and_no_flipped_bit_is_believed() {
        let format = Format { shards: 3, layout: 2, cluster_id: String::from("PqYvZ0IbTqmCq3WzUZ7T5w") };
        let text = format.encode();
        assert_eq!(Format::decode(text.as_bytes()), Ok(format));
        for bit in 0..text.len() * 8 {
            let mut bad = Vec::from(text.as_bytes());
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Format::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_release_is_named_with_its_version() {
        let refusal = Format::decode(b"version=9\nshards=1\n").expect_err("refused");
        assert!(refusal.contains("has format version 9, this program reads 2"), "{refusal}");
    }
}
