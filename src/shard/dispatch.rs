//! Which part of the shard serves which request.
//!
//! Invariant: a frame that cannot be read, or that asks for what is not served, costs its sender the connection and a log
//! line, and nobody else anything.

use super::Shard;
use super::header::Header;
use crate::api::{
    Api, Route, api_versions, create_topics, describe_client_quotas, describe_cluster, describe_configs,
    describe_topic_partitions, describe_user_scram_credentials, elect_leaders, find_coordinator, list_config_resources,
    list_partition_reassignments, metadata, route,
};
use crate::boundary::ConnId;
use crate::wire::alter_client_quotas::AlterClientQuotasRequest;
use crate::wire::alter_configs::AlterConfigsRequest;
use crate::wire::create_partitions::CreatePartitionsRequest;
use crate::wire::create_topics::CreateTopicsRequest;
use crate::wire::delete_topics::DeleteTopicsRequest;
use crate::wire::describe_quorum::DescribeQuorumRequest;
use crate::wire::frame::{decode_header, encode_response};
use crate::wire::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::{DecodeError, Message, Reader};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;

/// For each this many bytes of a shard's memory one element in a request's arrays: what it becomes in memory, and in the
/// answer, fits beside everything else.
const MEMORY_PER_ELEMENT: u64 = 2 << 10;
/// And at least so many: ten thousand topics of one partition each.
const ELEMENTS_MIN: u64 = 22_000;

impl Shard {
    /// A whole frame: answered, begun, put off, or its connection closed.
    pub(super) fn on_frame(&mut self, conn: ConnId, frame: Bytes) {
        let mut reader = Reader::bounded(&frame, self.elements_max());
        let header = match decode_header(&mut reader) {
            Ok(header) => header,
            Err(error) => return self.refuse(conn, &format!("a frame that is no request: {error}")),
        };
        let short = Header { key: header.api_key, version: header.api_version, correlation: header.correlation_id };
        if !self.image.quotas().is_empty() {
            self.conns.known_as(conn, header.client_id.as_deref().unwrap_or_default());
        }
        match route(header.api_key, header.api_version) {
            Route::Serve(api) => self.serve(conn, api, short, &mut reader, &frame),
            Route::ApiVersionsFallback => {
                self.conns.serving = (Api::ApiVersions, 0, frame.len());
                let response = api_versions::unsupported();
                let frame = encode_response(short.correlation, short.key, 0, &response);
                self.answer_now(conn, frame);
            }
            Route::Version { min, max } => {
                let (key, version) = (short.key, short.version);
                self.refuse(conn, &format!("{key} version {version}; {min} to {max} are served"));
            }
            Route::Key => self.refuse(conn, &format!("API {}, which is not served", short.key)),
        }
    }

    fn serve(&mut self, conn: ConnId, api: Api, header: Header, reader: &mut Reader<'_>, frame: &Bytes) {
        self.conns.serving = (api, header.version, frame.len());
        let served = match api {
            Api::Produce => self.decoded(reader, header, |shard, request| {
                shard.produce(conn, header, &request, frame);
            }),
            Api::Fetch => self.decoded(reader, header, |shard, request| {
                shard.fetch(conn, header, &request, frame);
            }),
            Api::ListOffsets => {
                self.decoded(reader, header, |shard, request| shard.list_offsets(conn, header, &request))
            }
            Api::DeleteRecords => {
                self.decoded(reader, header, |shard, request| shard.delete_records(conn, header, &request))
            }
            Api::OffsetForLeaderEpoch => {
                self.decoded(reader, header, |shard, request| shard.offset_for_epoch(conn, header, &request))
            }
            Api::InitProducerId => {
                self.decoded(reader, header, |shard, request| shard.init_producer_id(conn, header, &request))
            }
            Api::JoinGroup => {
                let client_id = decode_header(&mut Reader::new(frame)).ok().and_then(|header| header.client_id);
                self.decoded(reader, header, |shard, request| shard.join_group(conn, header, client_id, &request))
            }
            Api::SyncGroup => self.decoded(reader, header, |shard, request| shard.sync_group(conn, header, &request)),
            Api::Heartbeat => self.decoded(reader, header, |shard, request| shard.heartbeat(conn, header, &request)),
            Api::LeaveGroup => self.decoded(reader, header, |shard, request| shard.leave_group(conn, header, &request)),
            Api::OffsetCommit => {
                self.decoded(reader, header, |shard, request| shard.offset_commit(conn, header, &request))
            }
            Api::OffsetFetch => {
                self.decoded(reader, header, |shard, request| shard.offset_fetch(conn, header, &request))
            }
            Api::OffsetDelete => {
                self.decoded(reader, header, |shard, request| shard.offset_delete(conn, header, &request))
            }
            Api::DeleteGroups => {
                self.decoded(reader, header, |shard, request| shard.delete_groups(conn, header, &request))
            }
            Api::DescribeGroups => {
                self.decoded(reader, header, |shard, request| shard.describe_groups(conn, header, &request))
            }
            Api::ListGroups => self.decoded(reader, header, |shard, request| shard.list_groups(conn, header, &request)),
            Api::FindCoordinator => self.decoded(reader, header, |shard, request| {
                if find_coordinator::offsets_topic_missing(&request, &shard.view()) {
                    shard.forward(conn, frame.clone());
                } else {
                    let answer = find_coordinator::answer(&request, header.version, &shard.view());
                    let response = header.respond(&answer);
                    shard.answer_now(conn, response);
                }
            }),
            Api::CreateTopics => self.decoded(reader, header, |shard, request: CreateTopicsRequest<'_>| {
                shard.forward_counted(conn, create_topics::answer_bytes(&request, header.version), frame);
            }),
            Api::DeleteTopics => self.forwarded::<DeleteTopicsRequest<'_>>(conn, reader, header, frame),
            Api::CreatePartitions => self.forwarded::<CreatePartitionsRequest<'_>>(conn, reader, header, frame),
            Api::IncrementalAlterConfigs => {
                self.forwarded::<IncrementalAlterConfigsRequest<'_>>(conn, reader, header, frame)
            }
            Api::AlterConfigs => self.forwarded::<AlterConfigsRequest<'_>>(conn, reader, header, frame),
            Api::AlterClientQuotas => self.forwarded::<AlterClientQuotasRequest<'_>>(conn, reader, header, frame),
            Api::DescribeQuorum => self.forwarded::<DescribeQuorumRequest<'_>>(conn, reader, header, frame),
            Api::Metadata => self.decoded(reader, header, |shard, request| {
                if metadata::missing(&request, header.version, &shard.view()).is_empty() {
                    let answer = metadata::answer(&request, header.version, &shard.view());
                    let response = shard.respond_measured(header, answer);
                    shard.answer_measured(conn, response);
                } else {
                    shard.forward(conn, frame.clone());
                }
            }),
            Api::ApiVersions => self.answered(conn, reader, header, |shard, request| {
                header.respond(&api_versions::answer(request, header.version, &shard.view()))
            }),
            Api::DescribeConfigs => self.decoded(reader, header, |shard, request| {
                let bytes_max = shard.answer_bytes_max();
                let answer = describe_configs::answer(&request, &shard.view(), bytes_max);
                let response = shard.respond_measured(header, answer);
                shard.answer_measured(conn, response);
            }),
            Api::DescribeCluster => self.answered(conn, reader, header, |shard, request| {
                header.respond(&describe_cluster::answer(request, &shard.view()))
            }),
            Api::DescribeClientQuotas => self.answered(conn, reader, header, |shard, request| {
                header.respond(&describe_client_quotas::answer(request, &shard.view()))
            }),
            Api::DescribeUserScramCredentials => self.answered(conn, reader, header, |_, request| {
                header.respond(&describe_user_scram_credentials::answer(request))
            }),
            Api::DescribeLogDirs => {
                self.decoded(reader, header, |shard, request| shard.describe_log_dirs(conn, header, &request))
            }
            Api::DescribeProducers => {
                self.decoded(reader, header, |shard, request| shard.describe_producers(conn, header, &request))
            }
            Api::ElectLeaders => self.answered(conn, reader, header, |shard, request| {
                header.respond(&elect_leaders::answer(request, &shard.view()))
            }),
            Api::ListConfigResources => self.answered(conn, reader, header, |shard, request| {
                header.respond(&list_config_resources::answer(request, header.version, &shard.view()))
            }),
            Api::ListPartitionReassignments => self.answered(conn, reader, header, |_, request| {
                header.respond(&list_partition_reassignments::answer(request))
            }),
            Api::DescribeTopicPartitions => self.answered(conn, reader, header, |shard, request| {
                header.respond(&describe_topic_partitions::answer(request, &shard.view()))
            }),
        };
        if let Err(error) = served {
            let (key, version) = (header.key, header.version);
            self.refuse(conn, &format!("{key} version {version} that cannot be read: {error}"));
        }
    }

    /// Reads the request, and begins it unless it is put off.
    fn decoded<'a, M: Message<'a>>(
        &mut self,
        reader: &mut Reader<'a>,
        header: Header,
        serve: impl FnOnce(&mut Shard, M),
    ) -> Result<(), DecodeError> {
        let request = M::decode(reader, header.version)?;
        if self.may_take(header.key, reader) {
            serve(self, request);
        }
        Ok(())
    }

    /// What this shard answers by itself, from what it knows.
    fn answered<'a, M: Message<'a>>(
        &mut self,
        conn: ConnId,
        reader: &mut Reader<'a>,
        header: Header,
        answer: impl FnOnce(&Shard, &M) -> Vec<Bytes>,
    ) -> Result<(), DecodeError> {
        self.decoded(reader, header, |shard, request| {
            let response = answer(shard, &request);
            shard.answer_now(conn, response);
        })
    }

    /// What the controller's shard does.
    fn forwarded<'a, M: Message<'a>>(
        &mut self,
        conn: ConnId,
        reader: &mut Reader<'a>,
        header: Header,
        frame: &Bytes,
    ) -> Result<(), DecodeError> {
        self.decoded(reader, header, |shard, _: M| shard.forward(conn, frame.clone()))
    }

    /// How many elements the arrays of one request may have, all together.
    pub(super) fn elements_max(&self) -> usize {
        (self.config.memory_bytes / MEMORY_PER_ELEMENT).max(ELEMENTS_MIN) as usize
    }
}
