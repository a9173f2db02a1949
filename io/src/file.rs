//! The configuration file: TOML, with our own keys and broker configurations under Kafka's names.
//!
//! `num.partitions = 4` and `"num.partitions" = 4` mean the same. A key that nobody knows is refused with the name
//! that is nearest to it: a misspelt setting must not be a silent default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Our own keys; all others are Kafka's.
const OWN: [&str; 7] = ["advertise", "data", "listen", "memory", "metrics", "node.id", "shards"];

/// What a file says, as text. Empty where there is no file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    pub listen: Vec<String>,
    pub advertise: Option<String>,
    pub data: Option<PathBuf>,
    pub shards: Option<String>,
    pub memory: Option<String>,
    pub metrics: Option<String>,
    pub node_id: Option<String>,
    pub broker: BTreeMap<String, String>,
}

impl ConfigFile {
    pub fn read(path: &Path) -> Result<ConfigFile, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        ConfigFile::parse(&text).map_err(|reason| format!("{}: {}", path.display(), reason.trim_end()))
    }

    fn parse(text: &str) -> Result<ConfigFile, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut values = BTreeMap::new();
        flatten("", table, &mut values)?;
        let mut file = ConfigFile::default();
        for (name, value) in values {
            file.set(name, value)?;
        }
        Ok(file)
    }

    fn set(&mut self, name: String, value: Value) -> Result<(), String> {
        if name == "listen" {
            self.listen = match value {
                Value::Array(values) => {
                    values.into_iter().map(|value| scalar(&name, value)).collect::<Result<_, _>>()?
                }
                value => scalar(&name, value)?.split(',').map(str::to_owned).collect(),
            };
            return Ok(());
        }
        let value = match value {
            Value::Array(values) if !OWN.contains(&name.as_str()) => {
                let texts: Result<Vec<_>, _> = values.into_iter().map(|value| scalar(&name, value)).collect();
                texts?.join(",")
            }
            value => scalar(&name, value)?,
        };
        match name.as_str() {
            "advertise" => self.advertise = Some(value),
            "data" => self.data = Some(PathBuf::from(value)),
            "shards" => self.shards = Some(value),
            "memory" => self.memory = Some(value),
            "metrics" => self.metrics = Some(value),
            "node.id" => self.node_id = Some(value),
            _ => {
                check_broker_key(&name, &value)?;
                self.broker.insert(name, value);
            }
        }
        Ok(())
    }
}

/// Undoes TOML's reading of dots.
fn flatten(prefix: &str, table: Table, values: &mut BTreeMap<String, Value>) -> Result<(), String> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(table) => flatten(&name, table, values)?,
            value => {
                if values.insert(name.clone(), value).is_some() {
                    return Err(format!("{name} is set twice"));
                }
            }
        }
    }
    Ok(())
}

fn scalar(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err(format!("{name} is a string, a number or true or false, not {value}"))
        }
    }
}

/// Checks a broker configuration by Kafka's rules.
fn check_broker_key(name: &str, value: &str) -> Result<(), String> {
    if highwater::configs::broker_def(name).is_some() {
        return highwater::configs::check_broker(name, value);
    }
    let known = OWN.into_iter().chain(highwater::configs::BROKER.iter().map(|def| def.name));
    let nearest = known.min_by_key(|known| distance(name, known)).expect("some names are known");
    Err(format!("{name} is not a setting: did you mean {nearest}?"))
}

/// How many letters must be inserted, deleted or changed to get from one to the other (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut corner = line;
        row[0] = line + 1;
        for (place, other) in to.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = row[place + 1];
            row[place + 1] = change.min(corner + 1).min(row[place] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        ConfigFile::parse(text).expect_err("it should be refused")
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest() {
        assert_eq!(refusal("num.partition = 4"), "num.partition is not a setting: did you mean num.partitions?");
        assert_eq!(refusal("listeen = 'a:1'"), "listeen is not a setting: did you mean listen?");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_name() {
        let message = refusal("num.partitions = 0");
        assert!(message.contains("num.partitions") && message.contains('0'), "{message}");
        assert!(refusal("num.partitions = 2026-01-01").starts_with("num.partitions is a string, a number or"));
        assert!(refusal("shards = [1]").starts_with("shards is a string, a number or"));
    }

    #[test]
    fn a_key_in_both_spellings_is_refused() {
        let message = refusal("\"num.partitions\" = 1\nnum.partitions = 2");
        assert_eq!(message, "num.partitions is set twice");
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let message = refusal("num.partitions = 4\nauto.create.topics.enable: true\n");
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn tables_and_lists_are_kafkas_names_and_lists() {
        let file =
            ConfigFile::parse("listen = 'a:1,b:2'\n[log]\nretention.ms = 100\ncleanup.policy = ['compact', 'delete']")
                .expect("parsed");
        assert_eq!(file.listen, ["a:1", "b:2"]);
        let broker: Vec<_> = file.broker.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(broker, ["log.cleanup.policy=compact,delete", "log.retention.ms=100"]);
    }

    #[test]
    fn distances_count_letters() {
        for (from, to, letters) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(from, to), letters, "{from} {to}");
        }
    }
}
