package vault

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

func TestSemantics_CheckRefusesAWrongMasterKeyAndTouchesNothing(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	if there, err := Exists("/none", mem); err != nil || there {
		t.Errorf("a vault that was never made: %v, %v", there, err)
	}
	if err := Check("/none", mem, master); err != nil {
		t.Errorf("no vault: %v", err)
	}
	if _, err := mem.Stat("/none"); err == nil {
		t.Error("a check has made the directory")
	}
	open(t, mem) // and held meanwhile
	if there, err := Exists("/data/vault", mem); err != nil || !there {
		t.Errorf("the vault is not seen: %v, %v", there, err)
	}
	for want, key := range map[string]domain.Secret{
		"": master, "wrong_master_key": other, "invalid_master_key": domain.NewSecret("short"),
	} {
		if err := Check("/data/vault", mem, key); domain.Code(err) != want || (err != nil) != (want != "") {
			t.Errorf("%v, want code %q", err, want)
		}
	}
}
