//! Samples as Prometheus text (exposition format 0.0.4): one family after the other, all shards in each.
//!
//! Where Kafka has a metric of the same meaning, its name is the one that the usual JMX exporter rules and kafka-exporter
//! give it; what is ours alone begins with `highwater_`. Units are in the names: seconds, bytes.

use super::Collected;
use crate::process::{self, Process};
use highwater::metrics::{Compactions, Gauges, Histogram, PartitionSample, Sample, Throttled, Traffic};
use highwater::quotas::QuotaKey;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// The content type.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, as text.
pub fn write(collected: &Collected) -> String {
    let mut page = Page::default();
    let samples = &collected.samples;
    page.node(samples);
    page.requests(samples);
    page.quotas(samples);
    page.commits(samples);
    page.shards(samples);
    page.compaction(samples);
    page.topics(samples);
    page.partitions(samples);
    page.groups(samples);
    page.process();
    page.0
}

type Samples = BTreeMap<u16, Sample>;

/// How a value is read from what was sampled.
type Value<T, V> = fn(&T) -> V;
type HistogramOf = fn(&Sample) -> &Histogram;

/// A kind of family.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes whatever is written to it.
        let _ = writeln!(self.0, "{line}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, Escaped(*text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    /// A family of one value.
    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.value(name, &[], value);
    }

    /// `unit` of a histogram's values is one of these in a second or a byte.
    fn histogram(&mut self, name: &str, labels: &[(&str, &dyn Display)], histogram: &Histogram, unit: f64) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            let bound = bound as f64 / unit;
            let labels: Vec<_> = labels.iter().copied().chain([("le", &bound as &dyn Display)]).collect();
            self.value(&bucket, &labels, count);
        }
        let labels_of_all: Vec<_> = labels.iter().copied().chain([("le", &"+Inf" as &dyn Display)]).collect();
        self.value(&bucket, &labels_of_all, histogram.count());
        self.value(&format!("{name}_sum"), labels, histogram.sum() as f64 / unit);
        self.value(&format!("{name}_count"), labels, histogram.count());
    }

    fn node(&mut self, samples: &Samples) {
        let total = |part: fn(&Gauges) -> u64| samples.values().map(|sample| part(&sample.gauges)).sum::<u64>();
        self.family("highwater_build_info", Kind::Gauge, "Which program this is.");
        self.value("highwater_build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
        let name = "kafka_server_replicamanager_partitioncount";
        self.single(name, Kind::Gauge, "Partitions of topics.", total(|gauges| gauges.partitions));
        let name = "kafka_server_replicamanager_leadercount";
        self.single(name, Kind::Gauge, "Partitions that this node leads.", total(|gauges| gauges.leaders));
        let name = "kafka_server_replicamanager_offlinereplicacount";
        let help = "Partitions that refuse appends because a part of their log is damaged.";
        self.single(name, Kind::Gauge, help, total(|gauges| gauges.refused));
        let name = "kafka_controller_kafkacontroller_activecontrollercount";
        self.single(name, Kind::Gauge, "1 where this node decides about topics.", total(|gauges| gauges.controllers));
        let name = "kafka_controller_kafkacontroller_globaltopiccount";
        let topics = samples.values().map(|sample| sample.gauges.topics).max().unwrap_or(0);
        self.single(name, Kind::Gauge, "Topics.", topics);
        let left_out: u64 = samples.values().map(|sample| sample.left_out).sum();
        let help =
            "Partitions and committed offsets that have no series of their own here, because there are too many.";
        self.single("highwater_series_left_out", Kind::Gauge, help, left_out);
    }

    fn requests(&mut self, samples: &Samples) {
        let mut by_api: BTreeMap<i16, (String, Histogram)> = BTreeMap::new();
        for (api, histogram) in samples.values().flat_map(|sample| sample.counters.requests()) {
            let key = api.served().key;
            match by_api.get_mut(&key.0) {
                Some((_, all)) => all.merge(histogram),
                None => drop(by_api.insert(key.0, (key.to_string(), histogram.clone()))),
            }
        }
        let name = "kafka_network_requestmetrics_requests_total";
        self.family(name, Kind::Counter, "Requests that were answered, by API.");
        for (request, histogram) in by_api.values() {
            self.value(name, &[("request", request)], histogram.count());
        }
        let name = "highwater_request_duration_seconds";
        self.family(name, Kind::Histogram, "From a request's arrival until its answer is handed to be sent.");
        for (request, histogram) in by_api.values() {
            self.histogram(name, &[("request", request)], histogram, 1e6);
        }
    }

    fn quotas(&mut self, samples: &Samples) {
        let throttled = |key: QuotaKey, value: Value<Throttled, u64>| -> u64 {
            samples.values().filter_map(|sample| sample.counters.throttled.get(&key)).map(value).sum()
        };
        let keys = || QuotaKey::ALL.into_iter().filter(|key| !key.is_of_addresses());
        let name = "highwater_throttled_answers_total";
        self.family(name, Kind::Counter, "Answers whose connection was muted, by the quota that was exceeded.");
        for key in keys() {
            self.value(name, &[("quota", &key.name())], throttled(key, |throttled| throttled.answers));
        }
        let name = "highwater_throttle_time_seconds_total";
        self.family(name, Kind::Counter, "For how long they were muted.");
        for key in keys() {
            let seconds = throttled(key, |throttled| throttled.ms) as f64 / 1e3;
            self.value(name, &[("quota", &key.name())], seconds);
        }
    }

    fn commits(&mut self, samples: &Samples) {
        let families: [(&str, &str, HistogramOf, f64); 3] = [
            (
                "highwater_journal_commit_duration_seconds",
                "From the write of a frame until it is durable.",
                |sample| &sample.counters.commits.latency,
                1e6,
            ),
            (
                "highwater_journal_commit_bytes",
                "Bytes of a frame, its directory and padding included.",
                |sample| &sample.counters.commits.bytes,
                1.0,
            ),
            (
                "highwater_journal_commit_batches",
                "Record batches in a frame.",
                |sample| &sample.counters.commits.batches,
                1.0,
            ),
        ];
        for (name, help, histogram, unit) in families {
            self.family(name, Kind::Histogram, help);
            for (shard, sample) in samples {
                self.histogram(name, &[("shard", shard)], histogram(sample), unit);
            }
        }
    }

    fn shards(&mut self, samples: &Samples) {
        let families: [(&str, Kind, &str, Value<Sample, u64>); 16] = [
            ("highwater_serving", Kind::Gauge, "1 where the shard takes requests.", |sample| sample.serving.into()),
            ("highwater_connections", Kind::Gauge, "Open connections.", |sample| sample.gauges.connections),
            ("highwater_connections_accepted_total", Kind::Counter, "Connections that were accepted.", |sample| {
                sample.counters.connections_accepted
            }),
            (
                "highwater_connections_refused_total",
                Kind::Counter,
                "Connections closed for what they sent.",
                |sample| sample.counters.connections_refused,
            ),
            (
                "highwater_connections_throttled_total",
                Kind::Counter,
                "Connections closed because their address connects too often.",
                |sample| sample.counters.connections_throttled,
            ),
            ("highwater_connections_muted", Kind::Gauge, "Connections that wait because of a quota.", |sample| {
                sample.gauges.muted
            }),
            ("highwater_requests_in_flight", Kind::Gauge, "Requests that are not answered yet.", |sample| {
                sample.gauges.requests
            }),
            (
                "highwater_connections_stalled",
                Kind::Gauge,
                "Connections that wait for room in the journal.",
                |sample| sample.gauges.stalled,
            ),
            ("highwater_appends_waiting", Kind::Gauge, "Appends of other shards that wait for room.", |sample| {
                sample.gauges.backlog
            }),
            ("highwater_ops_in_flight", Kind::Gauge, "Reads, writes, sends and receives under way.", |sample| {
                sample.gauges.ops
            }),
            ("highwater_disk_full", Kind::Gauge, "1 while the disk has no room.", |sample| {
                sample.gauges.disk_full.into()
            }),
            ("highwater_segments", Kind::Gauge, "Segments of all partitions.", |sample| sample.gauges.segments),
            ("highwater_log_bytes", Kind::Gauge, "Bytes of all segments.", |sample| sample.gauges.log_bytes),
            ("highwater_journal_bytes", Kind::Gauge, "Bytes of the journal's ring.", |sample| {
                sample.gauges.journal_bytes
            }),
            ("highwater_journal_room_bytes", Kind::Gauge, "Bytes of the ring that can be written now.", |sample| {
                sample.gauges.journal_room_bytes
            }),
            ("highwater_groups", Kind::Gauge, "Groups whose coordinator is on the shard.", |sample| {
                sample.groups.len() as u64
            }),
        ];
        for (name, kind, help, value) in families {
            self.family(name, kind, help);
            for (shard, sample) in samples {
                self.value(name, &[("shard", shard)], value(sample));
            }
        }
        let name = "highwater_memory_bytes";
        self.family(name, Kind::Gauge, "Memory that is counted, by what it is used for; staged is a part of tail.");
        for (shard, sample) in samples {
            let gauges = &sample.gauges;
            for (used_for, bytes) in [
                ("tail", gauges.tail_bytes),
                ("staged", gauges.staged_bytes),
                ("input", gauges.input_bytes),
                ("groups", gauges.groups_bytes),
                ("compaction", gauges.keys_bytes),
            ] {
                self.value(name, &[("shard", shard), ("for", &used_for)], bytes);
            }
        }
    }

    /// Kafka's names where it has one: of the cleaner threads that it has, each shard has one.
    fn compaction(&mut self, samples: &Samples) {
        let last = |sample: &Sample| sample.counters.compactions;
        let dirtiest = samples.values().map(|sample| sample.gauges.dirtiest_ppm).max().unwrap_or(0);
        let name = "kafka_log_logcleanermanager_max_dirty_percent";
        self.single(name, Kind::Gauge, "How dirty the dirtiest compacted log is.", dirtiest as f64 / 1e4);
        let name = "kafka_log_logcleanermanager_uncleanable_partitions_count";
        let unable: u64 = samples.values().map(|sample| sample.gauges.uncleanable).sum();
        self.single(name, Kind::Gauge, "Logs that are compacted no more, for they hold what cannot be read.", unable);
        let name = "kafka_log_logcleaner_max_clean_time_secs";
        let longest = samples.values().map(|sample| last(sample).last_us).max().unwrap_or(0);
        self.single(name, Kind::Gauge, "The longest of the shards' last compactions.", longest as f64 / 1e6);
        let name = "kafka_log_logcleaner_cleaner_recopy_percent";
        let (read, kept) = samples.values().fold((0, 0), |(read, kept), sample| {
            (read + last(sample).last_read_bytes, kept + last(sample).last_kept_bytes)
        });
        let percent = kept as f64 * 100.0 / read.max(1) as f64;
        self.single(name, Kind::Gauge, "Of what the last compactions read to write it anew, what stayed.", percent);
        let families: [(&str, &str, Value<Compactions, f64>); 5] = [
            ("highwater_compactions_total", "Compactions of a log that came to their end.", |all| all.done as f64),
            ("highwater_compactions_given_up_total", "Compactions that were given up.", |all| all.given_up as f64),
            (
                "highwater_compaction_read_bytes_total",
                "Bytes of segments that were read, for their keys or to be written anew.",
                |all| all.read_bytes as f64,
            ),
            ("highwater_compaction_kept_bytes_total", "Bytes of segments that were written anew.", |all| {
                all.kept_bytes as f64
            }),
            ("highwater_compaction_seconds_total", "Time from their begin to their end.", |all| all.us as f64 / 1e6),
        ];
        for (name, help, value) in families {
            self.family(name, Kind::Counter, help);
            for (shard, sample) in samples {
                self.value(name, &[("shard", shard)], value(&sample.counters.compactions));
            }
        }
    }

    fn topics(&mut self, samples: &Samples) {
        let mut topics: BTreeMap<&str, Traffic> = BTreeMap::new();
        for (topic, traffic) in samples.values().flat_map(|sample| &sample.traffic) {
            topics.entry(topic).or_default().merge(traffic);
        }
        let families: [(&str, &str, Value<Traffic, u64>); 5] = [
            ("kafka_server_brokertopicmetrics_messagesin_total", "Records that were appended.", |traffic| {
                traffic.records_in
            }),
            ("kafka_server_brokertopicmetrics_bytesin_total", "Bytes of batches that were appended.", |traffic| {
                traffic.bytes_in
            }),
            ("kafka_server_brokertopicmetrics_bytesout_total", "Bytes of batches that were fetched.", |traffic| {
                traffic.bytes_out
            }),
            ("kafka_server_brokertopicmetrics_failedproducerequests_total", "Batches that were refused.", |traffic| {
                traffic.refused
            }),
            ("highwater_topic_batches_total", "Batches that were appended.", |traffic| traffic.batches_in),
        ];
        for (name, help, value) in families {
            self.family(name, Kind::Counter, help);
            for (topic, traffic) in &topics {
                self.value(name, &[("topic", topic)], value(traffic));
            }
        }
    }

    fn partitions(&mut self, samples: &Samples) {
        let families: [(&str, &str, Value<PartitionSample, i64>); 5] = [
            ("kafka_log_log_logstartoffset", "The first offset that is kept.", |partition| partition.start),
            ("kafka_log_log_logendoffset", "The offset of the next record.", |partition| partition.end),
            ("highwater_partition_high_watermark", "The offset below which everything is committed.", |partition| {
                partition.high_watermark
            }),
            ("highwater_partition_leader_epoch", "The leader epoch.", |partition| partition.epoch.into()),
            ("kafka_log_log_size", "Bytes of its segments.", |partition| partition.bytes as i64),
        ];
        let mut partitions: Vec<&PartitionSample> = samples.values().flat_map(|sample| &sample.partitions).collect();
        partitions.sort_unstable_by_key(|partition| (&partition.topic, partition.index));
        for (name, help, value) in families {
            self.family(name, Kind::Gauge, help);
            for partition in &partitions {
                let labels: [(&str, &dyn Display); 2] = [("topic", &partition.topic), ("partition", &partition.index)];
                self.value(name, &labels, value(partition));
            }
        }
    }

    fn groups(&mut self, samples: &Samples) {
        let groups = || samples.values().flat_map(|sample| &sample.groups);
        let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
        self.single(name, Kind::Gauge, "Consumer groups.", groups().count());
        let name = "kafka_coordinator_group_groupmetadatamanager_numgroups_by_state";
        self.family(name, Kind::Gauge, "Consumer groups, by state.");
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        groups().for_each(|group| *states.entry(group.state).or_default() += 1);
        for (state, count) in states {
            self.value(name, &[("state", &state)], count);
        }
        let name = "kafka_consumergroup_members";
        self.family(name, Kind::Gauge, "Members of a group.");
        for group in groups() {
            self.value(name, &[("consumergroup", &group.group)], group.members);
        }
        let partitions = samples.values().flat_map(|sample| &sample.partitions);
        let ends: BTreeMap<(&str, i32), i64> = partitions
            .map(|partition| ((partition.topic.as_str(), partition.index), partition.high_watermark))
            .collect();
        let committed = || samples.values().flat_map(|sample| &sample.committed);
        let name = "kafka_consumergroup_current_offset";
        self.family(name, Kind::Gauge, "What a group has committed of a partition.");
        for one in committed() {
            let labels: [(&str, &dyn Display); 3] =
                [("consumergroup", &one.group), ("topic", &one.topic), ("partition", &one.index)];
            self.value(name, &labels, one.offset);
        }
        let name = "kafka_consumergroup_lag";
        self.family(name, Kind::Gauge, "Records between what a group has committed and the high watermark.");
        for one in committed() {
            let Some(end) = ends.get(&(one.topic.as_str(), one.index)) else { continue };
            let labels: [(&str, &dyn Display); 3] =
                [("consumergroup", &one.group), ("topic", &one.topic), ("partition", &one.index)];
            self.value(name, &labels, (end - one.offset).max(0));
        }
    }

    /// Under the names that Prometheus' own clients use.
    fn process(&mut self) {
        if let Ok(bytes) = Process(std::process::id()).resident_bytes() {
            self.single("process_resident_memory_bytes", Kind::Gauge, "Memory of the process.", bytes);
        }
        let seconds = process::own_cpu().as_secs_f64();
        self.single("process_cpu_seconds_total", Kind::Counter, "Processor time of the process.", seconds);
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            self.single("process_open_fds", Kind::Gauge, "Open descriptors.", descriptors.count());
        }
    }
}

/// A label's value, with what would end it escaped.
struct Escaped<'a>(&'a dyn Display);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        for letter in text.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
