//! The metadata's records and image: bytes, application, checkpoints.

use crate::world::World;
use highwater::ids::{NodeId, TopicId};
use highwater::metadata::{Changes, FormatError, Image, ProducerIds, Record, Topic, allocate_producer_ids};
use std::collections::BTreeMap;

fn created(id: u8, name: &str) -> Record {
    let configs = BTreeMap::from([("retention.ms".to_string(), "5".to_string())]);
    Record::TopicCreated(Topic { id: TopicId([id; 16]), name: name.into(), partitions: 3, configs, created_ms: -1 })
}

#[test]
fn a_record_has_the_bytes_that_its_picture_shows() {
    let mut expected = vec![1, 0];
    expected.extend([9; 16]);
    expected.extend(b"\x01t");
    expected.push(6); // 3 partitions, zigzag
    expected.extend(b"\x01\x0cretention.ms\x015");
    expected.push(1); // created at -1, zigzag
    assert_eq!(created(9, "t").encode(), expected);
    assert_eq!(Record::TopicDeleted { id: TopicId([2; 16]) }.encode(), [&[1, 1][..], &[2; 16]].concat());
    assert_eq!(Record::ProducerIdsAllocated { next: 1000 }.encode(), [1, 2, 0xd0, 0x0f]);
    let configured = Record::TopicConfigured { id: TopicId([2; 16]), changes: changes() };
    let map = b"\x02\x01a\x00\x01b\x01\x01c";
    assert_eq!(configured.encode(), [&[1, 3][..], &[2; 16], map].concat());
    let every = Record::BrokersConfigured { node: None, changes: changes() };
    assert_eq!(every.encode(), [&[1, 4, 0][..], map].concat());
    let own = Record::BrokersConfigured { node: Some(NodeId(1)), changes: changes() };
    assert_eq!(own.encode(), [&[1, 4, 1, 2][..], map].concat());
    let grown = Record::PartitionsAdded { id: TopicId([2; 16]), partitions: 5 };
    assert_eq!(grown.encode(), [&[1, 5][..], &[2; 16], &[10]].concat());
}

fn changes() -> Changes {
    Changes::from([("a".to_string(), None), ("b".to_string(), Some("c".to_string()))])
}

#[test]
fn records_are_read_back() {
    for record in [
        created(1, "a.b"),
        Record::TopicDeleted { id: TopicId([3; 16]) },
        Record::ProducerIdsAllocated { next: i64::MAX },
        Record::TopicConfigured { id: TopicId([3; 16]), changes: changes() },
        Record::BrokersConfigured { node: Some(NodeId(i32::MAX)), changes: changes() },
        Record::PartitionsAdded { id: TopicId([3; 16]), partitions: i32::MAX },
    ] {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn bytes_of_another_format_are_refused() {
    assert_eq!(Record::decode(&[]), Err(FormatError::Version { found: None, read: 1 }));
    assert_eq!(Record::decode(&[2, 0]), Err(FormatError::Version { found: Some(2), read: 1 }));
    assert_eq!(Image::decode(&[1, 0, 0, 0]), Err(FormatError::Version { found: Some(1), read: 3 }));
    assert_eq!(Record::decode(&[1, 7]), Err(FormatError::Malformed));
    let mut longer = created(1, "a").encode();
    longer.push(0);
    assert_eq!(Record::decode(&longer), Err(FormatError::Malformed));
    longer.truncate(10);
    assert_eq!(Record::decode(&longer), Err(FormatError::Malformed));
    assert_eq!(
        FormatError::Version { found: Some(2), read: 1 }.to_string(),
        "metadata of format 2, this broker reads 1"
    );
}

#[test]
fn a_count_that_lies_is_refused_without_being_believed() {
    let mut bytes = vec![1, 0];
    bytes.extend([9; 16]);
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(Record::decode(&bytes), Err(FormatError::Malformed));
}

#[test]
fn a_created_topic_is_found_by_id_and_name() {
    let mut image = Image::default();
    image.apply(&created(1, "b"));
    image.apply(&created(2, "a"));
    assert_eq!(image.topic(TopicId([1; 16])).unwrap().name, "b");
    assert_eq!(image.topic_named("a").unwrap().id, TopicId([2; 16]));
    assert_eq!(image.topics().map(|topic| &*topic.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(image.topics_from("aa").map(|topic| &*topic.name).collect::<Vec<_>>(), ["b"]);
    assert_eq!((image.topic_count(), image.partitions()), (2, 6));
    assert_eq!(image.topic_named("a").unwrap().keys().map(|key| key.index).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_deleted_topic_is_remembered_until_its_deletion_is_confirmed() {
    let mut image = Image::default();
    let id = TopicId([1; 16]);
    image.apply(&created(1, "a"));
    image.apply(&Record::TopicDeleted { id });
    assert!(image.topic(id).is_none() && image.topic_named("a").is_none() && image.colliding("a").is_none());
    assert_eq!(image.deleting().collect::<Vec<_>>(), [(id, 3)]);
    assert!(image.knows(id) && image.partitions() == 0);
    image.deletion_confirmed(id);
    assert!(!image.knows(id) && image.deleting().next().is_none());
}

#[test]
fn a_name_is_free_again_after_its_topic_was_deleted() {
    let mut image = Image::default();
    image.apply(&created(1, "a"));
    image.apply(&Record::TopicDeleted { id: TopicId([1; 16]) });
    image.apply(&created(2, "a"));
    assert_eq!(image.topic_named("a").unwrap().id, TopicId([2; 16]));
    assert_eq!(image.deleting().count(), 1);
}

#[test]
fn a_checkpoint_brings_back_the_same_image() {
    let mut image = Image::default();
    for record in [
        created(1, "a.b"),
        created(2, "c"),
        created(3, "d"),
        Record::ProducerIdsAllocated { next: 5000 },
        Record::TopicConfigured { id: TopicId([1; 16]), changes: changes() },
        Record::BrokersConfigured { node: None, changes: changes() },
        Record::BrokersConfigured { node: Some(NodeId(1)), changes: changes() },
    ] {
        image.apply(&record);
    }
    image.apply(&Record::TopicDeleted { id: TopicId([2; 16]) });
    let bytes = image.encode();
    let back = Image::decode(&bytes).unwrap();
    assert_eq!(back, image);
    assert_eq!(back.encode(), bytes);
    assert_eq!(back.colliding("a_b").unwrap().name, "a.b");
    assert_eq!((back.partitions(), back.next_producer_id()), (6, 5000));
    assert_eq!(Image::decode(&bytes[..bytes.len() - 1]), Err(FormatError::Malformed));
    assert_eq!(Image::decode(&Image::default().encode()), Ok(Image::default()));
}

#[test]
fn a_configuration_changes_what_is_named_and_nothing_else() {
    let mut image = Image::default();
    let id = TopicId([1; 16]);
    image.apply(&created(1, "a"));
    image.apply(&Record::TopicConfigured { id, changes: changes() });
    let expected = [("b", "c"), ("retention.ms", "5")];
    let pairs = |values: &BTreeMap<String, String>| values.clone().into_iter().collect::<Vec<_>>();
    let owned = expected.map(|(name, value)| (name.to_string(), value.to_string()));
    assert_eq!(pairs(&image.topic(id).unwrap().configs), owned);

    image.apply(&Record::BrokersConfigured { node: None, changes: changes() });
    assert_eq!(pairs(image.broker(None)), [("b".to_string(), "c".to_string())]);
    assert!(image.broker(Some(NodeId(1))).is_empty());
    let gone = Changes::from([("b".to_string(), None)]);
    image.apply(&Record::BrokersConfigured { node: None, changes: gone });
    let mut plain = Image::default();
    plain.apply(&created(1, "a"));
    plain.apply(&Record::TopicConfigured { id, changes: changes() });
    assert_eq!(image, plain);
}

#[test]
#[should_panic(expected = "topic a goes from 3 to 3 partitions")]
fn applying_a_growth_that_is_none_is_a_bug() {
    let mut image = Image::default();
    image.apply(&created(1, "a"));
    image.apply(&Record::PartitionsAdded { id: TopicId([1; 16]), partitions: 3 });
}

#[test]
fn equal_records_make_equal_images_byte_for_byte() {
    let build = || {
        let mut world = World::new();
        for name in ["x", "y", "z"] {
            world.topic(name, 2, &[("cleanup.policy", "compact"), ("segment.ms", "9")]);
        }
        world.image.encode()
    };
    assert_eq!(build(), build());
}

#[test]
#[should_panic(expected = "topic a_b is made beside topic a.b")]
fn applying_a_name_that_collides_is_a_bug() {
    let mut image = Image::default();
    image.apply(&created(1, "a.b"));
    image.apply(&created(2, "a_b"));
}

#[test]
#[should_panic(expected = "producer ids go back from 10 to 10")]
fn applying_producer_ids_twice_is_a_bug() {
    let mut image = Image::default();
    image.apply(&Record::ProducerIdsAllocated { next: 10 });
    image.apply(&Record::ProducerIdsAllocated { next: 10 });
}

#[test]
fn producer_ids_are_handed_out_in_blocks_that_never_overlap() {
    let mut image = Image::default();
    for block in 0..3 {
        let decision = allocate_producer_ids(&image, 1000);
        assert_eq!(decision.response, ProducerIds { first: block * 1000, end: (block + 1) * 1000 });
        assert_eq!(decision.records, [Record::ProducerIdsAllocated { next: (block + 1) * 1000 }]);
        image.apply(&decision.records[0]);
    }
}
