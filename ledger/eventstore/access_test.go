package eventstore_test

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/domain"
	"hookledger/ledger/eventstore"
	"hookledger/ledger/eventstore/esdbtest"
)

// TestAUserWhoMayReadAllIsEnough is what docs/eventstoredb.md says about permissions: a user of no group is refused,
// and works once $all may be read by it.
func TestAUserWhoMayReadAllIsEnough(t *testing.T) {
	t.Parallel()
	ca, err := esdbtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.Write(dir); err != nil {
		t.Fatal(err)
	}
	node := esdbtest.Start(t, esdbtest.WithTLS(ca), esdbtest.WithUser("admin", "canary-a", "$admins"),
		esdbtest.WithUser("hookledger", "canary-b"))
	at := node.Address() + "?tlsCaFile=" + dir + "/ca.crt"
	if _, err := eventstore.Open(t.Context(), eventstore.Config{
		ConnectionString: "esdb://hookledger:canary-b@" + at}); domain.Code(err) != "eventstore_permission" {
		t.Fatalf("without a permission: %v", err)
	}
	conf, err := esdb.ParseConnectionString("esdb://admin:canary-a@" + at)
	if err != nil {
		t.Fatal(err)
	}
	conf.Logger = esdb.NoopLogging()
	admin, err := esdb.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	access := esdb.Acl{}
	access.AddReadRoles("$admins", "hookledger")
	meta := esdb.StreamMetadata{}
	meta.SetAcl(access)
	if _, err := admin.SetStreamMetadata(t.Context(), "$all", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}},
		meta); err != nil {
		t.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	foundLedger(t, "esdb://hookledger:canary-b@"+at)
	if err := surveyAfter(t, "esdb://hookledger:canary-b@"+at); err != nil {
		t.Error(err)
	}
}
