//! The metadata log's owner, on shard 0: decides one change after another, and answers when every shard has applied it.
//!
//! ```text
//! request ─ decide ─▶ records ─ append ─▶ metadata log ─ committed ─ Apply ─▶ every shard ─ Applied ─▶ answer
//! ```
//!
//! Invariant: one decision at a time: the next one sees everything that the last one did, committed and applied everywhere.

use super::connection::Slot;
use super::{Phase, Shard, produce};
use crate::api::describe_quorum::Quorum;
use crate::api::{self, Api, Route, View};
use crate::boundary::{ConnId, Level};
use crate::configs::{BrokerSettings, BrokerValues};
use crate::ids::{Offset, PartitionKey, ShardId, TopicId};
use crate::journal::Entry;
use crate::mail::{Letter, Ticket};
use crate::metadata::{Decision, Image, Record, allocate_producer_ids};
use crate::records::{self, BatchBuilder};
use crate::wire::frame::{decode_header, encode_response};
use crate::wire::{ApiKey, Reader};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// Producer ids that a shard takes at once, as Kafka's brokers do.
const PRODUCER_IDS: i64 = 1000;

#[derive(Default)]
pub struct Controller {
    /// With everything applied that was decided.
    pub image: Image,
    queue: VecDeque<Work>,
    /// What has been decided and waits for room in the journal; nothing knows of it yet.
    decided: Option<Decided>,
    deciding: Option<Deciding>,
    next_number: u64,
    pub image_sent: bool,
}

enum Work {
    Request { ticket: Ticket, user: String, frame: Bytes },
    ProducerIds { shard: ShardId },
}

impl Work {
    /// Records are smaller than the requests that asked for them, names and all; ids take a line.
    fn bytes_max(&self) -> usize {
        match self {
            Work::Request { frame, .. } if self.deletes_topics() => 128 + 16 * frame.len(),
            Work::Request { frame, .. } => 4096 + 8 * frame.len(),
            Work::ProducerIds { .. } => 4096,
        }
    }

    fn deletes_topics(&self) -> bool {
        let Work::Request { frame, .. } = self else { return false };
        frame.starts_with(&ApiKey::DELETE_TOPICS.0.to_be_bytes())
    }
}

/// A decision, and the batch of its records.
struct Decided {
    batch: BytesMut,
    records: Vec<Record>,
    reply: Reply,
}

impl Decided {
    /// Then it may take what others leave of the journal.
    fn deletes_topics(&self) -> bool {
        self.records.iter().any(|record| matches!(record, Record::TopicDeleted { .. }))
    }
}

/// The decision under way.
struct Deciding {
    number: u64,
    end: Offset,
    records: Vec<Record>,
    reply: Reply,
    /// Shards that have not applied it; nobody was asked before the commit.
    left: Option<u16>,
}

enum Reply {
    /// And for how long the connection is to be muted.
    Response(Ticket, Vec<Bytes>, u64),
    /// Answered from the image, once the topics that it wished for are there.
    Again(Ticket, Bytes),
    ProducerIds(ShardId, i64, i64),
}

/// This shard's block of producer ids.
#[derive(Default)]
pub struct ProducerIdBlock {
    next: i64,
    end: i64,
    wanted: bool,
    pub waiting: VecDeque<Ticket>,
}

impl ProducerIdBlock {
    pub fn take(&mut self) -> Option<i64> {
        let id = self.next;
        (id < self.end).then(|| {
            self.next += 1;
            id
        })
    }
}

/// What of an applied batch of records is not over yet: replicas that must lead, deletions that must be durable.
pub struct Applying {
    number: u64,
    slots: Vec<u32>,
}

impl Shard {
    pub(super) fn view(&self) -> View<'_> {
        self.view_of(&self.image)
    }

    fn view_of<'a>(&'a self, image: &'a Image) -> View<'a> {
        View {
            image,
            broker: &self.config.broker,
            settings: &self.settings,
            node: self.config.node,
            host: &self.config.advertised_host,
            port: self.config.advertised_port,
            cluster_id: &self.cluster_id,
            leaders: &self.leaders,
        }
    }

    /// Lets shard 0 decide a request of this shard's connection.
    pub(super) fn forward(&mut self, conn: ConnId, frame: Bytes) {
        let ticket = self.open_slot(conn, Slot::Forwarded);
        let user = self.conns.get(conn).map(|connection| connection.user.clone()).unwrap_or_default();
        self.send(ShardId(0), Letter::Forward { ticket, user, frame });
    }

    /// The same, of a request whose answer is expected to be so long.
    pub(super) fn forward_counted(&mut self, conn: ConnId, answer_bytes: usize, frame: &Bytes) {
        if self.may_take_more(answer_bytes) {
            self.forward(conn, frame.clone());
        }
    }

    pub(super) fn on_forwarded(&mut self, ticket: Ticket, response: Vec<Bytes>, throttle_ms: u64) {
        if response.is_empty() {
            return self.refuse(ticket.conn, "a request that cannot be read");
        }
        self.conns.throttle(ticket, throttle_ms);
        self.conns.complete(ticket.conn, ticket.request, response);
    }

    pub(super) fn on_forward(&mut self, ticket: Ticket, user: String, frame: Bytes) {
        self.controller.queue.push_back(Work::Request { ticket, user, frame });
    }

    pub(super) fn want_producer_ids(&mut self) {
        if !self.producer_ids.wanted {
            self.producer_ids.wanted = true;
            self.send(ShardId(0), Letter::WantProducerIds);
        }
    }

    pub(super) fn on_want_producer_ids(&mut self, from: ShardId) {
        self.controller.queue.push_back(Work::ProducerIds { shard: from });
    }

    pub(super) fn on_producer_ids(&mut self, first: i64, end: i64) {
        self.producer_ids.wanted = false;
        (self.producer_ids.next, self.producer_ids.end) = (first, end);
        self.give_producer_ids();
    }

    /// Decides the next change, if none is under way.
    pub(super) fn pump_controller(&mut self) {
        while self.controller.deciding.is_none() && self.phase == Phase::Serving {
            if let Some(decided) = &self.controller.decided {
                let (len, deletes) = (decided.batch.len(), decided.deletes_topics());
                let spare = deletes && self.disk_full && self.journal().ring_has_room_for_deletion(len);
                if !spare && !self.finds_room(len) {
                    return;
                }
                self.commit_decided();
                continue;
            }
            let Some(next) = self.next_decision() else { return };
            let Some(work) = self.controller.queue.remove(next) else { return };
            match work {
                Work::Request { ticket, user, frame } => self.decide(ticket, &user, frame),
                Work::ProducerIds { shard } => {
                    let Decision { records, response } = allocate_producer_ids(&self.controller.image, PRODUCER_IDS);
                    self.put_decision(records, Reply::ProducerIds(shard, response.first, response.end));
                }
            }
        }
    }

    /// Which one of those that wait can be journalled now: the first; or on a full disk the first that deletes topics, because
    /// perhaps only that makes the room that the others wait for.
    fn next_decision(&mut self) -> Option<usize> {
        let first = self.controller.queue.front()?.bytes_max();
        if self.finds_room(first.min(self.config.journal.commit_bytes_max / 2)) {
            return Some(0);
        }
        let deletion = self.controller.queue.iter().position(Work::deletes_topics).filter(|_| self.disk_full)?;
        let bytes = self.controller.queue[deletion].bytes_max();
        self.journal().ring_has_room_for_deletion(bytes).then_some(deletion)
    }

    fn decide(&mut self, ticket: Ticket, user: &str, frame: Bytes) {
        let mut reader = Reader::bounded(&frame, self.elements_max());
        let header = decode_header(&mut reader).expect("the shard that forwarded it has read it");
        let (key, version, correlation) = (header.api_key, header.api_version, header.correlation_id);
        let Route::Serve(api) = api::route(key, version) else { panic!("{key} is not served, but forwarded") };
        let client_id = header.client_id.as_deref().unwrap_or_default();
        let mut permits = self.permits(api, version, user, client_id);
        let (now, mut rng) = (self.fx.now.wall, self.rng.clone());
        let quorum = self.quorum();
        let view = self.view_of(&self.controller.image);
        let decided = match api {
            Api::CreateTopics => crate::wire::Message::decode(&mut reader, version)
                .map(|request| api::create_topics::decide(&request, &view, now, &mut rng))
                .map(|Decision { mut records, mut response }| {
                    self.permit_created(&mut permits, &mut records, &mut response);
                    let response = encode_response(correlation, key, version, &response);
                    (records, Reply::Response(ticket, response, 0))
                }),
            Api::DeleteTopics => crate::wire::Message::decode(&mut reader, version)
                .map(|request| api::delete_topics::decide(&request, version, &view))
                .map(|Decision { mut records, mut response }| {
                    self.permit_deleted(&mut permits, &mut records, &mut response);
                    let response = encode_response(correlation, key, version, &response);
                    (records, Reply::Response(ticket, response, 0))
                }),
            Api::CreatePartitions => crate::wire::Message::decode(&mut reader, version)
                .map(|request| api::create_partitions::decide(&request, &view))
                .map(|Decision { mut records, mut response }| {
                    self.permit_grown(&mut permits, &mut records, &mut response);
                    let response = encode_response(correlation, key, version, &response);
                    (records, Reply::Response(ticket, response, 0))
                }),
            Api::IncrementalAlterConfigs => crate::wire::Message::decode(&mut reader, version).map(|request| {
                let decision = api::alter_configs::decide(&request, &view);
                let response = encode_response(correlation, key, version, &decision.response);
                (decision.records, Reply::Response(ticket, response, 0))
            }),
            Api::AlterClientQuotas => crate::wire::Message::decode(&mut reader, version).map(|request| {
                let decision = api::alter_client_quotas::decide(&request, &view);
                let response = encode_response(correlation, key, version, &decision.response);
                (decision.records, Reply::Response(ticket, response, 0))
            }),
            Api::DescribeQuorum => crate::wire::Message::decode(&mut reader, version).map(|request| {
                let answer = api::describe_quorum::answer(&request, &quorum, &view);
                let response = encode_response(correlation, key, version, &answer);
                (Vec::new(), Reply::Response(ticket, response, 0))
            }),
            Api::AlterConfigs => crate::wire::Message::decode(&mut reader, version).map(|request| {
                let decision = api::alter_configs::decide_all_at_once(&request, &view);
                let response = encode_response(correlation, key, version, &decision.response);
                (decision.records, Reply::Response(ticket, response, 0))
            }),
            Api::Metadata => crate::wire::Message::decode(&mut reader, version).map(|request| {
                let names = api::metadata::missing(&request, version, &view);
                let records = api::create_topics::auto_create(&names, &view, now, &mut rng);
                (records, Reply::Again(ticket, frame.clone()))
            }),
            Api::FindCoordinator => {
                let records = api::create_topics::offsets_topic(&view, now, &mut rng);
                Ok((records, Reply::Again(ticket, frame.clone())))
            }
            Api::Produce
            | Api::Fetch
            | Api::ListOffsets
            | Api::ApiVersions
            | Api::InitProducerId
            | Api::DeleteRecords
            | Api::OffsetForLeaderEpoch
            | Api::DescribeConfigs
            | Api::DescribeCluster
            | Api::DescribeTopicPartitions
            | Api::OffsetCommit
            | Api::OffsetFetch
            | Api::JoinGroup
            | Api::Heartbeat
            | Api::LeaveGroup
            | Api::SyncGroup
            | Api::DescribeGroups
            | Api::ListGroups
            | Api::DeleteGroups
            | Api::OffsetDelete
            | Api::DescribeClientQuotas
            | Api::DescribeUserScramCredentials
            | Api::DescribeLogDirs
            | Api::DescribeProducers
            | Api::ElectLeaders
            | Api::ListConfigResources
            | Api::ListPartitionReassignments => panic!("{key} is never forwarded"),
        };
        self.rng = rng;
        match decided {
            Ok((records, mut reply)) => {
                if let Reply::Response(_, _, throttle_ms) = &mut reply {
                    *throttle_ms = permits.throttle_ms;
                }
                self.put_decision(records, reply);
            }
            // An empty answer closes the connection on the shard that has it.
            Err(_) => self.send(ticket.shard, Letter::Forwarded { ticket, response: Vec::new(), throttle_ms: 0 }),
        }
    }

    /// The metadata log as its one voter knows it.
    fn quorum(&self) -> Quorum {
        let replica = &self.partition_of(PartitionKey::METADATA).expect("shard 0 has the metadata log").replica;
        Quorum {
            epoch: replica.epoch(),
            high_watermark: replica.high_watermark(),
            end: replica.end().offset,
            now: self.fx.now.wall,
        }
    }

    /// A decision, to be appended to the metadata log. One that no file of the journal holds is none: its connection is closed.
    fn put_decision(&mut self, records: Vec<Record>, reply: Reply) {
        if records.is_empty() {
            return self.reply_decision(reply);
        }
        let now = self.fx.now.wall;
        let mut batch = BatchBuilder::new();
        for record in &records {
            batch.push(now, None, Some(&record.encode()), &[]);
        }
        let batch = batch.build();
        let (bytes, bytes_max) = (batch.len() as u64, produce::batch_bytes_max(&self.config));
        if bytes > bytes_max {
            let text = format!("a change of the metadata of {bytes} bytes is refused: the most is {bytes_max}");
            self.fx.log(Level::Warn, text);
            let (Reply::Response(ticket, ..) | Reply::Again(ticket, _)) = reply else { panic!("ids take a line") };
            return self.send(ticket.shard, Letter::Forwarded { ticket, response: Vec::new(), throttle_ms: 0 });
        }
        self.controller.decided = Some(Decided { batch, records, reply });
    }

    /// Appends what is decided to the metadata log; the reply waits for its commit, and for every shard.
    fn commit_decided(&mut self) {
        let Some(decided) = self.controller.decided.take() else { return };
        let Decided { batch, records, reply } = decided;
        let now = self.fx.now.wall;
        records.iter().for_each(|record| self.controller.image.apply(record));
        let slot = *self.slots.get(&PartitionKey::METADATA).expect("shard 0 has the metadata log");
        let (Some(partition), Some(journal)) = (self.partitions[slot as usize].as_deref_mut(), self.journal.as_mut())
        else {
            panic!("the metadata log is open while the shard serves")
        };
        let base = partition.replica.append(records.len() as i64);
        let (end, epoch) = (partition.replica.end().offset, partition.replica.epoch());
        let entry = Entry { key: partition.key, slot, epoch, base, end, max_timestamp: now.0 };
        journal.append_batch(entry, &batch, &mut partition.hint, |copy| records::patch(copy, base, epoch));
        self.controller.next_number += 1;
        let number = self.controller.next_number;
        self.controller.deciding = Some(Deciding { number, end, records, reply, left: None });
    }

    /// The metadata log's high watermark has moved.
    pub(super) fn on_metadata_committed(&mut self) {
        let Some(partition) = self.partition_of(PartitionKey::METADATA) else { return };
        let high_watermark = partition.replica.high_watermark();
        if partition.replica.is_serving() && !self.controller.image_sent {
            self.controller.image_sent = true;
            let image = self.controller.image.encode();
            self.broadcast(|| Letter::Image(image.clone()));
        }
        let shards = self.config.shards;
        let Some(deciding) = &mut self.controller.deciding else { return };
        if deciding.left.is_some() || high_watermark < deciding.end {
            return;
        }
        deciding.left = Some(shards);
        let (number, records) = (deciding.number, deciding.records.clone());
        self.broadcast(|| Letter::Apply { number, records: records.clone() });
    }

    /// Brings this shard's image past committed records, and does what they say.
    pub(super) fn on_apply(&mut self, number: u64, records: &[Record]) {
        let mut slots = Vec::new();
        self.image_changes += 1;
        for record in records {
            if let Record::TopicDeleted { id } = record {
                // While the image knows its name.
                self.forget_topic_in_groups(*id);
            }
            self.image.apply(record);
            match record {
                Record::TopicCreated(topic) => {
                    let mine: Vec<PartitionKey> = topic.keys().filter(|key| self.owner(*key) == self.me).collect();
                    let settings = self.settings_of(topic.id);
                    slots.extend(mine.into_iter().map(|key| self.make_partition(key, settings.clone())));
                }
                Record::TopicDeleted { id } => slots.extend(self.delete_topic(*id)),
                // Looked up in the image where they are needed.
                Record::ProducerIdsAllocated { .. } | Record::QuotasChanged { .. } => {}
                Record::TopicConfigured { id, .. } => self.configure_topic(*id),
                Record::BrokersConfigured { .. } => self.configure_broker(),
                Record::PartitionsAdded { id, .. } => {
                    let topic = self.image.topic(*id).expect("the image has just grown it");
                    let keys: Vec<PartitionKey> = topic.keys().filter(|key| self.owner(*key) == self.me).collect();
                    let settings = self.settings_of(*id);
                    let new = keys.into_iter().filter(|key| !self.slots.contains_key(key)).collect::<Vec<_>>();
                    slots.extend(new.into_iter().map(|key| self.make_partition(key, settings.clone())));
                }
            }
        }
        self.applying.push_back(Applying { number, slots });
        self.check_applied();
    }

    /// A topic's configurations have changed: from here on every partition of it goes by the new ones.
    fn configure_topic(&mut self, id: TopicId) {
        self.topic_settings.remove(&id);
        let settings = self.settings_of(id);
        let (from, to) = (PartitionKey { topic: id, index: 0 }, PartitionKey { topic: id, index: i32::MAX });
        let slots: Vec<u32> = self.slots.range(from..=to).map(|(_, slot)| *slot).collect();
        for slot in slots {
            if let Some(partition) = self.partition(slot) {
                partition.settings = settings.clone();
            }
        }
    }

    /// The broker's configurations have changed, and with them what topics leave to it.
    fn configure_broker(&mut self) {
        self.settings = BrokerSettings::resolve(self.broker_values());
        let topics: Vec<TopicId> = self.image.topics().map(|topic| topic.id).collect();
        for id in topics {
            self.configure_topic(id);
        }
        if self.me == ShardId(0) {
            // There may be room for more connections now.
            self.open_doors();
        }
    }

    /// The broker's configurations, altered ones included.
    pub(super) fn broker_values(&self) -> BrokerValues<'_> {
        self.view().values()
    }

    /// Tells shard 0 of what has been applied whole: its replicas lead, its deletions are durable.
    pub(super) fn check_applied(&mut self) {
        while let Some(applying) = self.applying.front() {
            let settled = |slot: &u32| match self.partitions[*slot as usize].as_deref() {
                Some(partition) if partition.deleted => partition.deletion_durable,
                Some(partition) => partition.replica.is_serving(),
                None => true,
            };
            if !applying.slots.iter().all(settled) {
                return;
            }
            let Some(Applying { number, slots }) = self.applying.pop_front() else { return };
            let leads: Vec<_> = slots
                .iter()
                .filter_map(|slot| self.partitions[*slot as usize].as_deref())
                .filter(|partition| !partition.deleted)
                .map(|partition| (partition.key, partition.replica.epoch()))
                .collect();
            if !leads.is_empty() {
                self.broadcast(|| Letter::Leads(leads.clone()));
            }
            self.send(ShardId(0), Letter::Applied { number });
        }
    }

    pub(super) fn on_applied(&mut self, number: u64) {
        let Some(deciding) = &mut self.controller.deciding else {
            panic!("change {number} is applied, but none is decided")
        };
        assert!(deciding.number == number, "change {number} is applied while {} is decided", deciding.number);
        let left = deciding.left.as_mut().expect("nobody applies before the commit");
        *left -= 1;
        if *left > 0 {
            return;
        }
        let Some(deciding) = self.controller.deciding.take() else { return };
        for record in &deciding.records {
            if let Record::TopicDeleted { id } = record {
                self.controller.image.deletion_confirmed(*id);
            }
        }
        self.reply_decision(deciding.reply);
    }

    fn reply_decision(&mut self, reply: Reply) {
        match reply {
            Reply::Response(ticket, response, throttle_ms) => {
                self.send(ticket.shard, Letter::Forwarded { ticket, response, throttle_ms });
            }
            Reply::ProducerIds(shard, first, end) => self.send(shard, Letter::ProducerIds { first, end }),
            Reply::Again(ticket, frame) => {
                let mut reader = Reader::new(&frame);
                let header = decode_header(&mut reader).expect("it was read before");
                let (key, version, correlation) = (header.api_key, header.api_version, header.correlation_id);
                let response = if key == ApiKey::FIND_COORDINATOR {
                    let request = crate::wire::Message::decode(&mut reader, version).expect("it was read before");
                    let answer = api::find_coordinator::answer(&request, version, &self.view());
                    encode_response(correlation, key, version, &answer)
                } else {
                    let request = crate::wire::Message::decode(&mut reader, version).expect("it was read before");
                    let answer = api::metadata::answer(&request, version, &self.view());
                    encode_response(correlation, key, version, &answer)
                };
                self.send(ticket.shard, Letter::Forwarded { ticket, response, throttle_ms: 0 });
            }
        }
    }

    /// Every shard has booted, and made every deletion durable that was pending.
    pub(super) fn confirm_deletions(&mut self) {
        let deleting: Vec<_> = self.controller.image.deleting().map(|(id, _)| id).collect();
        for id in deleting {
            self.controller.image.deletion_confirmed(id);
        }
    }
}

/// The records of a batch of the metadata log.
pub(super) fn decode_records(batch: &[u8]) -> Vec<Record> {
    let header = records::BatchHeader::parse(batch).expect("a journalled batch has a header");
    let bytes = records::iter::record_bytes(batch, &header, 0).expect("the metadata log is not compressed");
    let records = records::iter::Records::new(&header, &bytes);
    let decoded = records.map(|record| {
        let record = record.expect("the journal's checksum was right");
        Record::decode(record.value.unwrap_or_default())
    });
    decoded.map(|record| record.unwrap_or_else(|error| panic!("the metadata log: {error}"))).collect()
}
