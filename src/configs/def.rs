//! What one configuration is: its name, type, default and rule; how its text becomes a value.
//!
//! Values are kept as the text that was given and read again where they are used; nothing is stored here.
//! Invariant: [`Def::read`] is the only judge of a value, and its messages are those of Kafka's `ConfigDef`.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::{fmt, slice};

/// A configuration's type. The numbers are those of DescribeConfigs' `ConfigType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
}

impl Kind {
    /// As Kafka spells it in its messages.
    fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
        }
    }
}

/// Which values of its type a configuration takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Any,
    AtLeast(i64),
    /// Both bounds belong to it.
    Between(i64, i64),
    /// Between the first two, or equal to the third.
    BetweenOr(i64, i64, i64),
    /// Unlimited (negative) or at least 1: a retention of nothing would empty every topic.
    NotZero,
    /// The text, or each entry of the list.
    OneOf(&'static [&'static str]),
    /// `*`, or entries `partition:broker`.
    Replicas,
    /// Nothing, or entries `address:count`.
    PerAddress,
    /// Told by the command line (the named flag), never by a configuration file.
    Flag(&'static str),
}

/// A broker configuration that gives a topic configuration its default. `scale` brings its unit to the topic's:
/// `log.retention.hours` has 3,600,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    pub scale: i64,
}

/// One configuration, of topics or of brokers.
#[derive(Clone, Copy, Debug)]
pub struct Def {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: not set unless someone sets it.
    pub default: Option<&'static str>,
    pub rule: Rule,
    /// For topic configurations: where the default comes from, the first that is set wins.
    pub synonyms: &'static [Synonym],
    /// Accepted, but not shown (`internal.segment.bytes`).
    pub internal: bool,
    pub docs: &'static str,
}

/// A value, read from its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Text(String),
    /// Int, Short and Long.
    Number(i64),
    /// A ratio. Read here and turned into parts per million at once; nothing computes with it.
    Double(f64),
    List(Vec<String>),
}

impl Def {
    /// Reads and checks a value. The error is Kafka's: "Invalid value X for configuration Y: reason".
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let value = self.parse(text)?;
        self.check(&value).map_err(|(shown, reason)| self.invalid(&shown, &reason))?;
        Ok(value)
    }

    /// The value in the one spelling that DescribeConfigs shows: ` 5 ` is `5`, `TRUE` is `true`.
    ///
    /// Panics on a value that [`Def::read`] refuses: it was checked before it was stored.
    pub fn canonical(&self, text: &str) -> String {
        self.must_read(text).to_string()
    }

    /// Reads a value that was checked before it was stored.
    pub fn must_read(&self, text: &str) -> Value {
        match self.read(text) {
            Ok(value) => value,
            Err(reason) => panic!("a stored configuration was checked before: {reason}"),
        }
    }

    fn invalid(&self, shown: &str, reason: &str) -> String {
        format!("Invalid value {shown} for configuration {}: {reason}", self.name)
    }

    fn parse(&self, text: &str) -> Result<Value, String> {
        let trimmed = text.trim();
        let not_a_number = || self.invalid(text, &format!("Not a number of type {}", self.kind.name()));
        Ok(match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Kind::Boolean => return Err(self.invalid(text, "Expected value to be either true or false")),
            Kind::String => Value::Text(trimmed.to_owned()),
            Kind::Short => Value::Number(i64::from(trimmed.parse::<i16>().map_err(|_| not_a_number())?)),
            Kind::Int => Value::Number(i64::from(trimmed.parse::<i32>().map_err(|_| not_a_number())?)),
            Kind::Long => Value::Number(trimmed.parse::<i64>().map_err(|_| not_a_number())?),
            Kind::Double => {
                let number = trimmed.parse::<f64>().map_err(|_| not_a_number())?;
                // Kafka lets NaN through, because it compares as neither too small nor too large.
                Value::Double(if number.is_nan() { return Err(not_a_number()) } else { number })
            }
            Kind::List => Value::List(list(trimmed)),
        })
    }

    /// `Err` is the value as it is shown, and the reason.
    fn check(&self, value: &Value) -> Result<(), (String, String)> {
        match self.rule {
            Rule::Any => Ok(()),
            Rule::AtLeast(min) => in_range(value, min, i64::MAX),
            Rule::Between(min, max) => in_range(value, min, max),
            Rule::BetweenOr(min, max, also) => match in_range(value, min, max) {
                Err(_) if *value != Value::Number(also) => {
                    Err((shown(value), format!("Value must be between {min} and {max} or equal to {also}")))
                }
                Ok(()) | Err(_) => Ok(()),
            },
            Rule::NotZero if *value == Value::Number(0) => {
                Err((shown(value), "Value must be unlimited (-1) or at least 1".to_owned()))
            }
            Rule::NotZero => Ok(()),
            Rule::OneOf(allowed) => value.texts().iter().try_for_each(|text| one_of(allowed, text)),
            Rule::Replicas => self.check_replicas(value.texts()),
            Rule::PerAddress => check_per_address(value.texts()),
            Rule::Flag(flag) => Err((shown(value), format!("it is set by {flag}, not in the broker's configuration"))),
        }
    }

    fn check_replicas(&self, entries: &[String]) -> Result<(), (String, String)> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let pair = |entry: &String| entry.split_once(':').is_some_and(|(left, right)| digits(left) && digits(right));
        if entries == ["*"] || entries.iter().all(pair) {
            return Ok(());
        }
        let reason = format!(
            "{} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            self.name
        );
        Err((format!("[{}]", entries.join(", ")), reason))
    }
}

fn check_per_address(texts: &[String]) -> Result<(), (String, String)> {
    match texts.iter().find(|text| address_counts(text).is_none()) {
        None => Ok(()),
        Some(text) => {
            let reason = "It must be a list of addresses (no names of hosts) in the following format: \
                          address:count,address:count,...";
            Err((text.clone(), reason.to_owned()))
        }
    }
}

/// Addresses and a count for each: `address:count` between commas. `None` where it is not that.
pub fn address_counts(text: &str) -> Option<Vec<(IpAddr, u32)>> {
    let pair = |entry: &str| {
        let (address, count) = entry.rsplit_once(':')?;
        let bare = address.trim().trim_start_matches('[').trim_end_matches(']');
        Some((bare.parse().ok()?, count.trim().parse().ok()?))
    };
    list(text.trim()).iter().map(|entry| pair(entry)).collect()
}

impl Value {
    /// The text, or the entries of the list.
    fn texts(&self) -> &[String] {
        match self {
            Value::Text(text) => slice::from_ref(text),
            Value::List(entries) => entries,
            Value::Boolean(_) | Value::Number(_) | Value::Double(_) => &[],
        }
    }
}

/// As DescribeConfigs shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Number(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::List(entries) => f.write_str(&entries.join(",")),
        }
    }
}

/// As Kafka's messages show it: a list as Java prints one.
fn shown(value: &Value) -> String {
    match value {
        Value::List(entries) => format!("[{}]", entries.join(", ")),
        Value::Boolean(_) | Value::Text(_) | Value::Number(_) | Value::Double(_) => value.to_string(),
    }
}

/// Entries between commas, without the blanks around them and without repeats. Nothing at all is the empty list.
fn list(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    if text.is_empty() {
        return entries;
    }
    for entry in text.split(',').map(str::trim) {
        if !entries.iter().any(|seen| seen == entry) {
            entries.push(entry.to_owned());
        }
    }
    entries
}

fn one_of(allowed: &[&str], text: &str) -> Result<(), (String, String)> {
    if allowed.contains(&text) {
        return Ok(());
    }
    Err((text.to_owned(), format!("String must be one of: {}", allowed.join(", "))))
}

fn in_range(value: &Value, min: i64, max: i64) -> Result<(), (String, String)> {
    let (below, above) = match value {
        Value::Number(number) => (*number < min, *number > max),
        // Bounds of ratios are 0 and 1, so the conversion is exact.
        Value::Double(number) => (*number < min as f64, *number > max as f64),
        Value::Boolean(_) | Value::Text(_) | Value::List(_) => (false, false),
    };
    if below {
        return Err((shown(value), format!("Value must be at least {min}")));
    }
    if above {
        return Err((shown(value), format!("Value must be no more than {max}")));
    }
    Ok(())
}
