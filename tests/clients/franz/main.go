// The checks of franz-go, a client written in Go, against the broker at os.Args[1]; or one request of it, see ask.go.
//
// Prints one line for each check, "PASS name" or "FAIL name: reason", which tests/clients/run.py reads. What is
// expected is what Apache Kafka does; each check makes topics of its own and deletes them.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 4

type check struct {
	name string
	run  func(context.Context, *suite) error
}

type suite struct {
	bootstrap string
	prefix    string
	admin     *kadm.Client
}

func main() {
	if len(os.Args) == 5 && os.Args[2] == "ask" {
		if err := ask(os.Args[1], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: franz HOST:PORT [ask API JSON]")
		os.Exit(2)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer client.Close()
	s := &suite{os.Args[1], fmt.Sprintf("franz-%d-", time.Now().UnixNano()), kadm.NewClient(client)}
	checks := []check{
		{"round trip, idempotent, uncompressed", roundTrip(kgo.NoCompression())},
		{"round trip, idempotent, gzip", roundTrip(kgo.GzipCompression())},
		{"round trip, idempotent, snappy", roundTrip(kgo.SnappyCompression())},
		{"round trip, idempotent, lz4", roundTrip(kgo.Lz4Compression())},
		{"round trip, idempotent, zstd", roundTrip(kgo.ZstdCompression())},
		{"a topic is created by asking for it", autoCreate},
		{"an unknown topic is not created unasked", unknownTopic},
		{"a record of 1,000,000 bytes comes back", largeRecord},
		{"a record above max.message.bytes is refused", tooLarge},
		{"offsets by time, start, end and largest timestamp", offsetsByTime},
		{"the end of a leader epoch", leaderEpoch},
		{"bad topics are refused with Kafka's codes", badTopics},
		{"a deleted topic is gone", deleteTopic},
		{"topic configurations with value and source", configs},
		{"the cluster describes itself", cluster},
		{"a group shares, loses a member, commits and resumes", group},
		{"groups are described, their offsets changed and deleted", groupAdmin},
		{"quotas are set, described and removed", quotas},
	}
	failed := false
	for _, c := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		if err := c.run(ctx, s); err != nil {
			fmt.Printf("FAIL %s: %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", " "))
			failed = true
		} else {
			fmt.Printf("PASS %s\n", c.name)
		}
		cancel()
	}
	if failed {
		os.Exit(1)
	}
}

func (s *suite) topic(name string) string { return s.prefix + name }

func (s *suite) client(options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.SeedBrokers(s.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return kgo.NewClient(options...)
}

func (s *suite) create(ctx context.Context, topic string, count int32, configs map[string]*string) error {
	response, err := s.admin.CreateTopic(ctx, count, 1, configs, topic)
	if err != nil {
		return err
	}
	return response.Err
}

func (s *suite) remove(topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = s.admin.DeleteTopics(ctx, topic)
}

// Records that differ in key, value, headers and timestamp; some without key or value.
func records(topic string, count int) []*kgo.Record {
	random := rand.New(rand.NewSource(7))
	base := time.Now().Add(-time.Hour).UnixMilli() // what is older than retention.ms may go at any time
	var all []*kgo.Record
	for i := 0; i < count; i++ {
		value := bytes.Repeat([]byte(fmt.Sprintf("value %d ", i)), 1+random.Intn(60))
		record := &kgo.Record{
			Topic: topic, Partition: int32(i % partitions), Value: value,
			Timestamp: time.UnixMilli(base + int64(i)),
		}
		if i%3 != 0 {
			record.Key = []byte(fmt.Sprintf("key %d", i))
		}
		if i%5 == 0 {
			record.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte{0, byte(i)}}, {Key: "empty", Value: nil}}
		}
		if i%11 == 0 {
			record.Value = nil
		}
		all = append(all, record)
	}
	return all
}

// Reads `count` records from the start of every partition and compares them, partition by partition, with what was sent.
func (s *suite) compare(ctx context.Context, topic string, sent []*kgo.Record) error {
	from := map[int32]kgo.Offset{}
	want := map[int32][]*kgo.Record{}
	for _, record := range sent {
		from[record.Partition] = kgo.NewOffset().AtStart()
		want[record.Partition] = append(want[record.Partition], record)
	}
	client, err := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	next := map[int32]int64{}
	for left := len(sent); left > 0; {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("%d records are missing: %w", left, errs[0].Err)
		}
		for _, got := range fetches.Records() {
			place := next[got.Partition]
			if got.Offset != place {
				return fmt.Errorf("partition %d: offset %d came where %d was due", got.Partition, got.Offset, place)
			}
			if place >= int64(len(want[got.Partition])) {
				return fmt.Errorf("partition %d has more records than were sent", got.Partition)
			}
			if err := same(want[got.Partition][place], got); err != nil {
				return fmt.Errorf("partition %d offset %d: %w", got.Partition, place, err)
			}
			next[got.Partition] = place + 1
			left--
		}
	}
	return nil
}

func same(want, got *kgo.Record) error {
	if !bytes.Equal(want.Key, got.Key) || (want.Key == nil) != (got.Key == nil) {
		return fmt.Errorf("key %q, sent was %q", got.Key, want.Key)
	}
	if !bytes.Equal(want.Value, got.Value) || (want.Value == nil) != (got.Value == nil) {
		return fmt.Errorf("a value of %d bytes, sent were %d", len(got.Value), len(want.Value))
	}
	if !want.Timestamp.IsZero() && !want.Timestamp.Equal(got.Timestamp) {
		return fmt.Errorf("timestamp %v, sent was %v", got.Timestamp, want.Timestamp)
	}
	if len(want.Headers) != len(got.Headers) {
		return fmt.Errorf("%d headers, sent were %d", len(got.Headers), len(want.Headers))
	}
	for i, header := range want.Headers {
		if header.Key != got.Headers[i].Key || !bytes.Equal(header.Value, got.Headers[i].Value) {
			return fmt.Errorf("header %q differs", header.Key)
		}
	}
	return nil
}

func roundTrip(codec kgo.CompressionCodec) func(context.Context, *suite) error {
	return func(ctx context.Context, s *suite) error {
		topic := s.topic(fmt.Sprintf("round-%d", time.Now().UnixNano()))
		if err := s.create(ctx, topic, partitions, nil); err != nil {
			return err
		}
		defer s.remove(topic)
		client, err := s.client(kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(kgo.AllISRAcks()))
		if err != nil {
			return err
		}
		defer client.Close()
		sent := records(topic, 5000)
		if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
			return err
		}
		return s.compare(ctx, topic, sent)
	}
}

func autoCreate(ctx context.Context, s *suite) error {
	topic := s.topic("auto")
	defer s.remove(topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.AllowAutoTopicCreation())
	if err != nil {
		return err
	}
	defer client.Close()
	sent := &kgo.Record{Topic: topic, Value: []byte("first")}
	if err := client.ProduceSync(ctx, sent).FirstErr(); err != nil {
		return err
	}
	if sent.Offset != 0 {
		return fmt.Errorf("the first record has offset %d", sent.Offset)
	}
	return s.compare(ctx, topic, []*kgo.Record{sent})
}

func unknownTopic(ctx context.Context, s *suite) error {
	topic := s.topic("never")
	details, err := s.admin.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	if got := details[topic].Err; !errors.Is(got, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("the answer is %v", got)
	}
	return nil
}

func largeRecord(ctx context.Context, s *suite) error {
	topic := s.topic("large")
	if err := s.create(ctx, topic, partitions, nil); err != nil {
		return err
	}
	defer s.remove(topic)
	value := make([]byte, 1_000_000)
	rand.New(rand.NewSource(3)).Read(value)
	client, err := s.client(kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1_048_588))
	if err != nil {
		return err
	}
	defer client.Close()
	var sent []*kgo.Record
	for i := 0; i < 8; i++ {
		sent = append(sent, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: value})
	}
	if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return err
	}
	for _, record := range sent {
		record.Timestamp = time.Time{}
	}
	return s.compare(ctx, topic, sent)
}

func tooLarge(ctx context.Context, s *suite) error {
	topic := s.topic("too-large")
	limit := "10000"
	if err := s.create(ctx, topic, 1, map[string]*string{"max.message.bytes": &limit}); err != nil {
		return err
	}
	defer s.remove(topic)
	client, err := s.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 20_000)}).FirstErr()
	if !errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("the answer is %v", err)
	}
	after := &kgo.Record{Topic: topic, Value: make([]byte, 5_000)}
	if err := client.ProduceSync(ctx, after).FirstErr(); err != nil {
		return fmt.Errorf("a record below the limit: %w", err)
	}
	if after.Offset != 0 {
		return fmt.Errorf("the refused record took an offset: the next one has %d", after.Offset)
	}
	return nil
}

func offsetsByTime(ctx context.Context, s *suite) error {
	topic := s.topic("times")
	if err := s.create(ctx, topic, 1, nil); err != nil {
		return err
	}
	defer s.remove(topic)
	client, err := s.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	base := time.Now().Add(-time.Hour).UnixMilli()
	// Offset -> milliseconds after base; not in order, several records in one batch.
	times := []int64{0, 10, 30, 20, 50, 40}
	var sent []*kgo.Record
	for _, at := range times {
		sent = append(sent, &kgo.Record{Topic: topic, Value: []byte("x"), Timestamp: time.UnixMilli(base + at)})
	}
	if err := client.ProduceSync(ctx, sent[:3]...).FirstErr(); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, sent[3:]...).FirstErr(); err != nil {
		return err
	}
	expect := func(what string, listed kadm.ListedOffsets, err error, offset int64) error {
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		one, ok := listed.Lookup(topic, 0)
		if !ok || one.Err != nil || one.Offset != offset {
			return fmt.Errorf("%s: offset %d (%v), %d was due", what, one.Offset, one.Err, offset)
		}
		return nil
	}
	for _, c := range []struct{ at, offset int64 }{{0, 0}, {1, 1}, {10, 1}, {11, 2}, {20, 2}, {31, 4}, {50, 4}} {
		listed, err := s.admin.ListOffsetsAfterMilli(ctx, base+c.at, topic)
		if err := expect(fmt.Sprintf("time +%d", c.at), listed, err, c.offset); err != nil {
			return err
		}
	}
	listed, err := s.admin.ListStartOffsets(ctx, topic)
	if err := expect("start", listed, err, 0); err != nil {
		return err
	}
	listed, err = s.admin.ListEndOffsets(ctx, topic)
	if err := expect("end", listed, err, 6); err != nil {
		return err
	}
	listed, err = s.admin.ListMaxTimestampOffsets(ctx, topic)
	return expect("largest timestamp", listed, err, 4)
}

func leaderEpoch(ctx context.Context, s *suite) error {
	topic := s.topic("epochs")
	if err := s.create(ctx, topic, 1, nil); err != nil {
		return err
	}
	defer s.remove(topic)
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	sent := &kgo.Record{Topic: topic, Value: []byte("x")}
	if err := client.ProduceSync(ctx, sent).FirstErr(); err != nil {
		return err
	}
	details, err := s.admin.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	epoch := details[topic].Partitions[0].LeaderEpoch
	var asked kadm.OffsetForLeaderEpochRequest
	asked.Add(topic, 0, epoch)
	answers, err := s.admin.OffetForLeaderEpoch(ctx, asked)
	if err != nil {
		return err
	}
	answer := answers[topic][0]
	if answer.Err != nil || answer.EndOffset != 1 {
		return fmt.Errorf("epoch %d ends at %d (%v), 1 was due", epoch, answer.EndOffset, answer.Err)
	}
	return nil
}

func badTopics(ctx context.Context, s *suite) error {
	value := func(text string) *string { return &text }
	good := s.topic("good")
	if err := s.create(ctx, good, 1, nil); err != nil {
		return err
	}
	defer s.remove(good)
	for _, c := range []struct {
		name    string
		count   int32
		configs map[string]*string
		want    error
	}{
		{"bad name", 1, nil, kerr.InvalidTopicException},
		{"..", 1, nil, kerr.InvalidTopicException},
		{strings.Repeat("x", 250), 1, nil, kerr.InvalidTopicException},
		{s.topic("zero"), 0, nil, kerr.InvalidPartitions},
		{s.topic("minus"), -2, nil, kerr.InvalidPartitions},
		{s.topic("unknown-config"), 1, map[string]*string{"no.such.key": value("1")}, kerr.InvalidConfig},
		{s.topic("bad-config"), 1, map[string]*string{"retention.ms": value("soon")}, kerr.InvalidConfig},
		{s.topic("low-config"), 1, map[string]*string{"segment.bytes": value("1")}, kerr.InvalidConfig},
		{s.topic("bad-policy"), 1, map[string]*string{"cleanup.policy": value("forget")}, kerr.InvalidConfig},
		{good, 1, nil, kerr.TopicAlreadyExists},
	} {
		if err := s.create(ctx, c.name, c.count, c.configs); !errors.Is(err, c.want) {
			s.remove(c.name)
			return fmt.Errorf("%.40q with %d partitions and %d configs: the answer is %v, not %v", c.name, c.count, len(c.configs), err, c.want)
		}
	}
	response, err := s.admin.CreateTopic(ctx, 1, 3, nil, s.topic("replicas"))
	if err == nil {
		err = response.Err
	}
	if !errors.Is(err, kerr.InvalidReplicationFactor) {
		return fmt.Errorf("three replicas on one broker: the answer is %v", err)
	}
	return nil
}

func deleteTopic(ctx context.Context, s *suite) error {
	topic := s.topic("gone")
	if err := s.create(ctx, topic, 3, nil); err != nil {
		return err
	}
	if response, err := s.admin.DeleteTopics(ctx, topic); err != nil || response[topic].Err != nil {
		return fmt.Errorf("deletion: %v %v", err, response[topic].Err)
	}
	response, err := s.admin.DeleteTopics(ctx, topic)
	if err != nil {
		return err
	}
	if got := response[topic].Err; !errors.Is(got, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("the second deletion is answered %v", got)
	}
	// The name is free again, and empty.
	if err := s.create(ctx, topic, 1, nil); err != nil {
		return fmt.Errorf("made anew: %w", err)
	}
	defer s.remove(topic)
	listed, err := s.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if one, _ := listed.Lookup(topic, 0); one.Offset != 0 {
		return fmt.Errorf("made anew it ends at %d", one.Offset)
	}
	return nil
}

func configs(ctx context.Context, s *suite) error {
	topic := s.topic("configs")
	retention := "123456"
	if err := s.create(ctx, topic, 1, map[string]*string{"retention.ms": &retention}); err != nil {
		return err
	}
	defer s.remove(topic)
	described, err := s.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	found := map[string]string{}
	for _, one := range described[0].Configs {
		found[one.Key] = one.MaybeValue() + " " + one.Source.String()
	}
	for key, want := range map[string]string{
		"retention.ms":      "123456 DYNAMIC_TOPIC_CONFIG",
		"cleanup.policy":    "delete DEFAULT_CONFIG",
		"max.message.bytes": "1048588 DEFAULT_CONFIG",
		"segment.bytes":     "1073741824 DEFAULT_CONFIG",
	} {
		if found[key] != want {
			return fmt.Errorf("%s is %q, not %q", key, found[key], want)
		}
	}
	return nil
}

func cluster(ctx context.Context, s *suite) error {
	metadata, err := s.admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	if len(metadata.Brokers) != 1 || metadata.Cluster == "" {
		return fmt.Errorf("%d brokers, cluster id %q", len(metadata.Brokers), metadata.Cluster)
	}
	if metadata.Controller != metadata.Brokers[0].NodeID {
		return fmt.Errorf("controller %d, broker %d", metadata.Controller, metadata.Brokers[0].NodeID)
	}
	return nil
}
