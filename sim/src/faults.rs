//! Every fault by its name, and how often each has fired.
//!
//! A fault that a sweep of a thousand seeds never fires is a hole in the search: the sweep fails.

macro_rules! faults {
    ($($group:literal: $($name:ident = $text:literal),+;)+) => {
        /// What can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($($name,)+)+ }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$($(Fault::$name,)+)+];

            pub fn name(self) -> &'static str {
                match self { $($(Fault::$name => $text,)+)+ }
            }

            pub fn group(self) -> &'static str {
                match self { $($(Fault::$name => $group,)+)+ }
            }
        }
    };
}

faults! {
    "disk":
        LostUnsynced = "unsynced write lost",
        KeptUnsynced = "unsynced write kept",
        TornWrite = "write torn by power loss",
        GarbageSector = "garbage in a torn write",
        ReorderedWrites = "later unsynced write kept, earlier lost",
        LostName = "create or mkdir lost",
        LostRename = "rename lost",
        LostRemove = "remove lost",
        FailedSync = "sync failed",
        ReadError = "read error",
        WriteError = "write error",
        DiskFull = "disk full",
        ShortRead = "short read",
        ShortWrite = "short write",
        BitFlip = "bit flipped",
        ZeroedSector = "sector zeroed",
        MisdirectedWrite = "write misdirected",
        LostWrite = "write lost",
        StaleSector = "sector gone stale",
        IndexFlip = "bit flipped in an index",
        IndexZeroed = "sector of an index zeroed",
        IndexLost = "write of an index lost",
        IndexForeign = "index of another segment",
        IndexGarbage = "garbage in an index",
        Stall = "disk stalled",
        SlowJournal = "write to a slow journal",
        OutOfOrder = "completions out of order",
        Wipe = "disk wiped",
        Rollback = "disk rolled back";
    "network":
        Fragment = "frame in fragments",
        Coalesced = "frames coalesced",
        Delay = "delivery delayed",
        Reset = "connection reset",
        ResetMidFrame = "reset in mid-frame",
        HalfOpen = "connection half-open",
        SlowReader = "slow reader",
        Untaken = "answer not taken in time",
        DisconnectBeforeAnswer = "client left before its answer";
    "clock":
        WallSkew = "wall clock off",
        Drift = "clock drifts",
        StepForward = "wall clock steps forward",
        StepBack = "wall clock steps back",
        Freeze = "process frozen",
        LateTick = "tick late",
        SpuriousTick = "tick for nothing";
    "process":
        Kill = "process killed",
        PowerLoss = "power lost",
        CrashInRecovery = "crash in recovery",
        Stop = "clean stop and restart",
        Reshard = "number of shards changed",
        CrashInReshard = "crash while the number of shards changes";
    "client":
        BadCrc = "batch with a wrong checksum",
        BadSequence = "batch with a wrong sequence",
        BadEpoch = "batch of a fenced producer epoch",
        TooLarge = "batch too large",
        Retry = "batch sent again",
        Again = "acknowledged batch sent again",
        NewEpoch = "producer raises its epoch",
        NewProducer = "producer asks for another id",
        Stranger = "stranger's bytes";
    "seen":
        Look = "durable image held against the ledger",
        Roll = "segment rolled",
        Wrap = "journal file used again",
        StartMoved = "log start moved by retention",
        Compacted = "compaction took away what was overtaken",
        TombstoneGone = "tombstone gone after its time",
        KeptStart = "start of the compacted log moved",
        Purge = "records deleted by a client",
        PurgeBeyond = "deletion beyond the high watermark refused",
        Recoded = "batch read that the broker compressed",
        TimeLookup = "lookup by time",
        EpochLookup = "lookup by leader epoch",
        Incremental = "incremental fetch",
        SilentPart = "partition without news left out",
        LostSession = "fetch session lost",
        FencedLeader = "stale leader epoch refused",
        RefusedPart = "damaged partition refused";
}

/// How often each fault has fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; Fault::ALL.len()])
    }
}

impl Counts {
    pub fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub fn get(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub fn merge(&mut self, other: &Counts) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.iter().map(|fault| (*fault, self.get(*fault)))
    }
}
