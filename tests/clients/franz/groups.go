package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (s *suite) filled(ctx context.Context, topic string, count int) error {
	if err := s.create(ctx, topic, partitions, nil); err != nil {
		return err
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, records(topic, count)...).FirstErr()
}

func (s *suite) member(group, topic string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
}

// Two members read; one of them leaves without a commit of the rest; the other reads all that is left.
func group(ctx context.Context, s *suite) error {
	topic, name := s.topic("group"), s.topic("members")
	defer s.remove(topic)
	if err := s.filled(ctx, topic, 1000); err != nil {
		return err
	}
	one, err := s.member(name, topic)
	if err != nil {
		return err
	}
	defer one.Close()
	two, err := s.member(name, topic)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	note := func(fetches kgo.Fetches) {
		fetches.EachRecord(func(r *kgo.Record) { seen[fmt.Sprint(r.Partition, r.Offset)] = true })
	}
	poll := func(client *kgo.Client) error {
		wait, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		note(client.PollFetches(wait))
		return client.CommitUncommittedOffsets(ctx)
	}
	for i := 0; i < 8; i++ {
		if err := poll(one); err != nil {
			return err
		}
		if err := poll(two); err != nil {
			return err
		}
	}
	two.Close()
	for len(seen) < 1000 {
		if err := poll(one); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of 1000 records were read", len(seen))
		}
	}
	offsets, err := s.admin.FetchOffsets(ctx, name)
	if err != nil {
		return err
	}
	var sum int64
	offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
	if sum != 1000 {
		return fmt.Errorf("1000 records are read and %d committed", sum)
	}
	return nil
}

func groupAdmin(ctx context.Context, s *suite) error {
	topic, name := s.topic("group-admin"), s.topic("administered")
	defer s.remove(topic)
	if err := s.filled(ctx, topic, 100); err != nil {
		return err
	}
	client, err := s.member(name, topic)
	if err != nil {
		return err
	}
	client.PollFetches(ctx)
	described, err := s.admin.DescribeGroups(ctx, name)
	if err != nil {
		return err
	}
	if state, count := described[name].State, len(described[name].Members); state != "Stable" || count != 1 {
		return fmt.Errorf("the group is %s with %d members", state, count)
	}
	client.Close()
	var wanted kadm.Offsets
	wanted.AddOffset(topic, 0, 7, -1)
	wanted.AddOffset(topic, 1, 8, -1)
	if err := s.admin.CommitAllOffsets(ctx, name, wanted); err != nil {
		return err
	}
	lags, err := s.admin.Lag(ctx, name)
	if err != nil {
		return err
	}
	if lag := lags[name].Lag[topic][0].Lag; lag != 25-7 {
		return fmt.Errorf("partition 0 lags by %d", lag)
	}
	if deleted, err := s.admin.DeleteOffsets(ctx, name, wanted.TopicsSet()); err != nil || deleted.Error() != nil {
		return fmt.Errorf("offsets are not deleted: %v, %v", err, deleted.Error())
	}
	deleted, err := s.admin.DeleteGroups(ctx, name)
	if err != nil {
		return err
	}
	return deleted.Error()
}
