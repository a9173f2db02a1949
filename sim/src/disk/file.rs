//! One file's bytes: what reads see, what is on the platter, and the changes between them.
//!
//! `live` is what the running machine sees (page cache and drive cache applied); `stable` is what is there after the
//! power was lost and every unsynced change with it. A process kill keeps `live`; a power loss draws, change by change
//! and sector by sector, what of the way from `stable` to `live` had been done.
//!
//! Invariant: `stable` with all of `unsynced` applied in order gives `live`, except after a failed sync, which may
//! leave bytes in `live` that no later sync will write (pages marked clean).

use crate::dice::Dice;
use crate::disk::image::Image;
use crate::faults::{Counts, Fault};

/// The unit of tearing.
pub const UNIT: usize = 512;

#[derive(Clone, Default)]
pub struct File {
    live: Image,
    stable: Image,
    unsynced: Vec<Unsynced>,
    mark: u64,
}

#[derive(Clone)]
struct Unsynced {
    mark: u64,
    change: Change,
}

#[derive(Clone)]
enum Change {
    Data {
        offset: usize,
        bytes: Vec<u8>,
    },
    /// The file's length, cut or extended with zeros.
    Len(usize),
}

/// What a power loss does to the unsynced changes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    LoseAll,
    KeepAll,
    /// Each change by a coin of its own: later ones survive earlier ones.
    PerWrite,
    /// Each sector by a coin of its own.
    PerSector,
}

impl Fate {
    pub fn draw(dice: &mut Dice) -> Fate {
        dice.pick(&[Fate::LoseAll, Fate::KeepAll, Fate::PerWrite, Fate::PerSector])
    }
}

impl File {
    /// A file whose bytes are all on the platter.
    pub fn settled(bytes: &[u8]) -> File {
        let image = Image::of(bytes);
        File { stable: image.clone(), live: image, unsynced: Vec::new(), mark: 0 }
    }

    /// What is surely durable of it, as a file of its own.
    pub fn worst_case(&self) -> File {
        File { stable: self.stable.clone(), live: self.stable.clone(), unsynced: Vec::new(), mark: 0 }
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub fn live(&self) -> &Image {
        &self.live
    }

    pub fn stable(&self) -> &Image {
        &self.stable
    }

    /// Changes up to here are covered by a sync submitted now.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    fn note(&mut self, change: Change) {
        self.mark += 1;
        self.unsynced.push(Unsynced { mark: self.mark, change });
    }

    /// A write into the cache.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.live.put(offset, bytes);
        self.note(Change::Data { offset, bytes: bytes.to_vec() });
    }

    /// A write to the platter, with the length that is needed to find it again.
    pub fn write_through(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.live.put(offset, bytes);
        self.stable.put(offset, bytes);
        if !self.unsynced.is_empty() {
            self.supersede(offset, offset + bytes.len());
        }
    }

    /// Takes `[start, end)` out of every unsynced change: newer bytes are on the platter there.
    fn supersede(&mut self, start: usize, end: usize) {
        let mut kept = Vec::with_capacity(self.unsynced.len());
        for Unsynced { mark, change } in self.unsynced.drain(..) {
            match change {
                Change::Data { offset, bytes } => {
                    let to = offset + bytes.len();
                    if to <= start || offset >= end {
                        kept.push(Unsynced { mark, change: Change::Data { offset, bytes } });
                        continue;
                    }
                    if offset < start {
                        let head = bytes[..start - offset].to_vec();
                        kept.push(Unsynced { mark, change: Change::Data { offset, bytes: head } });
                    }
                    if to > end {
                        let tail = bytes[end - offset..].to_vec();
                        kept.push(Unsynced { mark, change: Change::Data { offset: end, bytes: tail } });
                    }
                }
                // A length change that the write came after must not cut it.
                Change::Len(len) => kept.push(Unsynced { mark, change: Change::Len(len.max(end)) }),
            }
        }
        self.unsynced = kept;
    }

    /// Cuts or extends the file, in the cache.
    pub fn set_len(&mut self, len: usize) {
        if self.live.len() != len {
            self.live.set_len(len);
            self.note(Change::Len(len));
        }
    }

    fn apply(image: &mut Image, change: &Change) {
        match change {
            Change::Data { offset, bytes } => image.put(*offset, bytes),
            Change::Len(len) => image.set_len(*len),
        }
    }

    /// Makes durable every change noted up to `mark`.
    pub fn sync(&mut self, mark: u64) {
        let later = self.unsynced.partition_point(|unsynced| unsynced.mark <= mark);
        for unsynced in self.unsynced.drain(..later) {
            File::apply(&mut self.stable, &unsynced.change);
        }
    }

    /// A sync that fails: each change it covered may have reached the platter, or not. A buffered file's pages count
    /// as clean either way, and keep their bytes until the power goes; a direct file's changes may still be in the
    /// drive's cache.
    pub fn sync_failed(&mut self, mark: u64, direct: bool, dice: &mut Dice) {
        let later = self.unsynced.partition_point(|unsynced| unsynced.mark <= mark);
        let covered: Vec<Unsynced> = self.unsynced.drain(..later).collect();
        let mut waiting = Vec::new();
        for unsynced in covered {
            if dice.coin() {
                File::apply(&mut self.stable, &unsynced.change);
            } else if direct {
                waiting.push(unsynced);
            }
        }
        waiting.append(&mut self.unsynced);
        self.unsynced = waiting;
    }

    /// The power goes: what was unsynced is lost or kept as `fate` says, and what remains is durable.
    pub fn lose_power(&mut self, fate: Fate, dice: &mut Dice, counts: &mut Counts) {
        let mut lost_before = false;
        for Unsynced { change, .. } in std::mem::take(&mut self.unsynced) {
            let kept = match fate {
                Fate::LoseAll => false,
                Fate::KeepAll => true,
                Fate::PerWrite => dice.coin(),
                Fate::PerSector => match &change {
                    Change::Data { offset, bytes } => {
                        scatter(&mut self.stable, *offset, bytes, dice);
                        counts.add(Fault::TornWrite);
                        continue;
                    }
                    Change::Len(_) => dice.coin(),
                },
            };
            if kept {
                File::apply(&mut self.stable, &change);
                counts.add(if lost_before { Fault::ReorderedWrites } else { Fault::KeptUnsynced });
            } else {
                counts.add(Fault::LostUnsynced);
                lost_before = true;
            }
        }
        self.live = self.stable.clone();
    }

    /// Part of a write that was in flight, as a power loss leaves it: on the platter, or never to be there.
    pub fn tear_stable(&mut self, offset: usize, bytes: &[u8], dice: &mut Dice, counts: &mut Counts) {
        match dice.below(5) {
            0 => {}
            1 => self.stable.put(offset, bytes),
            2 => {
                let units = bytes.len().div_ceil(UNIT) as u64;
                let len = (dice.between(0, units) as usize * UNIT).min(bytes.len());
                self.stable.put(offset, &bytes[..len]);
                counts.add(Fault::TornWrite);
            }
            3 => {
                scatter(&mut self.stable, offset, bytes, dice);
                counts.add(Fault::TornWrite);
            }
            _ => {
                scatter(&mut self.stable, offset, bytes, dice);
                let at = offset + dice.index(bytes.len().div_ceil(UNIT)) * UNIT;
                let mut garbage = [0u8; UNIT];
                dice.fill(&mut garbage);
                let len = UNIT.min(offset + bytes.len() - at);
                self.stable.put(at, &garbage[..len]);
                counts.add(Fault::TornWrite);
                counts.add(Fault::GarbageSector);
            }
        }
    }

    /// Part of a write that was in flight, as the kill of a process leaves it: some of it in the cache.
    pub fn tear_live(&mut self, offset: usize, bytes: &[u8], durable: bool, dice: &mut Dice) {
        match dice.below(4) {
            0 => {}
            1 if durable => self.write_through(offset, bytes),
            1 | 2 => self.write(offset, bytes),
            _ => {
                let units = bytes.len().div_ceil(UNIT) as u64;
                let len = (dice.between(0, units) as usize * UNIT).min(bytes.len());
                self.write(offset, &bytes[..len]);
            }
        }
    }

    /// Damage: these bytes are what the platter holds from now on, and reads give them.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        for image in [&mut self.stable, &mut self.live] {
            let len = bytes.len().min(image.len().saturating_sub(offset));
            image.put(offset, &bytes[..len]);
        }
    }
}

/// Writes each sector of `bytes` or leaves it, by a coin.
fn scatter(image: &mut Image, offset: usize, bytes: &[u8], dice: &mut Dice) {
    let mut at = 0;
    while at < bytes.len() {
        // The first piece ends where the file's sector ends, so that pieces are the drive's units.
        let len = (UNIT - (offset + at) % UNIT).min(bytes.len() - at);
        if dice.coin() {
            image.put(offset + at, &bytes[at..at + len]);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Purpose;

    fn lose(file: &mut File, fate: Fate) {
        file.lose_power(fate, &mut Dice::new(3, Purpose::Disk), &mut Counts::default());
    }

    #[test]
    fn a_durable_write_takes_older_unsynced_bytes_out() {
        let mut file = File::settled(&[0; 4096]);
        file.write(0, &[1; 2048]);
        file.write_through(512, &[2; 512]);
        lose(&mut file, Fate::KeepAll);
        let at = |at: usize| file.live().to_vec()[at];
        assert_eq!([at(0), at(512), at(1024)], [1, 2, 1]);
        let mut file = File::settled(&[0; 4096]);
        file.write(0, &[1; 2048]);
        file.write_through(512, &[2; 512]);
        lose(&mut file, Fate::LoseAll);
        let at = |at: usize| file.live().to_vec()[at];
        assert_eq!([at(0), at(512), at(1024)], [0, 2, 0]);
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_was_asked() {
        let mut file = File::default();
        file.write(0, &[1; 512]);
        let mark = file.mark();
        file.write(512, &[2; 512]);
        file.sync(mark);
        lose(&mut file, Fate::LoseAll);
        assert_eq!(file.live().to_vec(), [1; 512]);
    }

    #[test]
    fn a_failed_sync_of_a_buffered_file_leaves_clean_pages_that_no_sync_writes() {
        let mut seen = [false; 2];
        for seed in 0..20 {
            let mut file = File::default();
            file.write(0, &[1; 512]);
            file.sync_failed(file.mark(), false, &mut Dice::new(seed, Purpose::Disk));
            file.sync(file.mark());
            assert_eq!(file.live().to_vec(), [1; 512]);
            lose(&mut file, Fate::KeepAll);
            seen[usize::from(file.is_empty())] = true;
        }
        assert_eq!(seen, [true, true]);
    }
}
