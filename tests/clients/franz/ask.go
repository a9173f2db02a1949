package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// One request, whose fields are given as JSON by franz-go's names: sent in the version that the client chooses, to the
// broker that it chooses; the answer is printed as JSON.
func ask(bootstrap string, name string, body string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RequestRetries(2), kgo.RetryTimeout(5*time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		if kmsg.NameForKey(key) != name {
			continue
		}
		request := kmsg.RequestForKey(key)
		if err := json.Unmarshal([]byte(body), request); err != nil {
			return err
		}
		response, err := client.Request(ctx, request)
		if err != nil {
			return err
		}
		printed, err := json.Marshal(response)
		if err != nil {
			return err
		}
		fmt.Println(string(printed))
		return nil
	}
	return fmt.Errorf("no API is named %s", name)
}
