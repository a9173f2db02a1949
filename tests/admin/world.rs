//! One broker's knowledge, to ask handlers with: node 1 at localhost:9092, cluster `CLUSTER`.

use highwater::api::{View, create_topics};
use highwater::boundary::Timestamp;
use highwater::configs::{self, BrokerSettings, Values};
use highwater::ids::{Epoch, NodeId, PartitionKey, TopicId};
use highwater::metadata::{Decision, Image, Record, Topic};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;

pub const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
pub const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub struct World {
    pub image: Image,
    pub broker: Values,
    pub settings: BrokerSettings,
    pub leaders: BTreeMap<PartitionKey, Epoch>,
    pub rng: ChaCha8Rng,
}

impl World {
    pub fn new() -> World {
        World::with(&[])
    }

    /// A broker with these configurations set.
    pub fn with(broker: &[(&str, &str)]) -> World {
        for (name, value) in broker {
            configs::check_broker(name, value).unwrap();
        }
        let broker: Values = broker.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        World {
            image: Image::default(),
            settings: BrokerSettings::resolve(&broker),
            broker,
            leaders: BTreeMap::new(),
            rng: ChaCha8Rng::seed_from_u64(7),
        }
    }

    pub fn view(&self) -> View<'_> {
        View {
            image: &self.image,
            broker: &self.broker,
            settings: &self.settings,
            node: NodeId(1),
            host: "localhost",
            port: 9092,
            cluster_id: CLUSTER,
            leaders: &self.leaders,
        }
    }

    pub fn decide(&mut self, request: &CreateTopicsRequest<'_>) -> Decision<CreateTopicsResponse<'static>> {
        let mut rng = self.rng.clone();
        let decision = create_topics::decide(request, &self.view(), NOW, &mut rng);
        self.rng = rng;
        decision
    }

    /// Applies records, and leads what they create in epoch 0.
    pub fn commit(&mut self, records: &[Record]) {
        for record in records {
            self.image.apply(record);
            if let Record::TopicCreated(Topic { id, .. }) | Record::PartitionsAdded { id, .. } = record {
                let topic = self.image.topic(*id).unwrap();
                self.leaders.extend(topic.keys().map(|key| (key, Epoch(0))));
            }
        }
    }

    /// Creates a topic that has these configurations.
    pub fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let decision = self.decide(&request([wish(name, partitions, 1, configs)]));
        assert!(decision.response.topics[0].error_code.is_none(), "{:?}", decision.response);
        self.commit(&decision.records);
        decision.response.topics[0].topic_id
    }
}

pub fn wish<'a>(name: &'a str, partitions: i32, factor: i16, configs: &[(&'a str, &'a str)]) -> CreatableTopic<'a> {
    let config = |(name, value): &(&'a str, &'a str)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    };
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    }
}

pub fn request<const N: usize>(topics: [CreatableTopic<'_>; N]) -> CreateTopicsRequest<'_> {
    CreateTopicsRequest { topics: topics.into(), ..CreateTopicsRequest::default() }
}
