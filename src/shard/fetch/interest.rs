//! What a fetch reads: partitions in the order in which they are served, and what their reader was told of each.
//!
//! ```text
//! items     0    1    2    3         a slab: an item keeps its number as long as it is wanted
//! order     2 ─▶ 0 ─▶ 3 ─▶ 1         a list through it: who was given records goes to its end, so that nobody starves
//! index     topic ─▶ partition ─▶ item      only where a later request may name one: in a session
//! ```
//!
//! It decides nothing about sessions and reads nothing. Invariants: every item of the list is in the index, if there is one,
//! and no other is; an item is refused exactly when the metadata, as of the last look, has no such partition.

use super::{ReadPart, ReadResult};
use crate::ids::{Offset, PartitionKey, ShardId, TopicId};
use crate::metadata::Image;
use crate::wire::ErrorCode;
use crate::wire::fetch::{FetchPartition, FetchRequest};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// No item: the end of the list.
const END: u32 = u32::MAX;
/// About what the index and the allocator take for one partition.
const INDEX_BYTES: usize = 64;
/// The same for one topic, its name excepted.
const TOPIC_BYTES: usize = 192;

/// What a reader was told of a partition, -1 where that is nothing: what has changed since is worth an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub high_watermark: Offset,
    pub start: Offset,
}

impl Known {
    pub const NOTHING: Known = Known { high_watermark: Offset(-1), start: Offset(-1) };
}

/// What requests are held against.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub image: &'a Image,
    pub shards: u16,
    /// What every partition that exists is refused with.
    pub refused: ErrorCode,
}

/// One partition that is wanted.
#[derive(Debug)]
pub struct Interested {
    /// As the request named it: by name up to version 12, by id since.
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub read: ReadPart,
    /// Who has it.
    pub owner: ShardId,
    /// It is not read, but answered with this.
    pub refused: ErrorCode,
    /// The high watermark that was read last: there may be news above it.
    pub seen: Offset,
    /// The limit as it was asked for.
    limit: i32,
    /// Grows along the list.
    rank: u64,
    before: u32,
    behind: u32,
}

/// What requests name a topic by: one of the two says nothing.
type Name = (TopicId, Arc<str>);

#[derive(Debug)]
pub struct Interest {
    by_ids: bool,
    parts: Vec<Interested>,
    free: Vec<u32>,
    first: u32,
    last: u32,
    ranks: u64,
    count: usize,
    refused: BTreeSet<u32>,
    index: Option<BTreeMap<Name, BTreeMap<i32, u32>>>,
    names_bytes: usize,
    /// Which changes of the metadata it has seen.
    pub resolved_at: u64,
}

impl Interest {
    /// `indexed`: later requests may change it, and name a partition twice; otherwise what is named twice is read twice.
    pub fn new(by_ids: bool, indexed: bool) -> Interest {
        Interest {
            by_ids,
            parts: Vec::new(),
            free: Vec::new(),
            first: END,
            last: END,
            ranks: 0,
            count: 0,
            refused: BTreeSet::new(),
            index: indexed.then(BTreeMap::new),
            names_bytes: 0,
            resolved_at: 0,
        }
    }

    pub fn by_ids(&self) -> bool {
        self.by_ids
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        let topics = self.index.as_ref().map_or(0, BTreeMap::len);
        size_of::<Interest>()
            + self.parts.capacity() * size_of::<Interested>()
            + self.free.capacity() * size_of::<u32>()
            + self.count * INDEX_BYTES
            + topics * TOPIC_BYTES
            + self.names_bytes
    }

    /// Adds what the request names, or changes it, and drops what it forgets.
    pub fn update(&mut self, request: &FetchRequest<'_>, terms: &Terms<'_>) {
        for topic in &request.topics {
            let name = (topic.topic_id, Arc::from(&*topic.topic));
            for partition in &topic.partitions {
                self.put(&name, partition, terms);
            }
        }
        for topic in &request.forgotten_topics_data {
            let name = (topic.topic_id, Arc::from(&*topic.topic));
            for partition in &topic.partitions {
                self.forget(&name, *partition);
            }
        }
    }

    fn put(&mut self, name: &Name, wanted: &FetchPartition, terms: &Terms<'_>) {
        let known = self.index.as_ref().and_then(|index| index.get(name)?.get(&wanted.partition).copied());
        let item = known.unwrap_or_else(|| self.add(name, wanted.partition));
        let part = &mut self.parts[item as usize];
        part.limit = wanted.partition_max_bytes;
        part.read.max_bytes = usize::try_from(wanted.partition_max_bytes).unwrap_or(0);
        part.read.offset = Offset(wanted.fetch_offset);
        part.read.current_leader_epoch = wanted.current_leader_epoch;
        part.read.last_fetched_epoch = wanted.last_fetched_epoch;
        self.resolve(item, terms);
    }

    fn add(&mut self, name: &Name, index: i32) -> u32 {
        let item = self.free.pop().unwrap_or(self.parts.len() as u32);
        let read = ReadPart {
            item,
            key: PartitionKey { topic: TopicId::ZERO, index },
            offset: Offset(0),
            max_bytes: 0,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            known: Known::NOTHING,
        };
        let mut topic = name.clone();
        if let Some(topics) = &mut self.index {
            if let Some((same, _)) = topics.get_key_value(name) {
                // One text for all partitions of a topic.
                topic = same.clone();
            } else {
                self.names_bytes += name.1.len();
            }
            topics.entry(topic.clone()).or_default().insert(index, item);
        }
        let part = Interested {
            topic: topic.1,
            topic_id: topic.0,
            read,
            owner: ShardId(0),
            refused: ErrorCode::NONE,
            seen: Offset(-1),
            limit: 0,
            rank: 0,
            before: END,
            behind: END,
        };
        match self.parts.get_mut(item as usize) {
            Some(place) => *place = part,
            None => self.parts.push(part),
        }
        self.count += 1;
        self.link(item);
        item
    }

    fn forget(&mut self, name: &Name, index: i32) {
        let Some(topics) = &mut self.index else { return };
        let Some(partitions) = topics.get_mut(name) else { return };
        let Some(item) = partitions.remove(&index) else { return };
        if partitions.is_empty() {
            topics.remove(name);
            self.names_bytes -= name.1.len();
        }
        self.unlink(item);
        self.refused.remove(&item);
        self.free.push(item);
        self.count -= 1;
    }

    /// Looks every partition up again, where the metadata has changed `changes` times by now.
    pub fn resolve_all(&mut self, terms: &Terms<'_>, changes: u64) {
        if core::mem::replace(&mut self.resolved_at, changes) == changes {
            return;
        }
        let mut item = self.first;
        while item != END {
            self.resolve(item, terms);
            item = self.parts[item as usize].behind;
        }
    }

    fn resolve(&mut self, item: u32, terms: &Terms<'_>) {
        let by_ids = self.by_ids;
        let part = &mut self.parts[item as usize];
        let index = part.read.key.index;
        let found = if by_ids { terms.image.topic(part.topic_id) } else { terms.image.topic_named(&part.topic) };
        // As in Kafka: an id that was known once names a topic that is gone.
        let was_known = part.read.key.topic != TopicId::ZERO;
        if let Some(topic) = found {
            part.read.key.topic = topic.id;
        }
        part.refused = match found {
            None if by_ids && !was_known => ErrorCode::UNKNOWN_TOPIC_ID,
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Some(topic) if !(0..topic.partitions).contains(&index) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Some(_) if terms.refused != ErrorCode::NONE => terms.refused,
            // Kafka's code for what it did not expect.
            Some(_) if part.limit < 0 => ErrorCode::UNKNOWN_SERVER_ERROR,
            Some(_) => {
                part.owner = part.read.key.shard(terms.shards);
                ErrorCode::NONE
            }
        };
        if part.refused == ErrorCode::NONE {
            self.refused.remove(&item);
        } else {
            self.refused.insert(item);
        }
    }

    pub fn part(&self, item: u32) -> &Interested {
        &self.parts[item as usize]
    }

    /// Those that can be read, in order.
    pub fn readable(&self) -> impl Iterator<Item = &Interested> {
        self.in_order().filter(|part| part.refused == ErrorCode::NONE)
    }

    fn in_order(&self) -> impl Iterator<Item = &Interested> {
        let mut at = self.first;
        core::iter::from_fn(move || {
            let part = self.parts.get(at as usize)?;
            at = part.behind;
            Some(part)
        })
    }

    /// How many shards have what can be read.
    pub fn owners(&self, shards: u16) -> usize {
        let mut seen: Vec<bool> = (0..shards).map(|_| false).collect();
        self.readable().for_each(|part| seen[part.owner.0 as usize] = true);
        seen.into_iter().filter(|seen| *seen).count()
    }

    /// A partition's high watermark was read.
    pub fn saw(&mut self, result: &ReadResult) {
        self.parts[result.item as usize].seen = result.high_watermark;
    }

    /// What those are answered that are not read.
    pub fn refusals(&self) -> impl Iterator<Item = ReadResult> {
        self.refused.iter().map(|item| ReadResult::error(*item, self.parts[*item as usize].refused))
    }

    /// Brings results into the order of the partitions.
    pub fn sort(&self, results: &mut [ReadResult]) {
        results.sort_unstable_by_key(|result| self.parts[result.item as usize].rank);
    }

    /// The reader is told of this result. What goes wrong is told again and again, and so is the first that does not.
    pub fn tell(&mut self, result: &ReadResult) {
        let failed = result.error != ErrorCode::NONE || result.diverging.is_some();
        let high_watermark = if failed { Offset(-1) } else { result.high_watermark };
        self.parts[result.item as usize].read.known = Known { high_watermark, start: result.start };
    }

    /// The others come before it from now on.
    pub fn move_to_end(&mut self, item: u32) {
        self.unlink(item);
        self.link(item);
    }

    fn link(&mut self, item: u32) {
        let last = core::mem::replace(&mut self.last, item);
        self.ranks += 1;
        let part = &mut self.parts[item as usize];
        (part.before, part.behind, part.rank) = (last, END, self.ranks);
        match self.parts.get_mut(last as usize) {
            Some(last) => last.behind = item,
            None => self.first = item,
        }
    }

    fn unlink(&mut self, item: u32) {
        let Interested { before, behind, .. } = self.parts[item as usize];
        match self.parts.get_mut(before as usize) {
            Some(part) => part.behind = behind,
            None => self.first = behind,
        }
        match self.parts.get_mut(behind as usize) {
            Some(part) => part.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Record, Topic};
    use crate::wire::fetch::{FetchTopic, ForgottenTopic};
    use alloc::borrow::Cow;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn image(topics: &[(&str, i32)]) -> Image {
        let mut image = Image::default();
        for (number, (name, partitions)) in topics.iter().enumerate() {
            let topic = Topic {
                id: TopicId([number as u8 + 10; 16]),
                name: name.to_string(),
                partitions: *partitions,
                configs: Default::default(),
                created_ms: 0,
            };
            image.apply(&Record::TopicCreated(topic));
        }
        image
    }

    fn wanted(partition: i32, offset: i64) -> FetchPartition {
        FetchPartition { partition, fetch_offset: offset, partition_max_bytes: 1000, ..FetchPartition::default() }
    }

    fn asks(topics: &[(&'static str, &[i32])], forgets: &[(&'static str, &[i32])]) -> FetchRequest<'static> {
        let topic = |(name, parts): &(&'static str, &[i32])| FetchTopic {
            topic: Cow::Borrowed(*name),
            partitions: parts.iter().map(|index| wanted(*index, 0)).collect(),
            ..FetchTopic::default()
        };
        let forgotten = |(name, parts): &(&'static str, &[i32])| ForgottenTopic {
            topic: Cow::Borrowed(*name),
            partitions: parts.to_vec(),
            ..ForgottenTopic::default()
        };
        FetchRequest {
            topics: topics.iter().map(topic).collect(),
            forgotten_topics_data: forgets.iter().map(forgotten).collect(),
            ..FetchRequest::default()
        }
    }

    fn terms(image: &Image) -> Terms<'_> {
        Terms { image, shards: 2, refused: ErrorCode::NONE }
    }

    fn order(interest: &Interest) -> Vec<String> {
        interest.in_order().map(|part| alloc::format!("{}{}", part.topic, part.read.key.index)).collect()
    }

    #[test]
    fn partitions_keep_the_order_in_which_they_came_until_they_are_given_records() {
        let image = image(&[("a", 3), ("b", 2)]);
        let mut interest = Interest::new(false, true);
        interest.update(&asks(&[("b", &[1]), ("a", &[0, 1, 2])], &[]), &terms(&image));
        assert_eq!(order(&interest), ["b1", "a0", "a1", "a2"]);
        interest.move_to_end(interest.part(1).read.item);
        assert_eq!(order(&interest), ["b1", "a1", "a2", "a0"]);
        interest.move_to_end(0);
        interest.move_to_end(0);
        assert_eq!(order(&interest), ["a1", "a2", "a0", "b1"]);
        let mut results = vec![ReadResult::error(0, ErrorCode::NONE), ReadResult::error(2, ErrorCode::NONE)];
        interest.sort(&mut results);
        assert_eq!(results.iter().map(|result| result.item).collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn what_is_named_again_is_changed_and_keeps_its_place() {
        let image = image(&[("a", 3)]);
        let mut interest = Interest::new(false, true);
        interest.update(&asks(&[("a", &[0, 1])], &[]), &terms(&image));
        interest.parts[0].read.known.high_watermark = Offset(7);
        let mut again = asks(&[("a", &[0])], &[]);
        again.topics[0].partitions[0] = wanted(0, 9);
        interest.update(&again, &terms(&image));
        assert_eq!((order(&interest), interest.len()), (vec!["a0".to_string(), "a1".to_string()], 2));
        assert_eq!((interest.part(0).read.offset, interest.part(0).read.known.high_watermark), (Offset(9), Offset(7)));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind_and_its_place_is_used_again() {
        let image = image(&[("a", 3), ("b", 1)]);
        let mut interest = Interest::new(false, true);
        interest.update(&asks(&[("a", &[0, 1, 2])], &[]), &terms(&image));
        interest.update(&asks(&[("b", &[0])], &[("a", &[1, 1, 9]), ("none", &[0])]), &terms(&image));
        assert_eq!(order(&interest), ["a0", "a2", "b0"]);
        interest.update(&asks(&[("b", &[7])], &[]), &terms(&image));
        assert_eq!((order(&interest).len(), interest.parts.len(), interest.refusals().count()), (4, 4, 1));
        interest.update(&asks(&[], &[("b", &[0, 7]), ("a", &[0, 2])]), &terms(&image));
        assert_eq!((interest.len(), interest.names_bytes, interest.refusals().count()), (0, 0, 0));
        assert_eq!(interest.index.as_ref().map(BTreeMap::len), Some(0));
        interest.update(&asks(&[("a", &[2])], &[]), &terms(&image));
        assert_eq!((order(&interest), interest.parts.len()), (vec!["a2".to_string()], 4));
    }

    #[test]
    fn topics_that_come_and_go_are_noticed_when_the_metadata_has_changed() {
        let (without, with) = (image(&[]), image(&[("a", 1)]));
        let mut interest = Interest::new(false, true);
        interest.update(&asks(&[("a", &[0, 1])], &[]), &terms(&without));
        let codes = |interest: &Interest| interest.refusals().map(|result| result.error).collect::<Vec<_>>();
        assert_eq!(codes(&interest), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION; 2]);
        interest.resolve_all(&terms(&with), 0);
        assert_eq!(codes(&interest).len(), 2, "nothing has changed, as far as it was told");
        interest.resolve_all(&terms(&with), 1);
        assert_eq!(codes(&interest), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "partition 1 does not exist");
        assert_eq!(interest.readable().count(), 1);
        interest.resolve_all(&terms(&without), 2);
        assert_eq!(codes(&interest).len(), 2);
    }

    #[test]
    fn an_id_that_was_known_is_told_from_one_that_never_was() {
        let (without, with) = (image(&[]), image(&[("a", 1)]));
        let asked = |id: u8| FetchTopic {
            topic_id: TopicId([id; 16]),
            partitions: vec![wanted(0, 0)],
            ..FetchTopic::default()
        };
        let mut interest = Interest::new(true, true);
        let request = FetchRequest { topics: vec![asked(10), asked(9)], ..FetchRequest::default() };
        interest.update(&request, &terms(&with));
        let codes = |interest: &Interest| interest.refusals().map(|result| result.error).collect::<Vec<_>>();
        assert_eq!(codes(&interest), [ErrorCode::UNKNOWN_TOPIC_ID]);
        interest.resolve_all(&terms(&without), 1);
        assert_eq!(codes(&interest), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID]);
    }

    #[test]
    fn an_error_is_told_again_and_so_is_its_end() {
        let image = image(&[("a", 1)]);
        let mut interest = Interest::new(false, true);
        interest.update(&asks(&[("a", &[0])], &[]), &terms(&image));
        let quiet = ReadResult { high_watermark: Offset(4), start: Offset(1), ..ReadResult::error(0, ErrorCode::NONE) };
        let is_news = |interest: &Interest, result: &ReadResult| result.is_news(&interest.part(0).read.known);
        assert!(is_news(&interest, &quiet), "nothing was told yet");
        interest.tell(&quiet);
        assert!(!is_news(&interest, &quiet));
        assert!(is_news(&interest, &ReadResult { high_watermark: Offset(5), ..quiet.clone() }));
        assert!(is_news(&interest, &ReadResult { start: Offset(2), ..quiet.clone() }));
        assert!(is_news(&interest, &ReadResult { bytes: 1, ..quiet.clone() }));
        let failed = ReadResult { error: ErrorCode::NOT_LEADER_OR_FOLLOWER, ..quiet.clone() };
        interest.tell(&failed);
        assert!(is_news(&interest, &failed) && is_news(&interest, &quiet));
    }
}
