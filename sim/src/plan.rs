//! A run as data: everything that a seed decides before the first event.
//!
//! The plan holds the shape of the node, the rates of the faults (swarm: each is off in many seeds), the workload and the
//! moments of disaster. It can be written down (`encode`) and run again; the streams of chance of the run itself hang
//! on `seed` alone.

use crate::dice::{Dice, Purpose};
use crate::disk::atlas::Target;
use crate::faults::Fault;
use crate::queue::{MILLIS, Nanos, SECONDS};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    pub disk: DiskRates,
    pub net: NetRates,
    pub clock: ClockRates,
    pub work: Workload,
    pub chaos: Vec<Chaos>,
    /// Crashes are added before the end where the disasters above made fewer.
    pub crashes_min: u64,
    /// When the chaos ends and everything must come to rest.
    pub heal_at: Nanos,
    pub groups: GroupsPlan,
    pub kept: KeptPlan,
}

/// The compacted topic, and who writes to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptPlan {
    pub writes: u32,
    pub keys: u32,
    /// In a million records.
    pub tombstones: u32,
    pub idempotent: bool,
    /// One codec for all batches, by Kafka's number; any if `None`.
    pub codec: Option<u8>,
    pub delete_retention_ms: u64,
    pub min_lag_ms: u64,
    /// `compact,delete`, and how long a record stays at the most.
    pub retention_ms: Option<u64>,
}

/// The members of consumer groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupsPlan {
    pub groups: u16,
    pub members: u16,
    /// Each member's, at the least.
    pub commits: u32,
    pub session_ms: i32,
    pub pause_ms: u64,
}

/// The node's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    pub shards: u16,
    pub file_bytes: u64,
    pub first_file_bytes: u64,
    pub files: u16,
    pub commit_bytes_max: usize,
    pub arena_bytes: usize,
    pub chunk_bytes: usize,
    pub memory_bytes: u64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u32,
}

/// Rates in parts per million of ops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskRates {
    pub write_us: u64,
    pub sync_us: u64,
    pub read_error: u32,
    pub write_error: u32,
    pub sync_error: u32,
    pub short: u32,
    pub stall: u32,
    /// The journal of this shard takes so many times as long as the others': what must not depend on their order, shows.
    pub slow_shard: u16,
    pub slow_by: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetRates {
    pub delay_us: u64,
    pub fragment: u32,
    pub spike: u32,
    pub reset: u32,
    pub half_open: u32,
    pub leave: u32,
    /// Of connections.
    pub slow: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockRates {
    pub skew_ms: i64,
    pub drift_ppm: i64,
    pub late: u32,
    pub spurious: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    pub topics: Vec<TopicPlan>,
    pub producers: Vec<ProducerPlan>,
    pub readers: u16,
    /// Connections of somebody who speaks no Kafka, or bad Kafka.
    pub strangers: u16,
    /// Each reader's, at the least.
    pub fetches: u32,
    /// Pause of the administrator between its requests.
    pub admin_pause_ms: u64,
    pub admin_steps: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicPlan {
    pub partitions: u16,
    /// Kafka's least `segment.bytes` is 1 MiB, so most segments here roll by age.
    pub segment_ms: u64,
    /// -1: everything is kept.
    pub retention_bytes: i64,
    /// -1: for ever.
    pub retention_ms: i64,
    /// `compression.type`: producers send batches that are not compressed. Not in runs with damage: what it hit is known by
    /// the numbers of batches in plain sight.
    pub compression: Codec,
    /// The administrator deletes records of it.
    pub purged: bool,
    /// The administrator deletes it in the middle of the run.
    pub doomed: bool,
}

/// In what a topic wants its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    Producer,
    Gzip,
    Snappy,
}

impl Codec {
    /// As in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Producer => "producer",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProducerPlan {
    pub idempotent: bool,
    pub acks: i16,
    pub version: i16,
    pub in_flight: usize,
    pub requests: u32,
    pub partitions_per_request: usize,
    pub records_per_batch: u64,
    pub value_bytes: u64,
    /// In a million requests: a batch of about 48 KB, always to the first partition of all.
    pub large: u32,
    /// In a million requests: a batch that must be refused.
    pub invalid: u32,
    /// In a million requests: one of the last batches once more, though it was acknowledged.
    pub again: u32,
    /// In a million requests: the producer's epoch goes up by one (KIP-360), and its sequences start anew.
    pub raise: u32,
    /// In a million requests: another producer id is asked for.
    pub renew: u32,
    pub pause_us: u64,
}

/// One disaster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chaos {
    pub at: Nanos,
    pub what: Disaster,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Disaster {
    /// At the `after_ops`-th disk op from now, before it is done.
    Crash {
        power: bool,
        after_ops: u32,
        down: Nanos,
        again_after_ops: Option<u32>,
        harm: Vec<Harm>,
    },
    /// A clean stop and a restart.
    Stop {
        down: Nanos,
    },
    /// From the next start on the operator asks for so many shards.
    Reshard {
        shards: u16,
    },
    /// The disk holds no more than it does now and `spare` bytes, until it does again.
    Full {
        spare: u64,
        lasts: Nanos,
    },
    Freeze {
        lasts: Nanos,
    },
    StepWall {
        ms: i64,
    },
    /// Damage while the node runs.
    Harm(Harm),
    ResetAll,
    /// Holds what is durable just now against the ledger; the node does not notice.
    Look,
    /// Outside what is promised: after it only "no wrong bytes, no panic" is checked.
    Wipe,
    Rollback,
    /// Notes the disk's durable image, for a later rollback.
    Snapshot,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    pub kind: HarmKind,
    pub target: HarmTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum HarmKind {
    BitFlip,
    Zeroed,
    Stale,
    Lost,
    Misdirected,
    /// In an index only: elsewhere it is part of a torn write.
    Garbage,
}

impl Harm {
    pub fn fault(self) -> Fault {
        let index = self.target == HarmTarget::Index;
        match self.kind {
            HarmKind::BitFlip if index => Fault::IndexFlip,
            HarmKind::Zeroed if index => Fault::IndexZeroed,
            HarmKind::Stale | HarmKind::Lost if index => Fault::IndexLost,
            HarmKind::Misdirected if index => Fault::IndexForeign,
            HarmKind::BitFlip => Fault::BitFlip,
            HarmKind::Zeroed => Fault::ZeroedSector,
            HarmKind::Stale => Fault::StaleSector,
            HarmKind::Lost => Fault::LostWrite,
            HarmKind::Misdirected => Fault::MisdirectedWrite,
            HarmKind::Garbage => Fault::IndexGarbage,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum HarmTarget {
    Journal,
    Data,
    Anything,
    /// The table of chunks beside some segment, at rest: it costs nothing but a look at the segment.
    Index,
}

impl HarmTarget {
    pub fn target(self) -> Target {
        match self {
            HarmTarget::Journal => Target::Journal,
            HarmTarget::Data => Target::Data,
            HarmTarget::Anything => Target::Anything,
            HarmTarget::Index => Target::Index,
        }
    }
}

const KIB: u64 = 1024;

impl Plan {
    pub fn draw(seed: u64) -> Plan {
        let dice = &mut Dice::new(seed, Purpose::Plan);
        let heal_at = dice.between(8, 16) * SECONDS;
        let damage = dice.chance(300_000);
        let mut plan = Plan {
            seed,
            shape: shape(dice),
            disk: disk_rates(dice),
            net: net_rates(dice),
            clock: clock_rates(dice),
            work: workload(dice, heal_at),
            chaos: chaos(dice, heal_at, damage),
            crashes_min: 3,
            heal_at,
            groups: groups(dice),
            kept: KeptPlan::default(),
        };
        if !damage {
            plan.work.topics[3].compression = dice.pick(&[
                Codec::Producer,
                Codec::Producer,
                Codec::Producer,
                Codec::Snappy,
                Codec::Snappy,
                Codec::Gzip,
            ]);
        }
        plan.kept = kept(dice);
        if dice.coin() {
            harm_indexes(dice, &mut plan);
        }
        if damage {
            batter(&mut Dice::new(seed, Purpose::Damage), &mut plan);
        }
        plan
    }

    /// A run without a fault, for a test that adds the one it is about.
    pub fn quiet(seed: u64) -> Plan {
        let mut plan = Plan::draw(seed);
        plan.disk = DiskRates { write_us: 50, sync_us: 50, slow_by: 1, ..DiskRates::default() };
        plan.net = NetRates { delay_us: 50, ..NetRates::default() };
        plan.clock = ClockRates::default();
        plan.chaos.clear();
        plan.crashes_min = 0;
        plan.work.strangers = 0;
        plan.work.topics.iter_mut().for_each(|topic| topic.compression = Codec::Producer);
        for producer in &mut plan.work.producers {
            (producer.invalid, producer.large) = (0, 0);
            (producer.again, producer.raise, producer.renew) = (0, 0, 0);
        }
        plan
    }

    /// A quiet run of four seconds: short enough that a test can run many.
    pub fn brief(seed: u64) -> Plan {
        let mut plan = Plan::quiet(seed);
        plan.heal_at = 4 * SECONDS;
        for producer in &mut plan.work.producers {
            producer.requests /= 3;
            producer.pause_us = plan.heal_at / 1_000 / u64::from(producer.requests) * 2 / 3;
        }
        plan.work.fetches /= 4;
        plan.kept.writes /= 2;
        plan.work.admin_steps = 10;
        plan
    }

    /// The run in a few lines, for people.
    pub fn describe(&self) -> Vec<String> {
        let (shape, work) = (&self.shape, &self.work);
        let partitions: u32 = work.topics.iter().map(|topic| u32::from(topic.partitions)).sum();
        let mut lines = vec![
            format!(
                "node: {} shards, each with a journal of {} files of {} KiB and {} MiB of memory",
                shape.shards,
                shape.files,
                shape.file_bytes >> 10,
                shape.memory_bytes >> 20
            ),
            format!(
                "clients: {} producers ({} idempotent), {} readers, an administrator; {} topics with {partitions} partitions",
                work.producers.len(),
                work.producers.iter().filter(|producer| producer.idempotent).count(),
                work.readers,
                work.topics.len()
            ),
        ];
        let (disk, net, clock) = (&self.disk, &self.net, &self.clock);
        let rates = [
            ("reads fail", disk.read_error),
            ("writes fail", disk.write_error),
            ("syncs fail", disk.sync_error),
            ("short reads and writes", disk.short),
            ("the disk stalls", disk.stall),
            ("frames in fragments", net.fragment),
            ("late deliveries", net.spike),
            ("resets", net.reset),
            ("half-open connections", net.half_open),
            ("clients leave", net.leave),
            ("slow readers", net.slow),
            ("late ticks", clock.late),
            ("spurious ticks", clock.spurious),
        ];
        let on: Vec<String> = rates
            .iter()
            .filter(|(_, rate)| *rate > 0)
            .map(|(what, rate)| format!("{what} ({rate} in a million)"))
            .collect();
        lines.push(format!("faults: {}", if on.is_empty() { "none by chance".to_string() } else { on.join(", ") }));
        let struck = self.chaos.iter().filter(|chaos| chaos.what != Disaster::Look).count();
        let (looks, heal) = (self.chaos.len() - struck, self.heal_at / SECONDS);
        lines.push(format!("disasters: {struck} planned, {looks} looks at the disk; the faults end after {heal} s"));
        lines
    }

    /// As bytes, to be kept beside the test of a bug.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a plan is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Result<Plan, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("not a plan: {error}"))
    }

    /// True where some disaster harms bytes that were durable, and of which there is no other copy.
    pub fn harms(&self) -> bool {
        let costs = |harm: &Harm| harm.target != HarmTarget::Index;
        self.chaos.iter().any(|chaos| match &chaos.what {
            Disaster::Crash { harm, .. } => harm.iter().any(costs),
            Disaster::Harm(harm) => costs(harm),
            Disaster::Stop { .. }
            | Disaster::Reshard { .. }
            | Disaster::Full { .. }
            | Disaster::Freeze { .. }
            | Disaster::StepWall { .. }
            | Disaster::ResetAll
            | Disaster::Look
            | Disaster::Wipe
            | Disaster::Rollback
            | Disaster::Snapshot => false,
        })
    }
}

fn shape(dice: &mut Dice) -> Shape {
    // Four of the largest batches must fit in a file.
    let file_bytes = dice.pick(&[256, 320, 384]) * KIB;
    Shape {
        shards: dice.between(1, 3) as u16,
        file_bytes,
        first_file_bytes: dice.pick(&[64 * KIB, 128 * KIB]).min(file_bytes),
        files: dice.between(3, 5) as u16,
        commit_bytes_max: dice.pick(&[64 << 10, 96 << 10, 128 << 10]),
        arena_bytes: dice.pick(&[128 << 10, 256 << 10]),
        chunk_bytes: dice.pick(&[8 << 10, 16 << 10, 64 << 10]),
        memory_bytes: dice.pick(&[8, 16, 32]) << 20,
        retention_check_ms: 1_000,
    }
}

/// `rate` in one seed of `one_in`, else off.
fn swarm(dice: &mut Dice, one_in: u64, low: u64, high: u64) -> u32 {
    if dice.below(one_in) == 0 { dice.between(low, high) as u32 } else { 0 }
}

fn disk_rates(dice: &mut Dice) -> DiskRates {
    DiskRates {
        write_us: dice.pick(&[20, 50, 200, 2_000]),
        sync_us: dice.pick(&[50, 200, 2_000]),
        read_error: swarm(dice, 4, 200, 3_000),
        write_error: swarm(dice, 6, 50, 400),
        sync_error: swarm(dice, 6, 50, 800),
        short: swarm(dice, 2, 1_000, 30_000),
        stall: swarm(dice, 3, 50, 500),
        slow_shard: dice.below(2) as u16,
        slow_by: if dice.below(3) == 0 { dice.pick(&[20, 200]) } else { 1 },
    }
}

fn net_rates(dice: &mut Dice) -> NetRates {
    NetRates {
        delay_us: dice.pick(&[30, 100, 1_000]),
        fragment: swarm(dice, 2, 20_000, 200_000),
        spike: swarm(dice, 2, 500, 10_000),
        reset: swarm(dice, 2, 200, 3_000),
        half_open: swarm(dice, 4, 100, 1_000),
        leave: swarm(dice, 3, 200, 2_000),
        slow: swarm(dice, 3, 100_000, 300_000),
    }
}

fn clock_rates(dice: &mut Dice) -> ClockRates {
    let skewed = dice.coin();
    ClockRates {
        skew_ms: if skewed { dice.between(0, 6_000_000) as i64 - 3_000_000 } else { 0 },
        drift_ppm: if dice.coin() { dice.between(0, 100_000) as i64 - 50_000 } else { 0 },
        late: swarm(dice, 2, 1_000, 100_000),
        spurious: swarm(dice, 2, 1_000, 20_000),
    }
}

fn workload(dice: &mut Dice, heal_at: Nanos) -> Workload {
    let count = dice.between(4, 6);
    let mut topics: Vec<TopicPlan> = (0..count)
        .map(|_| TopicPlan {
            partitions: dice.between(5, 8) as u16,
            segment_ms: dice.pick(&[1_200, 3_000, 6_000]),
            retention_bytes: -1,
            retention_ms: -1,
            compression: Codec::Producer,
            purged: false,
            doomed: false,
        })
        .collect();
    // The first topic takes the large batches: its segments roll by size.
    topics[0].segment_ms = 604_800_000;
    topics[1].retention_bytes = if dice.coin() { (dice.pick(&[4, 16]) * KIB) as i64 } else { -1 };
    topics[2].retention_ms = if dice.coin() { dice.pick(&[1_500, 4_000]) } else { -1 };
    let last = topics.len() - 1;
    topics[last].doomed = dice.coin();
    topics[last].purged = dice.coin();
    topics[1].purged = dice.coin();
    let count = dice.between(5, 7);
    let requests = 2_800 / count;
    let producers = (0..count).map(|number| producer(dice, number, requests as u32, heal_at)).collect();
    let readers = dice.between(4, 6) as u16;
    Workload {
        topics,
        producers,
        readers,
        strangers: if dice.coin() { dice.between(1, 25) as u16 } else { 0 },
        fetches: 2_300 / u32::from(readers),
        admin_pause_ms: dice.between(40, 200),
        admin_steps: dice.between(30, 60) as u32,
    }
}

fn groups(dice: &mut Dice) -> GroupsPlan {
    GroupsPlan {
        groups: dice.between(1, 2) as u16,
        members: dice.between(3, 6) as u16,
        commits: dice.between(15, 40) as u32,
        session_ms: dice.pick(&[300, 600, 1_500]),
        pause_ms: dice.between(20, 80),
    }
}

fn kept(dice: &mut Dice) -> KeptPlan {
    KeptPlan {
        writes: dice.between(150, 400) as u32,
        keys: dice.pick(&[3, 10, 30, 200]),
        tombstones: dice.pick(&[0, 100_000, 300_000]),
        idempotent: dice.chance(700_000),
        // gzip and zstd take most of a run's time, where every pass encodes anew.
        codec: if dice.chance(250_000) { None } else { Some(dice.pick(&[0, 2, 3])) },
        delete_retention_ms: dice.pick(&[0, 300, 300, 2_000]),
        min_lag_ms: dice.pick(&[0, 0, 500]),
        retention_ms: dice.chance(250_000).then(|| dice.between(1_000, 5_000)),
    }
}

fn producer(dice: &mut Dice, number: u64, requests: u32, heal_at: Nanos) -> ProducerPlan {
    // The first is always Kafka's default, so that no seed is without acknowledged, idempotent records.
    let idempotent = number == 0 || dice.chance(600_000);
    let acks = if idempotent { -1 } else { dice.pick(&[-1, -1, 1, 1, 0]) };
    ProducerPlan {
        idempotent,
        acks,
        version: dice.between(3, 13) as i16,
        in_flight: dice.between(1, 5) as usize,
        requests,
        partitions_per_request: dice.between(1, 3) as usize,
        records_per_batch: dice.between(1, 6),
        value_bytes: dice.pick(&[40, 100, 300]),
        large: if number == 0 { dice.between(30_000, 60_000) as u32 } else { swarm(dice, 2, 1_000, 6_000) },
        invalid: swarm(dice, 2, 2_000, 15_000),
        again: if idempotent { swarm(dice, 2, 2_000, 60_000) } else { 0 },
        raise: if idempotent { swarm(dice, 3, 2_000, 20_000) } else { 0 },
        renew: if idempotent { swarm(dice, 4, 2_000, 20_000) } else { 0 },
        pause_us: heal_at / 1_000 / u64::from(requests) * 2 / 3,
    }
}

fn harm(dice: &mut Dice, target: HarmTarget) -> Harm {
    use HarmKind::{BitFlip, Lost, Misdirected, Stale, Zeroed};
    Harm { kind: dice.pick(&[BitFlip, Zeroed, Stale, Lost, Misdirected]), target }
}

/// Damage to indexes: while the node is down, and while it runs.
fn harm_indexes(dice: &mut Dice, plan: &mut Plan) {
    use HarmKind::{BitFlip, Garbage, Lost, Misdirected, Zeroed};
    let index = |dice: &mut Dice| Harm {
        kind: dice.pick(&[BitFlip, BitFlip, Zeroed, Lost, Misdirected, Garbage]),
        target: HarmTarget::Index,
    };
    for chaos in &mut plan.chaos {
        if let Disaster::Crash { harm, .. } = &mut chaos.what {
            harm.extend((0..dice.below(4)).map(|_| index(dice)));
        }
    }
    for _ in 0..dice.below(6) {
        let at = dice.between(plan.heal_at / 12, plan.heal_at);
        plan.chaos.push(Chaos { at, what: Disaster::Harm(index(dice)) });
    }
}

/// In one of three runs with damage: crash upon crash, and up to three sectors more at each of them.
fn batter(dice: &mut Dice, plan: &mut Plan) {
    if dice.below(3) > 0 {
        return;
    }
    for _ in 0..dice.between(2, 5) {
        let what = Disaster::Crash {
            power: dice.coin(),
            after_ops: dice.below(30) as u32,
            down: dice.between(1, 100) * MILLIS,
            again_after_ops: dice.chance(200_000).then(|| dice.below(60) as u32),
            harm: Vec::new(),
        };
        plan.chaos.push(Chaos { at: dice.between(plan.heal_at / 12, plan.heal_at), what });
    }
    for chaos in &mut plan.chaos {
        if let Disaster::Crash { harm: harms, .. } = &mut chaos.what {
            let target =
                |dice: &mut Dice| if dice.chance(800_000) { HarmTarget::Journal } else { HarmTarget::Anything };
            harms.extend((0..dice.below(4)).map(|_| {
                let target = target(dice);
                harm(dice, target)
            }));
        }
    }
}

/// Looks at the durable image beside those after each crash.
const LOOKS: usize = 3;

fn chaos(dice: &mut Dice, heal_at: Nanos, damage: bool) -> Vec<Chaos> {
    let mut all = Vec::new();
    let first = heal_at / 12;
    let mut push = |dice: &mut Dice, what| all.push(Chaos { at: dice.between(first, heal_at - first), what });
    let crashes = dice.between(3, 5);
    for number in 0..crashes {
        let mut harms = Vec::new();
        if damage && dice.coin() {
            let target = if dice.chance(700_000) { HarmTarget::Journal } else { HarmTarget::Anything };
            harms.push(harm(dice, target));
        }
        let what = Disaster::Crash {
            power: number == 0 || dice.coin(),
            after_ops: dice.below(30) as u32,
            down: dice.between(1, 300) * MILLIS,
            again_after_ops: dice.chance(400_000).then(|| dice.below(60) as u32),
            harm: harms,
        };
        push(dice, what);
    }
    if dice.coin() {
        let what = Disaster::Stop { down: dice.between(1, 500) * MILLIS };
        push(dice, what);
    }
    if dice.chance(300_000) {
        let what = Disaster::Full { spare: dice.below(64) * KIB, lasts: dice.between(100, 1500) * MILLIS };
        push(dice, what);
    }
    if dice.chance(400_000) {
        let what = Disaster::Freeze { lasts: dice.between(5, 3_000) * MILLIS };
        push(dice, what);
    }
    if dice.chance(500_000) {
        // Not far back: segments would not grow old enough to roll.
        let what = Disaster::StepWall { ms: dice.between(0, 123_000) as i64 - 3_000 };
        push(dice, what);
    }
    if dice.chance(300_000) {
        push(dice, Disaster::ResetAll);
    }
    for _ in 0..LOOKS {
        push(dice, Disaster::Look);
    }
    if damage && dice.coin() {
        let what = Disaster::Harm(harm(dice, HarmTarget::Data));
        push(dice, what);
    }
    if dice.chance(300_000) {
        for _ in 0..dice.between(1, 3) {
            let at = dice.between(first, heal_at - first);
            all.extend(reshard(dice).into_iter().map(|what| Chaos { at, what }));
        }
    }
    all.sort_by_key(|chaos| chaos.at);
    if dice.chance(40_000) {
        all.push(Chaos { at: heal_at / 2, what: Disaster::Snapshot });
        all.push(Chaos { at: heal_at, what: dice.pick(&[0, 1]).into() });
    }
    all
}

/// Another number of shards, and what makes it count: a restart, with or without a crash on the way.
fn reshard(dice: &mut Dice) -> [Disaster; 2] {
    let change = Disaster::Reshard { shards: dice.between(1, 4) as u16 };
    let down = dice.between(1, 100) * MILLIS;
    if dice.chance(300_000) {
        return [change, Disaster::Stop { down }];
    }
    let (power, after_ops) = (dice.coin(), dice.below(30) as u32);
    let again_after_ops = dice.chance(700_000).then(|| dice.below(400) as u32);
    [change, Disaster::Crash { power, after_ops, down, again_after_ops, harm: Vec::new() }]
}

/// The two disasters beyond the promise.
impl From<u8> for Disaster {
    fn from(number: u8) -> Disaster {
        if number == 0 { Disaster::Wipe } else { Disaster::Rollback }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_seeds_alone_and_survives_being_written_down() {
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            assert_eq!(plan, Plan::draw(seed));
            assert_eq!(Plan::decode(&plan.encode()).unwrap(), plan);
            assert!(plan.work.topics.iter().map(|topic| topic.partitions).sum::<u16>() >= 20);
            assert!(plan.work.producers.len() + usize::from(plan.work.readers) + 1 >= 8);
        }
    }
}
