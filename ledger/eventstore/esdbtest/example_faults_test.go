package esdbtest_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

// The next append is committed, and its answer is lost. Whoever repeats it with the same id and the same expected
// revision gets the answer.
func ExampleWithFaults() {
	faults := esdbtest.NewFaults(1)
	cluster, err := esdbtest.NewCluster(3, esdbtest.WithFaults(faults))
	if err != nil {
		slog.Error("start", "err", err)
		return
	}
	defer cluster.Close()
	config, err := esdb.ParseConnectionString(cluster.ConnectionString())
	if err != nil {
		slog.Error("configure", "err", err)
		return
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		slog.Error("connect", "err", err)
		return
	}
	defer client.Close()

	faults.Set(esdbtest.CommitThenCancel, esdbtest.Next(1))
	once := esdb.EventData{EventID: uuid.New(), EventType: "OrderPlaced"}
	for range 2 {
		_, err := client.AppendToStream(context.Background(), "order-7",
			esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, once)
		fmt.Println("known to be written:", err == nil)
	}
	fmt.Println(faults)
	// Output:
	// known to be written: false
	// known to be written: true
	// commit-then-cancel 1 of 2
}
