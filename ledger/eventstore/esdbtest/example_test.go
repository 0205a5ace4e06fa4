package esdbtest_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

// In a test it is shorter: node := esdbtest.Start(t).
func Example() {
	node, err := esdbtest.New()
	if err != nil {
		slog.Error("start", "err", err)
		return
	}
	defer node.Close()
	config, err := esdb.ParseConnectionString(node.ConnectionString())
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

	once := esdb.EventData{EventID: uuid.New(), EventType: "OrderPlaced", ContentType: esdb.ContentTypeJson,
		Data: []byte(`{"order":7}`)}
	for range 2 { // the second time it is known by its id
		w, err := client.AppendToStream(context.Background(), "order-7",
			esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, once)
		if err != nil {
			slog.Error("append", "err", err)
			return
		}
		fmt.Println("revision", w.NextExpectedVersion)
	}
	// Output:
	// revision 0
	// revision 0
}
