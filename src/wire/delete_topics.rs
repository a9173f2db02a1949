//! DeleteTopics (key 20).
//!
//! Version 4 is flexible, 5 has error messages, 6 may name a topic by its id (KIP-516).

use crate::ids::TopicId;
use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// Names up to version 5; from 6 names or ids.
    struct DeleteTopicsRequest<'a>: Request DELETE_TOPICS 1..=6, flexible 4.. {
        topics: Vec<DeleteTopicState<'a>> [6..],
        topic_names: Vec<Str<'a>> [0..=5],
        timeout_ms: i32 [0..],
    }

    /// A topic by name, or by id where the name is null.
    struct DeleteTopicState<'a> {
        name: Option<Str<'a>> [6..],
        topic_id: TopicId [6..],
    }

    /// What became of each topic.
    struct DeleteTopicsResponse<'a>: Response DELETE_TOPICS 1..=6, flexible 4.. {
        throttle_time_ms: i32 [1..],
        responses: Vec<DeletableTopicResult<'a>> [0..],
    }

    /// One topic; the name is null where only an unknown id was given.
    struct DeletableTopicResult<'a> {
        name: Option<Str<'a>> [0.., null 6..],
        topic_id: TopicId [6..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [5..],
    }
}
