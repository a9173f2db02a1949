package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// What is set for this client, by key.
func (s *suite) quotasOf(ctx context.Context, name string) (map[string]float64, error) {
	filter := []kadm.DescribeClientQuotaComponent{{Type: "client-id", MatchName: &name}}
	described, err := s.admin.DescribeClientQuotas(ctx, true, filter)
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for _, entry := range described {
		for _, value := range entry.Values {
			found[value.Key] = value.Value
		}
	}
	return found, nil
}

func quotas(ctx context.Context, s *suite) error {
	name := s.topic("quota")
	entity := kadm.ClientQuotaEntity{{Type: "client-id", Name: &name}}
	alter := func(ops ...kadm.AlterClientQuotaOp) error {
		altered, err := s.admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: ops}})
		if err != nil {
			return err
		}
		return altered[0].Err
	}
	set := []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1024}, {Key: "request_percentage", Value: 12.5}}
	if err := alter(set...); err != nil {
		return err
	}
	defer alter(kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Remove: true}, kadm.AlterClientQuotaOp{Key: "request_percentage", Remove: true})
	if err := s.eventually(ctx, name, map[string]float64{"producer_byte_rate": 1024, "request_percentage": 12.5}); err != nil {
		return err
	}
	if err := alter(kadm.AlterClientQuotaOp{Key: "no_such_key", Value: 1}); err == nil {
		return fmt.Errorf("an unknown key is taken")
	}
	if err := alter(kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Remove: true}); err != nil {
		return err
	}
	return s.eventually(ctx, name, map[string]float64{"request_percentage": 12.5})
}

// Kafka's broker learns of a change after it was answered.
func (s *suite) eventually(ctx context.Context, name string, wanted map[string]float64) error {
	for {
		found, err := s.quotasOf(ctx, name)
		if err != nil {
			return err
		}
		if fmt.Sprint(found) == fmt.Sprint(wanted) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%v is described, %v was set", found, wanted)
		}
	}
}
