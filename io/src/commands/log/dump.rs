//! `highwater log dump FILE...`: what each file holds, as far as it can be read.
//!
//! What a file is, its first bytes tell; a segment has none of its own and is taken for one. The line that says what is wrong
//! comes last, and makes the exit code 1. Several files are told apart by a line with the name of each.

use super::super::table::{Table, print_json, print_line};
use crate::client::failed;
use highwater::checkpoint::Checkpoint;
use highwater::ids::{Offset, PartitionKey, TopicId};
use highwater::journal::frame::Note;
use highwater::journal::walk;
use highwater::log::sidecar;
use highwater::records::{header, split};
use highwater::shard::format::{FORMAT, Format};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub fn run(files: &[PathBuf], as_json: bool) -> io::Result<()> {
    let mut wrong = Vec::new();
    for file in files {
        if files.len() > 1 && as_json {
            print_json(&json!({ "file": file.display().to_string() }))?;
        } else if files.len() > 1 {
            print_line(format_args!("{}:", file.display()))?;
        }
        match dump(file, as_json) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => wrong.push(error.to_string()),
            ended => ended?,
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(failed(wrong.join("\n"))) }
}

fn dump(file: &Path, as_json: bool) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let bytes = fs::read(file).map_err(named)?;
    let dumped = match bytes.get(..4) {
        Some(b"HWK1") => checkpoint(&bytes, as_json),
        Some(b"HWC1") => chunk_table(&bytes, as_json),
        _ if file.file_name().is_some_and(|name| name == FORMAT) => format_file(&bytes, as_json),
        _ if walk::journal_of(&bytes).is_some() => journal(&bytes, as_json),
        _ => segment(&bytes, as_json),
    };
    dumped.map_err(named)
}

fn format_file(bytes: &[u8], as_json: bool) -> io::Result<()> {
    let Format { shards, layout, cluster_id } = Format::decode(bytes).map_err(failed)?;
    if as_json {
        return print_json(&json!({ "shards": shards, "layout": layout, "cluster": cluster_id }));
    }
    print_line(format_args!("{shards} shards, layout {layout}, cluster {cluster_id}"))
}

fn segment(bytes: &[u8], as_json: bool) -> io::Result<()> {
    let mut table = Table::new(&["position", "bytes", "offsets", "records", "epoch", "max time", "codec", "producer"]);
    let (mut position, mut wrong) = (0, None);
    for batch in split(bytes) {
        let (found, batch) = match batch {
            Ok(batch) => batch,
            // Room that was reserved and not used.
            Err(_) if bytes[position..].iter().all(|byte| *byte == 0) => break,
            Err(error) => {
                wrong = Some(format!("at byte {position}: {error}"));
                break;
            }
        };
        let codec = found.compression().map_or("unknown".to_owned(), |codec| format!("{codec:?}").to_lowercase());
        if header::checksum(batch) != found.crc && wrong.is_none() {
            wrong = Some(format!("at byte {position}: the checksum of the batch fails"));
        }
        let (base, last) = (found.base_offset.0, found.last_offset().0);
        let producer = format!("{}/{}/{}", found.producer_id, found.producer_epoch, found.base_sequence);
        if as_json {
            print_json(&json!({
                "position": position, "bytes": batch.len(), "base": base, "last": last,
                "records": found.records_count, "epoch": found.leader_epoch.0, "max_timestamp": found.max_timestamp.0,
                "codec": codec, "producer_id": found.producer_id, "producer_epoch": found.producer_epoch,
                "base_sequence": found.base_sequence, "crc": found.crc,
            }))?;
        } else {
            table.row([
                position.to_string(),
                batch.len().to_string(),
                format!("{base}-{last}"),
                found.records_count.to_string(),
                found.leader_epoch.0.to_string(),
                found.max_timestamp.0.to_string(),
                codec,
                if found.producer_id < 0 { "-".to_owned() } else { producer },
            ]);
        }
        position += batch.len();
    }
    if !as_json {
        table.print()?;
    }
    wrong.map_or(Ok(()), |why| Err(failed(why)))
}

/// The partition and the first offset that a chunk table says it belongs to.
pub fn owner_of(bytes: &[u8]) -> Option<(PartitionKey, Offset)> {
    let topic = TopicId(*bytes.get(8..)?.first_chunk()?);
    let index = i32::from_le_bytes(*bytes.get(24..)?.first_chunk()?);
    let base = i64::from_le_bytes(*bytes.get(28..)?.first_chunk()?);
    Some((PartitionKey { topic, index }, Offset(base)))
}

fn chunk_table(bytes: &[u8], as_json: bool) -> io::Result<()> {
    let (key, base) = owner_of(bytes).ok_or_else(|| failed("the chunk table is cut short".to_owned()))?;
    let chunks = sidecar::decode(key, base, bytes).map_err(|why| failed(why.to_owned()))?;
    let mut table = Table::new(&["position", "bytes", "offsets", "batches", "max time", "check"]);
    for chunk in &chunks {
        let (from, last) = (chunk.base.0, chunk.end.0 - 1);
        if as_json {
            print_json(&json!({
                "partition": key.to_string(), "position": chunk.position, "bytes": chunk.len, "base": from,
                "last": last, "batches": chunk.batches, "max_timestamp": chunk.max_timestamp, "check": chunk.check,
            }))?;
            continue;
        }
        table.row([
            chunk.position.to_string(),
            chunk.len.to_string(),
            format!("{from}-{last}"),
            chunk.batches.to_string(),
            chunk.max_timestamp.to_string(),
            format!("{:08x}", chunk.check),
        ]);
    }
    if as_json {
        return Ok(());
    }
    print_line(format_args!("partition {key}, segment {}", base.0))?;
    table.print()
}

fn journal(bytes: &[u8], as_json: bool) -> io::Result<()> {
    let journal = walk::journal_of(bytes).unwrap_or_default();
    let seen = walk::walk(bytes, journal);
    let mut table = Table::new(&["offset", "file", "frame", "run", "durable to", "bytes", "batches", "holds"]);
    for one in &seen {
        let (header, frame) = (&one.header, one.frame.as_ref());
        let batches = frame.map_or(0, |frame| frame.placements.len());
        if as_json {
            print_json(&json!({
                "offset": one.offset, "file": header.place.file_seq, "frame": header.frame, "run": header.run,
                "durable_to": header.durable_to, "bytes": header.length, "batches": batches, "whole": frame.is_some(),
                "notes": frame.map(|frame| frame.notes.iter().map(note).collect::<Vec<Value>>()),
            }))?;
            continue;
        }
        table.row([
            one.offset.to_string(),
            header.place.file_seq.to_string(),
            header.frame.to_string(),
            header.run.to_string(),
            header.durable_to.to_string(),
            header.length.to_string(),
            batches.to_string(),
            frame.map_or("not whole".to_owned(), |frame| summary(&frame.notes)),
        ]);
    }
    if as_json {
        return Ok(());
    }
    print_line(format_args!("journal {journal:016x}"))?;
    table.print()
}

fn note(note: &Note) -> Value {
    let partition = note.key().to_string();
    match note {
        Note::Batches { epoch, first, end, .. } => {
            json!({ "batches": partition, "epoch": epoch.0, "base": first.0, "end": end.0 })
        }
        Note::EpochStart { line, .. } => json!({ "epoch_start": partition, "line": format!("{line:?}") }),
        Note::Vote { epoch, voted_for, .. } => {
            json!({ "vote": partition, "epoch": epoch.0, "for": format!("{voted_for:?}") })
        }
        Note::LogStart { start, .. } => json!({ "log_start": partition, "start": start.0 }),
        Note::Deleted { .. } => json!({ "deleted": partition }),
        Note::Refused { refusal, .. } => json!({ "refused": partition, "why": refusal.to_string() }),
    }
}

/// The first few of what a frame holds.
fn summary(notes: &[Note]) -> String {
    let line = |note: &Note| {
        let key = note.key();
        match note {
            Note::Batches { first, end, .. } => format!("{key} {}-{}", first.0, end.0 - 1),
            Note::EpochStart { .. } => format!("{key} epoch"),
            Note::Vote { epoch, .. } => format!("{key} vote {}", epoch.0),
            Note::LogStart { start, .. } => format!("{key} starts {}", start.0),
            Note::Deleted { .. } => format!("{key} deleted"),
            Note::Refused { .. } => format!("{key} refused"),
        }
    };
    let shown: Vec<String> = notes.iter().take(3).map(line).collect();
    match (shown.is_empty(), notes.len().saturating_sub(shown.len())) {
        (true, _) => "-".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{}, {more} more", shown.join(", ")),
    }
}

fn checkpoint(bytes: &[u8], as_json: bool) -> io::Result<()> {
    let found = Checkpoint::decode(bytes).map_err(|why| failed(why.to_owned()))?;
    if as_json {
        let partition = |one: &highwater::checkpoint::PartitionSnapshot| {
            json!({
                "partition": one.key.to_string(), "start": one.replica.start.0,
                "high_watermark": one.replica.high_watermark.0, "flushed": one.log.flushed.0,
                "epoch": one.replica.epoch.0, "deleted": one.deleted,
                "segments": one.log.segments.iter().map(|segment| json!({
                    "base": segment.base.0, "end": segment.end.0, "bytes": segment.bytes, "rolled": segment.rolled,
                })).collect::<Vec<_>>(),
            })
        };
        return print_json(&json!({
            "generation": found.generation, "journal": format!("{:016x}", found.journal), "run": found.run,
            "frame": found.frame, "replay_file": found.replay.file_seq, "replay_offset": found.replay.offset,
            "replay_frame": found.replay_frame, "metadata_bytes": found.metadata.len(),
            "partitions": found.partitions.iter().map(partition).collect::<Vec<_>>(),
        }));
    }
    print_line(format_args!(
        "generation {}, journal {:016x}, run {}, as of frame {}; replay from frame {} in file {} at byte {}",
        found.generation,
        found.journal,
        found.run,
        found.frame,
        found.replay_frame,
        found.replay.file_seq,
        found.replay.offset
    ))?;
    let mut table = Table::new(&["partition", "start", "high watermark", "flushed", "epoch", "segments", "bytes"]);
    for one in &found.partitions {
        let bytes: u64 = one.log.segments.iter().map(|segment| segment.bytes).sum();
        table.row([
            if one.deleted { format!("{} (deleted)", one.key) } else { one.key.to_string() },
            one.replica.start.0.to_string(),
            one.replica.high_watermark.0.to_string(),
            one.log.flushed.0.to_string(),
            one.replica.epoch.0.to_string(),
            one.log.segments.len().to_string(),
            bytes.to_string(),
        ]);
    }
    table.print()
}
