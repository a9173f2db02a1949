//! Quotas and limits of connections, of the real process over real sockets.

use crate::broker::Broker;
use crate::client::{Client, batch};
use highwater::wire::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, OpData,
};
use highwater::wire::describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use highwater::wire::{Message, Reader};
use std::time::{Duration, Instant};

fn set(client: &mut Client, client_id: &str, key: &str, value: f64) {
    let part = EntityData { entity_type: "client-id".into(), entity_name: Some(client_id.into()) };
    let op = OpData { key: key.into(), value, remove: value == 0.0 };
    let entries = vec![EntryData { entity: vec![part], ops: vec![op] }];
    let body = client.ask(1, &AlterClientQuotasRequest { entries, validate_only: false });
    let answer = AlterClientQuotasResponse::decode(&mut Reader::new(&body), 1).expect("an answer");
    assert!(answer.entries[0].error_code.is_none(), "{answer:?}");
}

/// Each client with its quota of produced bytes.
fn described(client: &mut Client) -> Vec<(String, f64)> {
    let body = client.ask(1, &DescribeClientQuotasRequest::default());
    let answer = DescribeClientQuotasResponse::decode(&mut Reader::new(&body), 1).expect("an answer");
    let entries = answer.entries.expect("no error").into_iter();
    let one = |entry: highwater::wire::describe_client_quotas::EntryData<'_>| {
        (entry.entity[0].entity_name.clone().expect("named").into_owned(), entry.values[0].value)
    };
    entries.map(one).collect()
}

#[test]
fn acknowledged_quotas_survive_a_kill() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut wanted = Vec::new();
    for round in 0..4 {
        let mut broker = Broker::start_on(&data, &["--shards", "2"]);
        let mut client = Client::connect(broker.address);
        assert_eq!(described(&mut client), wanted, "in round {round}");
        let name = format!("client-{round}");
        set(&mut client, &name, "producer_byte_rate", 1000.0 + f64::from(round));
        wanted.push((name, 1000.0 + f64::from(round)));
        if round == 2 {
            set(&mut client, "client-0", "producer_byte_rate", 0.0);
            wanted.remove(0);
        }
        broker.signal(rustix::process::Signal::KILL);
        broker.wait();
    }
}

#[test]
fn a_producer_waits_as_long_as_its_quota_wants() {
    let broker = Broker::start(&["--shards", "2"]);
    let mut admin = Client::connect(broker.address);
    assert_eq!(admin.create_topic("t", 1), 0);
    let mut client = Client::connect(broker.address);
    let one = batch(&[&[7; 20_000]]);
    // Ten seconds' worth of it goes at once.
    set(&mut admin, "real", "producer_byte_rate", 4_000.0);
    let mut send = || {
        let begun = Instant::now();
        assert_eq!(client.produce("t", 0, &one).0, 0);
        begun.elapsed()
    };
    assert!(send() < Duration::from_millis(900));
    assert!(send() < Duration::from_millis(900), "the answer comes at once");
    // 40,000 bytes and some more: 40 ms too many and more for each 4 bytes; then 60,000: five seconds.
    assert!(send() < Duration::from_millis(900));
    let waited = send();
    assert!((3_000..7_000).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn an_address_has_as_many_connections_as_it_may() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("highwater.toml");
    std::fs::write(&config, "max.connections.per.ip = 2\n").expect("written");
    let broker = Broker::start(&["--shards", "2", "--config", config.to_str().expect("UTF-8")]);
    let mut clients: Vec<Client> = (0..2).map(|_| Client::connect(broker.address)).collect();
    clients.iter_mut().for_each(|client| assert!(client.api_count() > 30));
    let mut third = Client::connect(broker.address);
    assert!(third.is_closed());
    drop(clients);
    std::thread::sleep(Duration::from_millis(300));
    assert!(Client::connect(broker.address).api_count() > 30);
}
