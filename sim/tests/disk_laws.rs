//! The laws of the disk model: what may be lost, and what never.

use bytes::{Bytes, BytesMut};
use highwater::boundary::{Done, FileId, Op, OpenMode};
use highwater_sim::dice::{Dice, Purpose};
use highwater_sim::disk::{Disk, Trouble};
use highwater_sim::faults::Counts;
use proptest::prelude::*;

const SECTOR: usize = 512;
const SECTORS: usize = 32;

struct Bench {
    disk: Disk,
    dice: Dice,
    counts: Counts,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        Bench { disk: Disk::default(), dice: Dice::new(seed, Purpose::Disk), counts: Counts::default() }
    }

    fn perform(&mut self, op: Op) -> Done {
        let mark = self.disk.mark(&op);
        self.disk.perform(op, Trouble::None, mark, &mut self.dice, &mut self.counts)
    }

    fn ended(&mut self, op: Op) {
        let done = self.perform(op);
        assert!(matches!(done, Done::Ended(Ok(()))), "{done:?}");
    }

    fn open(&mut self, path: &str, create: bool) -> Option<FileId> {
        let mode = OpenMode { create, truncate: false, direct: false };
        match self.perform(Op::Open { path: path.to_string(), mode }) {
            Done::Opened(Ok(opened)) => Some(opened.file),
            _ => None,
        }
    }

    fn write(&mut self, file: FileId, sector: usize, fill: u8, sectors: usize, durable: bool) {
        let data = vec![Bytes::from(vec![fill; sectors * SECTOR])];
        let op = Op::Write { file, offset: (sector * SECTOR) as u64, data, durable };
        assert!(matches!(self.perform(op), Done::Wrote(Ok(_))));
    }

    fn read(&mut self, file: FileId) -> Vec<u8> {
        let len = SECTORS * SECTOR;
        match self.perform(Op::Read { file, offset: 0, buf: BytesMut::with_capacity(len), len }) {
            Done::Read { buf, result: Ok(_) } => buf.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn lose_power(&mut self) {
        self.disk.lose_power(&mut self.dice, &mut self.counts);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { sector: usize, sectors: usize, durable: bool },
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..SECTORS - 4, 1..4usize, any::<bool>()).prop_map(|(sector, sectors, durable)| Step::Write {
        sector,
        sectors,
        durable,
    });
    prop::collection::vec(prop_oneof![4 => write, 1 => Just(Step::Sync)], 1..40)
}

proptest! {
    /// After a power loss each sector holds its last durable content, or one written later and not synced.
    #[test]
    fn a_sector_is_never_older_than_its_last_durable_write(steps in steps(), seed in any::<u64>()) {
        let mut bench = Bench::new(seed);
        let file = bench.open("f", true).unwrap();
        bench.ended(Op::Allocate { file, offset: 0, len: (SECTORS * SECTOR) as u64 });
        bench.ended(Op::Sync { file });
        bench.ended(Op::SyncDir { path: String::new() });
        let mut allowed: Vec<Vec<u8>> = vec![vec![0]; SECTORS];
        for (number, step) in steps.iter().enumerate() {
            let fill = number as u8 + 1;
            match step {
                Step::Write { sector, sectors, durable } => {
                    bench.write(file, *sector, fill, *sectors, *durable);
                    for seen in &mut allowed[*sector..sector + sectors] {
                        if *durable {
                            seen.clear();
                        }
                        seen.push(fill);
                    }
                }
                Step::Sync => {
                    bench.ended(Op::Sync { file });
                    for seen in &mut allowed {
                        seen.drain(..seen.len() - 1);
                    }
                }
            }
        }
        let live = bench.read(file);
        for (sector, seen) in allowed.iter().enumerate() {
            prop_assert_eq!(live[sector * SECTOR], *seen.last().unwrap());
        }
        let mut worst = Bench { disk: bench.disk.worst_case(), dice: bench.dice.clone(), counts: Counts::default() };
        bench.lose_power();
        let file = bench.open("f", false).unwrap();
        let kept = bench.read(file);
        let file = worst.open("f", false).unwrap();
        let least = worst.read(file);
        for (sector, seen) in allowed.iter().enumerate() {
            let content = &kept[sector * SECTOR..(sector + 1) * SECTOR];
            prop_assert!(content.iter().all(|byte| *byte == content[0]), "sector {} is torn inside", sector);
            prop_assert!(seen.contains(&content[0]), "sector {} holds {}, may hold {:?}", sector, content[0], seen);
            prop_assert_eq!(least[sector * SECTOR], seen[0], "the worst case keeps only what is durable");
        }
    }

    /// A name is there after a power loss if its folder was synced after it was made; a new one may be lost.
    #[test]
    fn names_survive_once_their_folder_is_synced(synced in 0..6usize, made in 0..6usize, seed in any::<u64>()) {
        let mut bench = Bench::new(seed);
        bench.ended(Op::MakeDir { path: "d".to_string() });
        bench.ended(Op::SyncDir { path: String::new() });
        for number in 0..synced {
            bench.open(&format!("d/old-{number}"), true).unwrap();
        }
        bench.ended(Op::SyncDir { path: "d".to_string() });
        for number in 0..made {
            bench.open(&format!("d/new-{number}"), true).unwrap();
        }
        bench.lose_power();
        for number in 0..synced {
            let there = bench.open(&format!("d/old-{number}"), false).is_some();
            prop_assert!(there);
        }
    }

    /// A rename that was not synced leaves one of the two, whole.
    #[test]
    fn a_rename_is_atomic(seed in any::<u64>()) {
        let mut bench = Bench::new(seed);
        let old = bench.open("now", true).unwrap();
        bench.write(old, 0, 1, 2, true);
        let new = bench.open("tmp", true).unwrap();
        bench.write(new, 0, 2, 2, true);
        bench.ended(Op::SyncDir { path: String::new() });
        bench.ended(Op::Rename { from: "tmp".to_string(), to: "now".to_string() });
        bench.lose_power();
        let file = bench.open("now", false).unwrap();
        let content = bench.read(file);
        let other = bench.open("tmp", false).is_some();
        prop_assert_eq!(content.len(), 2 * SECTOR);
        prop_assert_eq!(content, vec![if other { 1 } else { 2 }; 2 * SECTOR]);
    }

    /// A kill loses nothing that was completed.
    #[test]
    fn a_kill_keeps_what_was_written(steps in steps(), seed in any::<u64>()) {
        let mut bench = Bench::new(seed);
        let file = bench.open("f", true).unwrap();
        for (number, step) in steps.iter().enumerate() {
            if let Step::Write { sector, sectors, durable } = step {
                bench.write(file, *sector, number as u8 + 1, *sectors, *durable);
            }
        }
        let before = bench.read(file);
        bench.disk.process_gone();
        let file = bench.open("f", false).unwrap();
        prop_assert_eq!(bench.read(file), before);
    }
}
