//! InitProducerId (key 22): a producer's id and epoch, for idempotence and transactions.
//!
//! Version 2 is flexible, 3 may raise the epoch of a known producer (KIP-360), 6, unstable in Kafka 4.4, belongs to
//! two-phase commit (KIP-939).

use crate::wire::{ErrorCode, Str};

schema! {
    /// `transactional_id` is null for a producer that is only idempotent.
    struct InitProducerIdRequest<'a>: Request INIT_PRODUCER_ID 0..=6, flexible 2.. {
        transactional_id: Option<Str<'a>> [0..],
        transaction_timeout_ms: i32 [0..],
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
        enable2_pc: bool [6..],
        keep_prepared_txn: bool [6..],
    }

    /// The id and epoch to produce under.
    struct InitProducerIdResponse: Response INIT_PRODUCER_ID 0..=6, flexible 2.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        producer_id: i64 [0..] = -1,
        producer_epoch: i16 [0..],
        ongoing_txn_producer_id: i64 [6..] = -1,
        ongoing_txn_producer_epoch: i16 [6..] = -1,
    }
}
