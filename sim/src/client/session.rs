//! A reader's side of a fetch session (KIP-227): what the node knows of its wishes, and what it knows of the node.
//!
//! It goes on with its session on a new connection where no answer was lost, and so perhaps on another shard. Invariants: a
//! partition that is not answered has no news: neither another high watermark than the session has told, nor an error; a
//! session that is used epoch by epoch is refused only because it is not there any more.

use crate::client::Ctx;
use crate::client::reader::{Asked, name};
use crate::faults::Fault;
use crate::ledger::Part;
use crate::report::Invariant;
use highwater::wire::ErrorCode;
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, ForgottenTopic};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Session {
    /// 0: there is none.
    id: i32,
    /// The next request's.
    epoch: i32,
    /// A request is on its way, or its answer was lost.
    asked: bool,
    /// As they were asked for last.
    parts: BTreeMap<Part, FetchPartition>,
    /// The high watermarks that were told; none where something went wrong.
    told: BTreeMap<Part, i64>,
}

impl Session {
    /// The first version that has sessions.
    pub const SINCE: i16 = 7;

    /// The next fetch is an incremental one.
    pub fn goes_on(&self) -> bool {
        self.id != 0 && !self.asked
    }

    pub fn has(&self, part: Part) -> bool {
        self.parts.contains_key(&part)
    }

    /// How this partition was asked for before.
    pub fn before(&self, part: Part) -> Option<&FetchPartition> {
        self.parts.get(&part).filter(|_| self.goes_on())
    }

    /// Writes into the request what the node does not know. True: that was less than all.
    pub fn ask(
        &mut self,
        ctx: &mut Ctx,
        wanted: &[(Part, FetchPartition)],
        request: &mut FetchRequest<'static>,
    ) -> bool {
        let goes_on = self.goes_on();
        if goes_on {
            ctx.counts.add(Fault::Incremental);
        } else {
            // A session whose answer was lost is of no use: a full fetch ends it.
            (self.epoch, self.parts) = (0, BTreeMap::new());
            self.told.clear();
        }
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        for (part, partition) in wanted.iter().filter(|(part, partition)| self.parts.get(part) != Some(partition)) {
            name(ctx.ledger, *part, partition, request);
        }
        let dropped: Vec<Part> =
            self.parts.keys().filter(|part| wanted.iter().all(|(other, _)| other != *part)).copied().collect();
        for part in dropped {
            let topic = ctx.ledger.topic_of(part);
            request.forgotten_topics_data.push(ForgottenTopic {
                topic: topic.name.clone().into(),
                topic_id: topic.id.unwrap_or_default(),
                partitions: vec![ctx.ledger.parts[part].index],
            });
            self.told.remove(&part);
        }
        self.parts = wanted.iter().cloned().collect();
        self.asked = true;
        goes_on
    }

    /// The answer says that the session is not there any more.
    pub fn is_lost(&mut self, ctx: &mut Ctx, answer: &FetchResponse) -> bool {
        let lost = self.epoch > 0 && answer.error_code == ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
        if lost {
            ctx.counts.add(Fault::LostSession);
            *self = Session::default();
        }
        lost
    }

    /// There was more to read in a partition that was not answered.
    pub fn is_behind(&self, asked: &Asked) -> bool {
        self.told.get(&asked.part).is_some_and(|told| asked.offset < *told)
    }

    pub fn on_answer(&mut self, ctx: &mut Ctx, asked: &[Asked], answer: &FetchResponse) {
        if self.epoch > 0 && answer.session_id != self.id {
            let detail = format!("session {} is answered as session {}", self.id, answer.session_id);
            return ctx.fail(Invariant::Answers, detail);
        }
        (self.id, self.asked) = (answer.session_id, false);
        let full = self.epoch == 0;
        self.epoch += 1;
        for asked in asked {
            let found =
                answer.responses.iter().flat_map(|topic| topic.partitions.iter().map(move |data| (topic, data)));
            let found = found.filter(|(topic, data)| {
                let topic = ctx.ledger.find_topic(&topic.topic).or_else(|| ctx.ledger.find_topic_id(topic.topic_id));
                topic.and_then(|topic| ctx.ledger.find_part(topic, data.partition_index)) == Some(asked.part)
            });
            match found.map(|(_, data)| data).next() {
                Some(data) if data.error_code.is_none() && data.diverging_epoch.epoch < 0 => {
                    self.told.insert(asked.part, data.high_watermark);
                }
                Some(_) => {
                    // It is to be asked for in another way.
                    self.told.remove(&asked.part);
                    if let Some(partition) = self.parts.get_mut(&asked.part) {
                        partition.current_leader_epoch = -2;
                    }
                }
                None if !full => self.left_out(ctx, asked),
                None => {}
            }
        }
    }

    /// A partition is not in the answer: nothing that its reader knows may have changed.
    fn left_out(&mut self, ctx: &mut Ctx, asked: &Asked) {
        ctx.counts.add(Fault::SilentPart);
        let part = asked.part;
        // Damage may have taken back what was known of it.
        if !ctx.ledger.serves(part) || ctx.ledger.beyond || ctx.ledger.parts[part].may_refuse {
            return;
        }
        let (told, known) = (self.told.get(&part).copied(), asked.known.high_watermark);
        if told.is_none_or(|told| told < known) {
            let name = ctx.ledger.name(part);
            let detail = format!("{name} is left out, told {told:?} before; its high watermark is {known} at least");
            ctx.fail(Invariant::Answers, detail);
        }
    }
}
