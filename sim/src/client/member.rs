//! A member of a group: finds its coordinator, joins, syncs, heartbeats, commits, asks for offsets; leaves, dies without a
//! word, comes back, sleeps through its session and commits all the same. One of them is no member of anything: it commits
//! for a group without members, and deletes what it has committed.
//!
//! It leads where it is told to: every partition of the first topic goes to one member. What it is told goes into the
//! claims of the ledger, and is judged there.

use crate::client::{Ctx, Link, Linked, Sent, decode};
use crate::dice::Dice;
use crate::ledger::{Ledger, TopicState};
use crate::plan::GroupsPlan;
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use highwater::wire::ErrorCode;
use highwater::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use highwater::wire::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use highwater::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use highwater::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use highwater::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use highwater::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use highwater::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use highwater::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use highwater::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use std::borrow::Cow;

pub enum What {
    Find,
    Join,
    Sync,
    Beat,
    /// Partitions, and the numbers that stand for the commits.
    Commit(Vec<(i32, i64)>),
    Fetch,
    Leave,
    /// Offsets of these partitions, and the numbers that stand for it.
    Delete(Vec<(i32, i64)>),
    DeleteGroup(Vec<(i32, i64)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Finding,
    Joining,
    Syncing,
    Stable,
    /// Its coordinator refuses, rightly.
    Refused,
}

pub struct Member {
    pub link: Link<What>,
    group: String,
    /// Commits without membership.
    plain: bool,
    /// A static member's.
    instance: Option<String>,
    version: i16,
    session_ms: i32,
    pause: Nanos,
    /// Commits that must still be acknowledged.
    commits_left: u32,
    stage: Stage,
    id: String,
    generation: i32,
    /// Those whom it must assign to, where it leads.
    led: Vec<String>,
    owned: Vec<i32>,
    next_at: Nanos,
}

/// The partitions of the first topic are what groups share.
pub const TOPIC: usize = 0;

impl Linked for Member {
    type What = What;

    fn link(&mut self) -> &mut Link<What> {
        &mut self.link
    }

    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<What>, body: &[u8]) {
        match sent.what {
            What::Find => {
                let Some(answer) = decode::<FindCoordinatorResponse>(ctx, body, sent.version) else { return };
                let error = answer.coordinators.first().map_or(answer.error_code, |found| found.error_code);
                if self.passes(ctx, "FindCoordinator", error) {
                    self.stage = if self.plain { Stage::Stable } else { Stage::Joining };
                }
            }
            What::Delete(numbers) => {
                let Some(answer) = decode::<OffsetDeleteResponse>(ctx, body, sent.version) else { return };
                let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
                let error = partition.map_or(answer.error_code, |partition| partition.error_code);
                self.on_deleted(ctx, &numbers, error);
            }
            What::DeleteGroup(numbers) => {
                let Some(answer) = decode::<DeleteGroupsResponse>(ctx, body, sent.version) else { return };
                let error = answer.results.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |result| result.error_code);
                self.on_deleted(ctx, &numbers, error);
            }
            What::Join => {
                let Some(answer) = decode::<JoinGroupResponse>(ctx, body, sent.version) else { return };
                self.on_joined(ctx, &answer);
            }
            What::Sync => {
                let Some(answer) = decode::<SyncGroupResponse>(ctx, body, sent.version) else { return };
                if self.passes(ctx, "SyncGroup", answer.error_code) {
                    self.owned = answer.assignment.iter().map(|byte| i32::from(*byte)).collect();
                    self.stage = Stage::Stable;
                    let owner = self.instance.as_ref().unwrap_or(&self.id);
                    let verdict = ctx.ledger.claims.assigned(&self.group, self.generation, owner, &self.owned);
                    ctx.judge(verdict);
                }
            }
            What::Beat => {
                let Some(answer) = decode::<HeartbeatResponse>(ctx, body, sent.version) else { return };
                self.passes(ctx, "Heartbeat", answer.error_code);
            }
            What::Commit(numbers) => {
                let Some(answer) = decode::<OffsetCommitResponse>(ctx, body, sent.version) else { return };
                self.on_committed(ctx, &numbers, &answer);
            }
            What::Fetch => {
                let Some(answer) = decode::<OffsetFetchResponse>(ctx, body, sent.version) else { return };
                let (error, seen) = seen_in(&answer);
                if self.passes(ctx, "OffsetFetch", error) {
                    for (partition, offset) in seen {
                        let verdict = ctx.ledger.claims.fetched(&self.group, partition, offset, sent.at);
                        ctx.judge(verdict);
                    }
                }
            }
            What::Leave => {
                let Some(answer) = decode::<LeaveGroupResponse>(ctx, body, sent.version) else { return };
                let error = answer.members.first().map_or(answer.error_code, |member| member.error_code);
                if self.passes(ctx, "LeaveGroup", error) {
                    self.id.clear();
                    self.stage = Stage::Joining;
                }
            }
        }
    }

    /// What was on its way has an unknown end; a join is asked again.
    fn on_lost(&mut self, _: Vec<Sent<What>>) {
        if self.stage == Stage::Syncing {
            self.stage = Stage::Joining;
        }
    }

    fn go_on(&mut self, ctx: &mut Ctx) {
        if !self.link.is_up() || !self.link.sent.is_empty() || self.stage == Stage::Refused {
            return;
        }
        if ctx.now < self.next_at || !topic_serves(ctx.ledger) {
            let at = self.next_at.max(ctx.now + 5 * MILLIS);
            return self.link.wake(ctx, at);
        }
        let done = self.commits_left == 0 || (self.owned.is_empty() && !self.plain);
        self.next_at = ctx.now
            + if !ctx.calm {
                ctx.dice.skewed(self.pause / 2)
            } else if done && self.stage == Stage::Stable {
                // It only stays, and says so often enough for its session.
                self.session_ms as u64 * MILLIS / 4
            } else {
                5 * MILLIS
            };
        match self.stage {
            Stage::Finding => self.find(ctx),
            Stage::Joining => self.join(ctx),
            Stage::Syncing => self.sync(ctx),
            Stage::Stable => self.live(ctx),
            Stage::Refused => {}
        }
        self.link.maybe_leave(ctx);
        self.link.wake(ctx, self.next_at);
    }
}

impl Member {
    pub fn new(number: u16, plan: &GroupsPlan, dice: &mut Dice) -> Member {
        let plain = number == 0;
        let group = if plain { "plain".to_string() } else { format!("group-{}", number % plan.groups) };
        let fixed = !plain && dice.chance(300_000);
        Member {
            link: Link::new(format!("member-{number}")),
            group,
            plain,
            instance: fixed.then(|| format!("static-{number}")),
            version: dice.between(5, 10) as i16,
            session_ms: plan.session_ms,
            pause: plan.pause_ms * MILLIS,
            commits_left: plan.commits,
            stage: Stage::Finding,
            id: String::new(),
            generation: -1,
            led: Vec::new(),
            owned: Vec::new(),
            next_at: 0,
        }
    }

    pub fn unfinished(&self, ledger: &Ledger) -> Option<String> {
        // With nothing of its own it has nothing to commit.
        let spare = self.stage == Stage::Stable && self.owned.is_empty();
        let idle = spare || self.commits_left == 0 || self.stage == Stage::Refused || ledger.claims.may_lose;
        if idle || self.link.is_retired() || !topic_serves(ledger) {
            return None;
        }
        let stage = match self.stage {
            Stage::Finding => "finding",
            Stage::Joining => "joining",
            Stage::Syncing => "syncing",
            Stage::Stable => "stable",
            Stage::Refused => "refused",
        };
        Some(format!(
            "{}; {stage} in generation {}, {} commits left",
            self.link.describe(),
            self.generation,
            self.commits_left
        ))
    }

    fn find(&mut self, ctx: &mut Ctx) {
        let version = self.version.min(6);
        let mut request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec![self.group.clone().into()];
        } else {
            request.key = self.group.clone().into();
        }
        self.link.send(ctx, version, &request, What::Find, true);
    }

    fn join(&mut self, ctx: &mut Ctx) {
        let metadata = if ctx.dice.coin() { &b"one"[..] } else { b"two" };
        let protocol = JoinGroupRequestProtocol { name: "each".into(), metadata: Cow::Borrowed(metadata) };
        let request = JoinGroupRequest {
            group_id: self.group.clone().into(),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: 2 * self.session_ms,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.clone().map(Cow::Owned),
            protocol_type: "sim".into(),
            protocols: vec![protocol],
            reason: None,
        };
        self.link.send(ctx, self.version.min(9), &request, What::Join, true);
    }

    fn sync(&mut self, ctx: &mut Ctx) {
        let partitions = ctx.ledger.topics[TOPIC].parts.len() as u16;
        let led = std::mem::take(&mut self.led);
        let mut parts: Vec<(String, Vec<u8>)> = led.into_iter().map(|id| (id, Vec::new())).collect();
        let shift = ctx.dice.below(8) as usize;
        for partition in 0..usize::from(partitions) {
            let count = parts.len().max(1);
            if let Some((_, bytes)) = parts.get_mut((partition + shift) % count) {
                bytes.push(partition as u8);
            }
        }
        let assignments = parts.into_iter().map(|(member_id, assignment)| SyncGroupRequestAssignment {
            member_id: member_id.into(),
            assignment: Cow::Owned(assignment),
        });
        let request = SyncGroupRequest {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.clone().map(Cow::Owned),
            protocol_type: Some("sim".into()),
            protocol_name: Some("each".into()),
            assignments: assignments.collect(),
        };
        self.link.send(ctx, self.version.min(5), &request, What::Sync, true);
    }

    /// One thing that a member does.
    fn live(&mut self, ctx: &mut Ctx) {
        if self.commits_left == 0 && self.plain {
            return self.fetch(ctx);
        }
        if self.commits_left == 0 {
            // It stays, so that the others need not share anew, and then it is done.
            return self.beat(ctx);
        }
        if self.plain {
            return self.live_plainly(ctx);
        }
        match ctx.dice.below(if ctx.calm { 70 } else { 100 }) {
            0..50 if !self.owned.is_empty() => self.commit(ctx),
            0..60 => self.beat(ctx),
            60..76 => self.fetch(ctx),
            76..82 => self.leave(ctx),
            82..88 => {
                // It dies without a word, and comes back as a stranger, or under its old name.
                self.id.clear();
                self.stage = Stage::Joining;
            }
            88..94 => self.stage = Stage::Joining,
            _ => {
                // It sleeps, and does not know that its time has passed.
                let session = self.session_ms as u64 * MILLIS;
                self.next_at = ctx.now + session + ctx.dice.below(2 * session);
            }
        }
    }

    /// What somebody does who keeps offsets and is no member.
    fn live_plainly(&mut self, ctx: &mut Ctx) {
        self.owned = (0..ctx.ledger.topics[TOPIC].parts.len() as i32).collect();
        match ctx.dice.below(100) {
            0..60 => self.commit(ctx),
            60..80 => self.fetch(ctx),
            80..95 => {
                let partition = ctx.dice.index(self.owned.len()) as i32;
                let number = ctx.ledger.claims.deletes(&self.group, partition, ctx.now);
                let topic = OffsetDeleteRequestTopic {
                    name: ctx.ledger.topics[TOPIC].name.clone().into(),
                    partitions: vec![OffsetDeleteRequestPartition { partition_index: partition }],
                };
                let request = OffsetDeleteRequest { group_id: self.group.clone().into(), topics: vec![topic] };
                self.link.send(ctx, 0, &request, What::Delete(vec![(partition, number)]), true);
            }
            _ => {
                let now = ctx.now;
                let number = |partition| (partition, ctx.ledger.claims.deletes(&self.group, partition, now));
                let numbers: Vec<(i32, i64)> = self.owned.iter().copied().map(number).collect();
                let request = DeleteGroupsRequest { groups_names: vec![self.group.clone().into()] };
                self.link.send(ctx, self.version.min(3), &request, What::DeleteGroup(numbers), true);
            }
        }
    }

    /// A deletion has been answered: what is not there is deleted as well.
    fn on_deleted(&mut self, ctx: &mut Ctx, numbers: &[(i32, i64)], error: ErrorCode) {
        let taken = matches!(error, ErrorCode::NONE | ErrorCode::GROUP_ID_NOT_FOUND);
        for (partition, number) in numbers {
            let verdict = ctx.ledger.claims.ended(&self.group, *partition, *number, taken, ctx.now);
            ctx.judge(verdict);
        }
        if !taken {
            self.passes(ctx, "a deletion", error);
        }
    }

    fn beat(&mut self, ctx: &mut Ctx) {
        let request = HeartbeatRequest {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.clone().map(Cow::Owned),
        };
        self.link.send(ctx, self.version.min(4), &request, What::Beat, true);
    }

    fn commit(&mut self, ctx: &mut Ctx) {
        let count = ctx.dice.between(1, self.owned.len() as u64) as usize;
        let from = ctx.dice.index(self.owned.len());
        let chosen: Vec<i32> = (0..count).map(|step| self.owned[(from + step) % self.owned.len()]).collect();
        let mut numbers = Vec::new();
        let mut partitions = Vec::new();
        for partition in chosen {
            let number = ctx.ledger.claims.sent(&self.group, self.generation, partition, ctx.now);
            numbers.push((partition, number));
            partitions.push(OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: number,
                committed_leader_epoch: -1,
                committed_metadata: Some("m".into()),
            });
        }
        let topic = &ctx.ledger.topics[TOPIC];
        let topic = OffsetCommitRequestTopic {
            name: topic.name.clone().into(),
            topic_id: topic.id.expect("it serves"),
            partitions,
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.clone().map(Cow::Owned),
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        self.link.send(ctx, self.version, &request, What::Commit(numbers), true);
    }

    fn fetch(&mut self, ctx: &mut Ctx) {
        let topic = &ctx.ledger.topics[TOPIC];
        let request = fetch_request(
            &self.group,
            &topic.name,
            topic.id.expect("it serves"),
            topic.parts.len() as u16,
            self.version,
        );
        self.link.send(ctx, self.version, &request, What::Fetch, true);
    }

    fn leave(&mut self, ctx: &mut Ctx) {
        let member = MemberIdentity {
            member_id: self.id.clone().into(),
            group_instance_id: self.instance.clone().map(Cow::Owned),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: self.group.clone().into(),
            members: vec![member],
            ..LeaveGroupRequest::default()
        };
        self.link.send(ctx, self.version.clamp(3, 5), &request, What::Leave, true);
    }

    fn on_joined(&mut self, ctx: &mut Ctx, answer: &JoinGroupResponse) {
        if answer.error_code == ErrorCode::MEMBER_ID_REQUIRED {
            self.id = answer.member_id.clone().into_owned();
            self.next_at = ctx.now;
            return;
        }
        if !self.passes(ctx, "JoinGroup", answer.error_code) {
            return;
        }
        self.id = answer.member_id.clone().into_owned();
        self.generation = answer.generation_id;
        self.led = answer.members.iter().map(|member| member.member_id.clone().into_owned()).collect();
        self.stage = Stage::Syncing;
        self.next_at = ctx.now;
    }

    fn on_committed(&mut self, ctx: &mut Ctx, numbers: &[(i32, i64)], answer: &OffsetCommitResponse) {
        let mut all = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let mut refused = ErrorCode::NONE;
        for (partition, number) in numbers {
            let Some(outcome) = all.next().filter(|outcome| outcome.partition_index == *partition) else {
                return ctx.fail(Invariant::Answers, format!("OffsetCommit does not answer for partition {partition}"));
            };
            let taken = outcome.error_code.is_none();
            let verdict = ctx.ledger.claims.ended(&self.group, *partition, *number, taken, ctx.now);
            ctx.judge(verdict);
            if !taken {
                refused = outcome.error_code;
            }
        }
        if self.passes(ctx, "OffsetCommit", refused) {
            self.commits_left = self.commits_left.saturating_sub(1);
        }
    }

    /// False where it is refused; then what is to be done next is decided here.
    fn passes(&mut self, ctx: &mut Ctx, api: &str, error: ErrorCode) -> bool {
        match error {
            ErrorCode::NONE => return true,
            ErrorCode::REBALANCE_IN_PROGRESS => self.stage = Stage::Joining,
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::GROUP_ID_NOT_FOUND
            | ErrorCode::FENCED_INSTANCE_ID => {
                self.id.clear();
                self.stage = Stage::Joining;
            }
            ErrorCode::COORDINATOR_NOT_AVAILABLE if ctx.ledger.claims.may_refuse => {
                self.stage = Stage::Refused;
                ctx.stats.refusals += 1;
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR => {
                self.next_at = ctx.now + 20 * MILLIS;
                if self.stage != Stage::Stable {
                    self.stage = Stage::Finding;
                }
            }
            other if ctx.ledger.claims.may_refuse || ctx.ledger.beyond => {
                self.stage = Stage::Refused;
                let _tolerated = other;
            }
            other => ctx.fail(Invariant::Answers, format!("{}: {api} is answered {other}", self.group)),
        }
        false
    }
}

fn topic_serves(ledger: &Ledger) -> bool {
    let topic = &ledger.topics[TOPIC];
    topic.state == TopicState::Live && topic.id.is_some()
}

/// Asks for what one group has committed for the shared topic.
pub fn fetch_request(
    group: &str,
    topic: &str,
    id: highwater::ids::TopicId,
    partitions: u16,
    version: i16,
) -> OffsetFetchRequest<'static> {
    let indexes: Vec<i32> = (0..i32::from(partitions)).collect();
    if version < 8 {
        let topic = OffsetFetchRequestTopic { name: topic.to_string().into(), partition_indexes: indexes };
        let topics = Some(vec![topic]);
        return OffsetFetchRequest { group_id: group.to_string().into(), topics, ..OffsetFetchRequest::default() };
    }
    let topic = OffsetFetchRequestTopics { name: topic.to_string().into(), topic_id: id, partition_indexes: indexes };
    let group = OffsetFetchRequestGroup {
        group_id: group.to_string().into(),
        topics: Some(vec![topic]),
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() }
}

/// What an answer says: an error, and each partition's offset where there is one.
pub fn seen_in(answer: &OffsetFetchResponse) -> (ErrorCode, Vec<(i32, Option<i64>)>) {
    let old = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let old = old.map(|partition| (partition.partition_index, partition.committed_offset, partition.error_code));
    let new = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
    let new = new.map(|partition| (partition.partition_index, partition.committed_offset, partition.error_code));
    let mut error = answer.groups.first().map_or(answer.error_code, |group| group.error_code);
    let mut seen = Vec::new();
    for (partition, offset, code) in old.chain(new) {
        if code.is_none() {
            seen.push((partition, (offset >= 0).then_some(offset)));
        } else {
            error = code;
        }
    }
    (error, seen)
}
