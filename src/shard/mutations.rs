//! The quota of those who make and delete partitions (KIP-599), on shard 0, which decides about all of them.
//!
//! A client has a bucket of tokens, one for each partition. New versions of the requests are held to it strictly: where the
//! bucket is overdrawn, a topic is refused with THROTTLING_QUOTA_EXCEEDED. Older ones, which do not know that code, are
//! carried out, and their connection is muted. As in Kafka no message stands beside
//! it. Topics that are made because somebody asked for them are not counted.
//! Invariant: what is refused here leaves no record.

use super::Shard;
use crate::api::Api;
use crate::metadata::Record;
use crate::quotas::QuotaKey;
use crate::quotas::{Subject, millis};
use crate::wire::ErrorCode;
use crate::wire::create_partitions::CreatePartitionsResponse;
use crate::wire::create_topics::{CreatableTopicResult, CreateTopicsResponse};
use crate::wire::delete_topics::DeleteTopicsResponse;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// The bucket of whoever asks, while one request is decided.
pub struct Permits {
    subject: Option<(Subject, crate::quotas::Limit)>,
    strict: bool,
    /// How long the connection is to be muted.
    pub throttle_ms: u64,
}

impl Shard {
    /// The bucket for a request of this client.
    pub(super) fn permits(&self, api: Api, version: i16, user: &str, client_id: &str) -> Permits {
        let strict_from = match api {
            Api::CreateTopics => 6,
            Api::DeleteTopics => 5,
            Api::CreatePartitions => 3,
            _ => i16::MAX,
        };
        let quotas = self.controller.image.quotas();
        let subject = quotas.of_client(QuotaKey::ControllerMutationRate, user, client_id);
        Permits { subject, strict: version >= strict_from, throttle_ms: 0 }
    }

    /// Whether so many partitions may be made or deleted.
    fn permit(&mut self, permits: &mut Permits, partitions: u64) -> bool {
        let Some((subject, limit)) = permits.subject.clone() else { return true };
        let (now, windows) = (self.fx.now.mono, self.settings.controller_quota_windows);
        let key = QuotaKey::ControllerMutationRate;
        let bucket = self.throttling.books.bucket(key, subject, limit, now, windows);
        let (bound, at) = (limit.millionths(), millis(now));
        if permits.strict {
            let throttle_ms = bucket.throttle_ms(bound, at, windows);
            if throttle_ms > 0 {
                permits.throttle_ms = throttle_ms;
                return false;
            }
            bucket.take(partitions);
            return true;
        }
        bucket.take(partitions);
        permits.throttle_ms = bucket.throttle_ms(bound, at, windows);
        true
    }

    pub(super) fn permit_created(
        &mut self,
        permits: &mut Permits,
        records: &mut Vec<Record>,
        response: &mut CreateTopicsResponse<'static>,
    ) {
        if permits.subject.is_none() {
            return;
        }
        for topic in response.topics.iter_mut().filter(|topic| topic.error_code == ErrorCode::NONE) {
            if !self.permit(permits, topic.num_partitions.max(0) as u64) {
                records.retain(|record| !matches!(record, Record::TopicCreated(made) if made.name == topic.name));
                *topic = CreatableTopicResult {
                    name: topic.name.clone(),
                    error_code: ErrorCode::THROTTLING_QUOTA_EXCEEDED,
                    ..CreatableTopicResult::default()
                };
            }
        }
    }

    pub(super) fn permit_deleted(
        &mut self,
        permits: &mut Permits,
        records: &mut Vec<Record>,
        response: &mut DeleteTopicsResponse<'static>,
    ) {
        if permits.subject.is_none() {
            return;
        }
        for result in response.responses.iter_mut().filter(|result| result.error_code == ErrorCode::NONE) {
            let id = result.topic_id;
            let partitions = self.controller.image.topic(id).map_or(0, |topic| topic.partitions as u64);
            if !self.permit(permits, partitions) {
                records.retain(|record| !matches!(record, Record::TopicDeleted { id: gone } if *gone == id));
                result.error_code = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
                result.error_message = None;
            }
        }
    }

    pub(super) fn permit_grown(
        &mut self,
        permits: &mut Permits,
        records: &mut Vec<Record>,
        response: &mut CreatePartitionsResponse<'static>,
    ) {
        if permits.subject.is_none() {
            return;
        }
        let image = &self.controller.image;
        let added = |record: &Record| match record {
            Record::PartitionsAdded { id, partitions } => {
                image.topic(*id).map(|topic| (topic.name.clone(), (*id, (*partitions - topic.partitions) as u64)))
            }
            _ => None,
        };
        let added: BTreeMap<String, _> = records.iter().filter_map(added).collect();
        for result in response.results.iter_mut().filter(|result| result.error_code == ErrorCode::NONE) {
            let Some((id, partitions)) = added.get(&*result.name) else { continue };
            if !self.permit(permits, *partitions) {
                records.retain(|record| !matches!(record, Record::PartitionsAdded { id: grown, .. } if grown == id));
                result.error_code = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
                result.error_message = None;
            }
        }
    }
}
