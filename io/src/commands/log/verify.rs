//! `highwater log verify FOLDER`: every checksum, offset and index of a data folder that nobody serves.
//!
//! ```text
//! format ─▶ each shard: checkpoint and mirror ─▶ its journal files, frame by frame
//!                                             ─▶ its partitions' segments: table, chunks, batches
//! ```
//!
//! It holds the folder's lock meanwhile. After a crash the journal may hold what the checkpoint does not know yet: what is
//! behind the checkpoint is held against the journal's own checksums alone. Invariants: nothing is changed; a fault names the
//! file and the byte; what went by a durable decision (retention, deletion) is not missed.

use super::super::table::{Table, print_json, print_line};
use crate::client::failed;
use crate::folder::Folder;
use highwater::checkpoint::{Checkpoint, PartitionSnapshot};
use highwater::ids::{Offset, PartitionKey, ShardId};
use highwater::journal::frame::Note;
use highwater::journal::ring::Ring;
use highwater::journal::walk::{self, Expected};
use highwater::log::check::{check_chunk, check_table};
use highwater::log::segment::{Chunk, Segment, sidecar_path};
use highwater::log::sidecar;
use highwater::memory::round_down;
use highwater::shard::boot::shard_folder;
use highwater::shard::format::{FORMAT, Format};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Something that is not what was written.
struct Fault {
    path: String,
    offset: u64,
    what: String,
}

struct Verifier {
    folder: PathBuf,
    faults: Vec<Fault>,
    files: u64,
    bytes: u64,
    progress: ProgressBar,
}

/// What the journal decided behind the checkpoint.
#[derive(Default)]
struct Decided {
    /// The newest run that wrote a frame.
    run: u32,
    starts: BTreeMap<PartitionKey, Offset>,
    deleted: BTreeSet<PartitionKey>,
}

pub fn run(folder: &Path, as_json: bool) -> io::Result<()> {
    if !folder.join(FORMAT).is_file() {
        return Err(failed(format!("{}: no data folder of Highwater: it has no file {FORMAT}", folder.display())));
    }
    let held = Folder::open(folder);
    let format_refused = held.as_ref().err().map(ToString::to_string);
    let mut verifier =
        Verifier { folder: folder.to_owned(), faults: Vec::new(), files: 0, bytes: 0, progress: ProgressBar::hidden() };
    match (verifier.format(), format_refused) {
        (Ok(format), None) => verifier.shards(&format),
        // It is in use, or cannot be opened.
        (Ok(_), Some(why)) => return Err(failed(why)),
        (Err(why), _) => verifier.fault(FORMAT, 0, why),
    }
    verifier.progress.finish_and_clear();
    verifier.report(as_json)
}

impl Verifier {
    fn fault(&mut self, path: &str, offset: u64, what: impl Into<String>) {
        self.faults.push(Fault { path: path.to_owned(), offset, what: what.into() });
    }

    fn format(&mut self) -> Result<Format, String> {
        let bytes = self.read(FORMAT).map_err(|error| error.to_string())?;
        Format::decode(&bytes)
    }

    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.folder.join(path))?;
        self.files += 1;
        self.bytes += bytes.len() as u64;
        self.progress.inc(bytes.len() as u64);
        Ok(bytes)
    }

    fn shards(&mut self, format: &Format) {
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes} {eta} left {msg}");
        // Not before there has been something to wait for.
        self.progress = ProgressBar::new(size_of(&self.folder)).with_style(style.expect("a template that is right"));
        self.progress.enable_steady_tick(Duration::from_millis(500));
        for shard in 0..format.shards {
            let folder = shard_folder(format.layout, ShardId(shard));
            self.progress.set_message(folder.clone());
            let checkpoint = self.checkpoint(&folder);
            let decided = self.journal(&folder, checkpoint.as_ref());
            for partition in checkpoint.iter().flat_map(|checkpoint| &checkpoint.partitions) {
                let served_since = checkpoint.as_ref().is_none_or(|checkpoint| decided.run > checkpoint.run);
                self.partition(partition, &decided, served_since);
            }
        }
    }

    /// The newer of the two that can be read.
    fn checkpoint(&mut self, folder: &str) -> Option<Checkpoint> {
        let mut best: Option<Checkpoint> = None;
        for name in ["checkpoint", "checkpoint.mirror"] {
            let path = format!("{folder}/{name}");
            match self.read(&path) {
                Ok(bytes) => match Checkpoint::decode(&bytes) {
                    Ok(found) if best.as_ref().is_none_or(|best| best.generation < found.generation) => {
                        best = Some(found);
                    }
                    Ok(_) => {}
                    Err(why) => self.fault(&path, 0, why),
                },
                Err(error) => self.fault(&path, 0, error.to_string()),
            }
        }
        best
    }

    fn journal(&mut self, folder: &str, checkpoint: Option<&Checkpoint>) -> Decided {
        let names = fs::read_dir(self.folder.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let mut journal = checkpoint.map(|checkpoint| checkpoint.journal);
        let (mut paths, mut files) = (Vec::new(), Vec::new());
        // What was set aside is known to be damaged.
        for name in names.iter().filter(|name| !name.ends_with(".kept")) {
            let Some(number) = Ring::number_of(name) else { continue };
            let path = format!("{folder}/{name}");
            let bytes = match self.read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.fault(&path, 0, error.to_string());
                    continue;
                }
            };
            journal = journal.or_else(|| walk::journal_of(&bytes));
            let slots = checkpoint.iter().flat_map(|checkpoint| &checkpoint.slots);
            let file_seq = slots.filter(|slot| slot.number == number).find_map(|slot| slot.file_seq);
            files.push((walk::walk(&bytes, journal.unwrap_or_default()), file_seq));
            paths.push(path);
        }
        let missing = |slot: &&highwater::checkpoint::SlotSnapshot| {
            !names.iter().any(|name| Ring::number_of(name) == Some(slot.number))
        };
        for slot in checkpoint.iter().flat_map(|checkpoint| &checkpoint.slots).filter(missing) {
            self.fault(&Ring::slot_path(folder, slot.number), 0, "the file is not there");
        }
        let durable = checkpoint.map_or(0, |checkpoint| checkpoint.frame);
        for fault in walk::faults(&files, &Expected { durable }) {
            self.fault(&paths[fault.file], fault.offset, fault.reason);
        }
        let runs = files.iter().flat_map(|(seen, _)| seen).map(|seen| seen.header.run);
        let mut decided = Decided { run: runs.max().unwrap_or(0), ..Decided::default() };
        let frames = files.iter().flat_map(|(seen, _)| seen).filter_map(|seen| seen.frame.as_ref());
        for note in frames.filter(|frame| frame.header.frame >= durable).flat_map(|frame| &frame.notes) {
            match note {
                Note::LogStart { key, start } => {
                    let known = decided.starts.entry(*key).or_insert(*start);
                    *known = (*known).max(*start);
                }
                Note::Deleted { key } => {
                    decided.deleted.insert(*key);
                }
                Note::Batches { .. } | Note::EpochStart { .. } | Note::Vote { .. } | Note::Refused { .. } => {}
            }
        }
        decided
    }

    fn partition(&mut self, partition: &PartitionSnapshot, decided: &Decided, served_since: bool) {
        let key = partition.key;
        if partition.deleted || decided.deleted.contains(&key) {
            return;
        }
        if let Some(refusal) = &partition.refusal {
            self.fault(&refusal.path, refusal.offset, format!("{key} refuses offsets from {} on", refusal.from));
        }
        let start = decided.starts.get(&key).copied().unwrap_or(partition.replica.start).max(partition.replica.start);
        let segments: Vec<&Segment> = partition.log.segments.iter().filter(|segment| segment.end > start).collect();
        for pair in segments.windows(2).filter(|pair| pair[0].end != pair[1].base) {
            let what = format!("begins at offset {}, the segment before it ends at {}", pair[1].base.0, pair[0].end.0);
            self.fault(&pair[1].path(key), 0, what);
        }
        for segment in segments {
            let is_last = partition.log.segments.last().is_some_and(|last| last.base == segment.base);
            // A sector that was filled further may be torn, and is in the checkpoint for that; a clean stop leaves none.
            let may_be_torn = is_last && (served_since || !segment.trimmed);
            let partial = if may_be_torn { &partition.log.partial[..] } else { &[] };
            self.segment(key, segment, partial);
        }
    }

    fn segment(&mut self, key: PartitionKey, segment: &Segment, partial: &[u8]) {
        let (path, beside) = (segment.path(key), sidecar_path(key, segment.name()));
        let mut chunks = segment.chunks.clone();
        if segment.sealed || (segment.rolled && chunks.is_empty()) {
            match self.read(&beside).map(|bytes| sidecar::decode(key, segment.base, &bytes)) {
                Ok(Ok(table)) => chunks = table,
                Ok(Err(why)) => self.fault(&beside, 0, why),
                Err(error) => self.fault(&beside, 0, error.to_string()),
            }
        }
        if chunks.is_empty() && segment.bytes > 0 {
            // Its table is gone: no more can be said of it.
            return;
        }
        if let Err(fault) = check_table(segment, &chunks) {
            return self.fault(&path, fault.position, fault.reason);
        }
        let file = match File::open(self.folder.join(&path)) {
            Ok(file) => file,
            Err(_) if segment.bytes == 0 => return,
            Err(error) => return self.fault(&path, 0, error.to_string()),
        };
        self.files += 1;
        for chunk in &chunks {
            if let Err((offset, what)) = self.chunk(&file, segment, chunk, partial) {
                self.fault(&path, offset, what);
            }
        }
    }

    fn chunk(&mut self, file: &File, segment: &Segment, chunk: &Chunk, partial: &[u8]) -> Result<(), (u64, String)> {
        let mut bytes = vec![0; chunk.len as usize];
        file.read_exact_at(&mut bytes, chunk.position).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let whole = file.metadata().map_or(0, |found| found.len());
                (chunk.position, format!("the file ends at byte {whole}, before offset {}", chunk.end.0))
            }
            _ => (chunk.position, error.to_string()),
        })?;
        self.bytes += u64::from(chunk.len);
        self.progress.inc(chunk.len.into());
        let tail = round_down(segment.bytes);
        for (index, byte) in partial.iter().enumerate() {
            let place = (tail + index as u64).checked_sub(chunk.position).map(|place| place as usize);
            if let Some(own) = place.and_then(|place| bytes.get_mut(place)) {
                *own = *byte;
            }
        }
        check_chunk(chunk, &bytes).map(|_| ()).map_err(|fault| (fault.position, fault.reason))
    }

    fn report(&self, as_json: bool) -> io::Result<()> {
        let (files, bytes, count) = (self.files, self.bytes, self.faults.len());
        if as_json {
            for Fault { path, offset, what } in &self.faults {
                print_json(&json!({ "path": path, "offset": offset, "fault": what }))?;
            }
            print_json(&json!({ "files": files, "bytes": bytes, "faults": count }))?;
        } else if count > 0 {
            let mut table = Table::new(&["file", "byte", "what is wrong"]);
            for Fault { path, offset, what } in &self.faults {
                table.row([path.clone(), offset.to_string(), what.clone()]);
            }
            table.print()?;
        } else {
            print_line(format_args!("{files} files, {bytes} bytes: all is as it was written"))?;
        }
        match count {
            0 => Ok(()),
            _ => Err(failed(format!("{}: {count} faults in {files} files", self.folder.display()))),
        }
    }
}

/// About how much there is to read.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
