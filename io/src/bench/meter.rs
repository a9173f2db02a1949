//! What a run measures: answers, bytes, errors, latencies; and the report of it, for people and as JSON.
//!
//! Nothing is hidden: an answer that is an error is counted by its code, and is neither throughput nor latency.

use super::wire::describe_error;
use crate::process::{Process, own_cpu};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// Counts from the end of the warm-up.
pub struct Meter {
    begin: Instant,
    /// The end of the window, once it is over; later answers count for latency and CPU, not for throughput.
    end: Option<Instant>,
    latencies_us: Histogram<u64>,
    pub requests: u64,
    pub records: u64,
    pub bytes: u64,
    bytes_after_end: u64,
    /// Requests of a fixed rate that were due and had not even been sent at the end: the broker does not keep up.
    pub overdue: u64,
    /// Error code -> how often, warm-up included.
    pub errors: BTreeMap<i16, u64>,
    /// Connections lost, answers never got, damaged batches: whatever has no error code.
    pub failures: Vec<String>,
    own_cpu: Duration,
    own_cpu_used: Duration,
    broker: Option<(Process, Duration)>,
    broker_used: Option<BrokerUsed>,
}

/// What the broker took, its rest included.
struct BrokerUsed {
    cpu: Duration,
    peak_bytes: u64,
    at_rest: bool,
}

impl Meter {
    pub fn begin(broker: Option<Process>) -> io::Result<Meter> {
        let broker = broker.map(|process| {
            process.forget_peak();
            process.cpu().map(|cpu| (process, cpu))
        });
        Ok(Meter {
            begin: Instant::now(),
            end: None,
            latencies_us: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds"),
            requests: 0,
            records: 0,
            bytes: 0,
            bytes_after_end: 0,
            overdue: 0,
            errors: BTreeMap::new(),
            failures: Vec::new(),
            own_cpu: own_cpu(),
            own_cpu_used: Duration::ZERO,
            broker: broker.transpose()?,
            broker_used: None,
        })
    }

    /// The warm-up is over: everything but the errors begins anew.
    pub fn restart(&mut self) -> io::Result<()> {
        let errors = std::mem::take(&mut self.errors);
        let failures = std::mem::take(&mut self.failures);
        *self = Meter { errors, failures, ..Meter::begin(self.broker.map(|(process, _)| process))? };
        Ok(())
    }

    /// The window is over.
    pub fn finish(&mut self) {
        self.end = Some(Instant::now());
        self.own_cpu_used = own_cpu() - self.own_cpu;
    }

    /// A request that was due at `due` has its answer: so many records and bytes without an error.
    pub fn answer(&mut self, due: Instant, now: Instant, records: u64, bytes: u64) {
        if due >= self.begin && bytes > 0 {
            let waited = u64::try_from((now - due).as_micros()).unwrap_or(u64::MAX);
            self.latencies_us.saturating_record(waited.max(1));
        }
        if self.end.is_some() {
            self.bytes_after_end += bytes;
            return;
        }
        self.requests += 1;
        self.records += records;
        self.bytes += bytes;
    }

    pub fn error(&mut self, code: i16) {
        *self.errors.entry(code).or_default() += 1;
    }

    pub fn failed(&self) -> bool {
        !self.errors.is_empty() || !self.failures.is_empty()
    }

    /// Waits for the broker to come to rest, where it is known: what it does later is part of what it cost.
    pub fn settle(&mut self) -> io::Result<()> {
        if let Some((process, before)) = self.broker {
            let at_rest = process.settle(SETTLE_LIMIT)?;
            let cpu = process.cpu()? - before;
            self.broker_used = Some(BrokerUsed { cpu, peak_bytes: process.peak_bytes()?, at_rest });
        }
        Ok(())
    }

    /// Sums up, below the settings of the run.
    pub fn report(&self, settings: Vec<Line>) -> io::Result<Report> {
        let end = self.end.expect("a report follows the window's end");
        let seconds = (end - self.begin).as_secs_f64();
        let mut lines = settings;
        lines.push(Line::number("window", seconds, "s"));
        lines.push(Line::number("throughput", self.bytes as f64 / seconds / 1e6, "MB/s"));
        lines.push(Line::number("requests", self.requests as f64 / seconds, "per s"));
        lines.push(Line::number("records", self.records as f64 / seconds, "per s"));
        lines.push(Line::number("bytes", self.bytes as f64, ""));
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let ms = self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0;
            lines.push(Line::number(&format!("latency {name}"), ms, "ms"));
        }
        let own = self.own_cpu_used.as_secs_f64();
        lines.push(Line::number("generator cpu", own / seconds, "cores"));
        if let Some(used) = &self.broker_used {
            let cpu = used.cpu.as_secs_f64();
            let gib = (self.bytes + self.bytes_after_end) as f64 / (1u64 << 30) as f64;
            lines.push(Line::number("broker cpu", cpu, "s"));
            lines.push(Line::number("broker cpu per GiB", if gib > 0.0 { cpu / gib } else { 0.0 }, "s"));
            lines.push(Line::number("broker peak memory", used.peak_bytes as f64 / 1e6, "MB"));
            lines.push(Line::text("broker at rest", if used.at_rest { "yes" } else { "no, after a minute" }));
        }
        if self.overdue > 0 {
            lines.push(Line::number("overdue at the end", self.overdue as f64, "requests"));
        }
        lines.push(Line::number("errors", self.errors.values().sum::<u64>() as f64 + self.failures.len() as f64, ""));
        for (code, count) in &self.errors {
            lines.push(Line::number(&describe_error(*code), *count as f64, ""));
        }
        lines.extend(self.failures.iter().map(|failure| Line::text("failure", failure)));
        Ok(Report(lines))
    }
}

/// A name and what was found.
pub struct Line {
    name: String,
    value: Value,
}

enum Value {
    Number(f64, &'static str),
    Text(String),
}

impl Line {
    pub fn number(name: &str, value: f64, unit: &'static str) -> Line {
        Line { name: name.to_string(), value: Value::Number(value, unit) }
    }

    pub fn text(name: &str, value: &str) -> Line {
        Line { name: name.to_string(), value: Value::Text(value.to_string()) }
    }
}

/// Lines in their order.
pub struct Report(Vec<Line>);

impl Report {
    pub fn table(&self) -> String {
        let mut table = String::new();
        for Line { name, value } in &self.0 {
            match value {
                Value::Number(number, unit) if number.fract() == 0.0 => {
                    writeln!(table, "{name:<22}{number:>14.0} {unit}")
                }
                Value::Number(number, unit) => writeln!(table, "{name:<22}{number:>14.3} {unit}"),
                Value::Text(text) => writeln!(table, "{name:<22}{text:>14}"),
            }
            .expect("a string takes every line");
        }
        table
    }

    /// One object; names are those of the table with `_` for each space, and with the unit where there is one.
    pub fn json(&self) -> String {
        let fields = self.0.iter().map(|Line { name, value }| {
            let key = name.replace([' ', '.'], "_").to_lowercase();
            match value {
                Value::Number(number, "") => format!("{}:{number}", quoted(&key)),
                Value::Number(number, unit) => {
                    let unit = unit.replace("MB/s", "mb_per_s").replace("MB", "mb").replace(' ', "_");
                    format!("{}:{number}", quoted(&format!("{key}_{unit}")))
                }
                Value::Text(text) => format!("{}:{}", quoted(&key), quoted(text)),
            }
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control < ' ' => write!(out, "\\u{:04x}", control as u32).expect("a string takes it"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_json() {
        let report = Report(vec![Line::number("latency p50", 0.25, "ms"), Line::text("failure", "a \"quote\"\n")]);
        assert_eq!(report.json(), r#"{"latency_p50_ms":0.25,"failure":"a \"quote\"\u000a"}"#);
    }
}
