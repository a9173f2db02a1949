//! DeleteRecords: a client moves the start of a log forward.
//!
//! ```text
//! asked ─▶ checked against the high watermark ─▶ Note::LogStart in the journal ─▶ durable: the start moves, segments
//!                                                                                  below it go, the client is answered
//! ```
//!
//! Invariants: a start that a client was told never goes back, whatever crashes; it never passes the high watermark; what
//! waits is in `Partition::purges` or in `Shard::purges_stalled`, and is answered in the end or goes with its connection.

use super::connection::Header;
use super::partition::{Partition, Purge};
use super::query::{Answer, Kind, Query};
use super::removal::NOTES_MAX;
use super::{Phase, Shard};
use crate::boundary::ConnId;
use crate::ids::Offset;
use crate::journal::frame::Note;
use crate::mail::Ticket;
use crate::metadata::name::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use crate::wire::delete_records::DeleteRecordsRequest;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

/// In place of an offset: the high watermark (`DeleteRecordsRequest.HIGH_WATERMARK`).
const HIGH_WATERMARK: i64 = -1;

/// A deletion that waits for room in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Stalled {
    slot: u32,
    ticket: Ticket,
    offset: i64,
}

impl Shard {
    pub(super) fn delete_records(&mut self, conn: ConnId, header: Header, request: &DeleteRecordsRequest<'_>) {
        // As in Kafka, of a partition that is named twice the last line counts.
        let mut offsets: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                offsets.insert((&*topic.name, partition.partition_index), partition.offset);
            }
        }
        let topics = request.topics.iter().map(|topic| {
            let internal = topic.name == CONSUMER_OFFSETS;
            let questions = topic.partitions.iter().filter_map(|partition| {
                let offset = offsets.remove(&(&*topic.name, partition.partition_index))?;
                let query = if internal {
                    Query::Refused(ErrorCode::INVALID_TOPIC_EXCEPTION)
                } else {
                    Query::DeleteRecords { offset }
                };
                Some((partition.partition_index, query))
            });
            (topic.name.to_string(), questions.collect::<Vec<_>>())
        });
        let topics = topics.filter(|(_, questions)| !questions.is_empty()).collect();
        self.ask_all(conn, header, Kind::DeleteRecords, topics);
    }

    /// Moves the start of a log to `offset`, and answers when that is durable.
    pub(super) fn purge(&mut self, slot: u32, ticket: Ticket, offset: i64) {
        let serving = self.phase == Phase::Serving;
        let refuses = self.journal_refuses(0);
        let room = self.journal().open_notes() < NOTES_MAX && self.journal().ring_has_room_for_notes();
        let Some(partition) = self.partition(slot) else {
            return self.reply(ticket, Answer::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let start = match partition.purge_start(offset, serving) {
            Ok(start) => start,
            Err(error) => return self.reply(ticket, Answer::error(error)),
        };
        if start <= partition.replica.start() {
            let answer = Answer::at(partition.replica.start());
            return self.reply(ticket, answer);
        }
        if start <= partition.next_start {
            return partition.purges.push(Purge { ticket, start });
        }
        if !room {
            if refuses {
                return self.reply(ticket, Answer::error(ErrorCode::KAFKA_STORAGE_ERROR));
            }
            // A commit or a checkpoint comes first.
            self.journal_full |= !self.journal().ring_has_room_for_notes();
            return self.purges_stalled.push_back(Stalled { slot, ticket, offset });
        }
        partition.next_start = start;
        partition.purges.push(Purge { ticket, start });
        let key = partition.key;
        self.journal().append_note(Note::LogStart { key, start });
    }

    /// Goes on with those that found no room.
    pub(super) fn resume_purges(&mut self) {
        for _ in 0..self.purges_stalled.len() {
            let Some(Stalled { slot, ticket, offset }) = self.purges_stalled.pop_front() else { return };
            self.purge(slot, ticket, offset);
        }
    }

    /// The start has moved, durably: whoever waited for that is answered.
    pub(super) fn answer_purges(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let start = partition.replica.start();
        let due: Vec<Purge> = partition.purges.extract_if(.., |purge| purge.start <= start).collect();
        for purge in due {
            self.reply(purge.ticket, Answer::at(start));
        }
    }
}

impl Partition {
    /// Where the log would start, or Kafka's reason why not.
    fn purge_start(&self, offset: i64, serving: bool) -> Result<Offset, ErrorCode> {
        if self.deleted {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        if !serving || !self.replica.is_serving() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if self.settings.cleanup.compact && !self.settings.cleanup.delete {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let high_watermark = self.replica.high_watermark();
        let start = if offset == HIGH_WATERMARK { high_watermark } else { Offset(offset) };
        if start < Offset(0) || start > high_watermark {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if self.refusal.is_some() && start > self.served_end() {
            // What is damaged is not thrown away as if it had been read.
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        Ok(start)
    }
}
