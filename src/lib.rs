//! Highwater: a replicated log that speaks the Kafka protocol. This crate is its core: it computes, and does nothing else.
//!
//! # Bird's-eye view
//!
//! ```text
//!            clients                                           disk
//!               │ Accept Recv Send                    Read Write Sync Rename ... │
//!   ┌───────────▼──────────────────────────────────────────────────────────────▼──────────┐
//!   │ driver: io (io_uring, one ring and one thread for each shard)   or   sim (one seed) │
//!   └───────────▲──────────────────────────────────────────────────────────────▲──────────┘
//!               │ Input: Done, Mail, Tick, Stop            Action: Submit, Mail, Halt      │
//!   ┌───────────▼──────────────────────────────────────────────────────────────▼──────────┐
//!   │ shard: connections ─▶ requests ─▶ partition = Replica + Log + Producers ─▶ journal   │
//!   │                                          ▲                     │ later, in large runs │
//!   │                 Fetch: tail in memory ───┘                     └─▶ segments           │
//!   └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A produced batch is checked, copied once into the open frame of the shard's journal, and answered when that frame is
//! durable and the replica's high watermark has passed the batch. It then stays in memory as its partition's tail, is
//! written to its segment with many others, and leaves memory when room is needed. Compaction reads sealed segments
//! and puts others in their place, under other names. A checkpoint makes segments durable
//! and frees the journal's oldest files. Recovery reads the checkpoint and the journal behind it, never the segments.
//!
//! # Map
//!
//! Read in this order; a module knows only those below it in the list of layers.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`boundary`] | `Input`, `Action`, `Op`: all that a driver and a shard say to each other, and the contract |
//! | [`shard`] | one core's share of a node: where everything below is put together |
//! | [`replica`] | the state machine of every log: epochs, positions, the high watermark; idempotent producers |
//! | [`journal`] | frames, the group commit, the ring of files, the scan that tells a torn tail from damage |
//! | [`log`] | a partition's tail in memory, its segments and their tables of chunks |
//! | [`checkpoint`] | everything of a shard that is not in segments, as of one frame |
//! | [`metadata`] | which topics exist: records, the image, decisions |
//! | [`api`] | what is served, and the handlers that need no log |
//! | [`groups`] | the group coordinator: members, generations, committed offsets |
//! | [`configs`] | every topic and broker configuration: type, default, documentation, checks |
//! | [`quotas`] | who may do how much: what is set, and the books of what was done |
//! | [`records`] | Kafka's record batches |
//! | [`wire`] | Kafka's messages: one schema, one macro, every version |
//! | [`mail`] | what the shards of a node write to each other |
//! | [`memory`] | aligned buffers, arenas |
//! | [`metrics`] | what a shard counts, and tells of itself to its operators |
//! | [`config`], [`ids`] | what a shard is told; the names of things |
//!
//! Drivers of shards: `io` (production), `sim` (an event queue), `tests/rig` (async tasks, under turmoil and madsim).
//!
//! Layers, lowest first: `ids` · `boundary` `config` `memory` · `wire` `records` `quotas` `configs` · `metadata` · `api` · `metrics` · `groups` · `replica`
//! · `log` · `journal` · `checkpoint` · `shard` (with `mail`, which carries its words).
//!
//! # Invariants
//!
//! - **Pure.** `no_std`, no `unsafe`: no clock, entropy, thread, file, socket or map of random order can be named here. Equal
//!   inputs give equal outputs, in another process, in debug and in release. (Dependencies may use std; none of those
//!   here reads a clock or draws chance.)
//! - **Durable first.** No answer to `acks` 1 or all leaves before the frame that holds the batch is on the disk. A failed
//!   write of the journal, or a failed sync of anything, ends the process; neither is ever tried again.
//! - **One commit in flight.** Frame `n + 1` is written only when frame `n` is durable; so a later frame proves every
//!   earlier one, a bad frame with proof behind it is damage, and one without is a torn tail.
//! - **A snapshot lies between two frames.** A checkpoint is taken when no frame is half filled, and is used only when its
//!   last frame is durable. What is appended can always be committed without waiting for a checkpoint, because the
//!   checkpoint waits for what is appended: `Journal::ring_has_room` is asked first. On a full disk deletions take what batches
//!   leave of the ring, and what waits for room of a deleted partition's is given up: that may be all that makes room.
//! - **Only committed bytes enter segments**, in whole batches, and everything a checkpoint says of a segment had arrived
//!   before its sync began. The part-filled last sector is in the checkpoint, since its rewrite may tear.
//! - **Nothing vanishes by absence.** A file is unlinked only when the log's new start, or a committed deletion that names
//!   the topic's id, is durable in the journal; or when a durable checkpoint knows the compacted segment in its place.
//! - **Damage is kept.** A journal file that holds damage, or what damage has cut off from its partition, leaves the ring under
//!   another name (`journal-03.kept`) before anything is written behind it; it is never used again and never unlinked, also
//!   not with an old layout. A start that finds damage keeps no more than its ring's files. A partition refuses from where its
//!   log still reaches, and one that only lost frames may have held refuses from its start: it is not begun anew.
//! - **An index is never the only copy.** A table of chunks that fails its checksum, or is gone, is made anew from its segment:
//!   each batch by its CRC, its neighbours and the log's epochs. No partition refuses for it.
//! - **One layout holds.** The number of shards is changed by recovering all old journals into segments, writing the new
//!   shards' checkpoints beside the old ones, and one durable rename of `format`; nothing of the old layout is written or
//!   unlinked before.
//! - **Bounded.** `memory::Shares` divides a shard's memory: batches and reads live in arenas, groups and sessions have their
//!   parts, and everything that connections hold (receive buffers, requests under way, answers until they are taken) is in
//!   one budget. Where a part is used up, the shard does not ask for more bytes: who holds much waits first, who holds
//!   nothing goes on, and a reader that takes nothing is hung up where others wait. Books are kept only
//!   of clients that have a quota, and their part is bounded too.
//!
//! What is deliberately absent: an async runtime, locks, retries of failed syncs, a second write path, knobs of the
//! group commit, and any trust in bytes that were read from a disk before their checksum was verified.
//!
//! # Where this differs from the design's first draft, and why
//!
//! - A commit may wait for those whom the one before it answered, at most twice as long as that one took and 250 us:
//!   natural group commit alone splits one connection's requests into cohorts that take turns. Measured with one
//!   connection and two shards: with 1 KiB batches a quarter more requests a second for half of the CPU each, with 16 KiB
//!   batches (which are longer on their way) a third more for a third less than with 50 us; with 16 connections or more
//!   it costs nothing and gains little; at 10,000 requests a second it is not seen.
//! - The repeated directory and a frame's own one stand at its end, not at its beginning: the payload is placed before the
//!   directory is known, and a frame's first sector would otherwise cost 4 KiB in every commit.
//! - A segment's table of chunks is in the checkpoint while it is active, and becomes a file (`.chunks`) when it rolls:
//!   one file to sync for each partition at a checkpoint instead of two. Neighbouring chunks are merged by combining
//!   their checksums, so that the table is small however small the writes were.
//! - Large runs are written twice, as small ones are. Batches of 128 KiB written once, straight to their segments, reach the
//!   disk no sooner where the segments' files are merely reserved (`scripts/writes`, MB/s in two rounds: 746 and 744, where two
//!   writes take 832 and 691); only into files that were written full before (1,362 and 1,541). Those are the files of a
//!   log that recycles what retention deletes; one that still grows has none, and writing them full first is a second
//!   write too.
//! - A shard takes snapshots of all its partitions at once, so the checkpoint says as of which frame it is, and frames up
//!   to that one are read again only for batches that are in no segment yet.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
pub mod boundary;
pub mod checkpoint;
pub mod config;
pub mod configs;
pub mod groups;
pub mod ids;
pub mod journal;
pub mod log;
pub mod mail;
pub mod memory;
pub mod metadata;
pub mod metrics;
pub mod quotas;
pub mod records;
pub mod replica;
pub mod shard;
pub mod wire;
