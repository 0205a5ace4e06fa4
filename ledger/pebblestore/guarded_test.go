package pebblestore

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestMarkerNeverStandsWithoutItsManifest writes a manifest and then the marker that names it, as Pebble does, loses
// power before the sync that Pebble does for both, and looks at many of the states that can leave.
func TestMarkerNeverStandsWithoutItsManifest(t *testing.T) {
	t.Parallel()
	const manifest, marker, losses = "MANIFEST-000001", "marker.manifest.000001.MANIFEST-000001", 64
	mem := vfs.NewCrashableMem()
	fs := guarded{FS: mem, hang: func(err error) { panic(err) }}
	for _, name := range []string{manifest, marker} {
		f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for seed := range uint64(losses) {
		left := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 1))})
		if _, err := left.Stat(marker); err != nil {
			continue
		}
		kept++
		if _, err := left.Stat(manifest); err != nil {
			t.Errorf("loss of power %d keeps the marker and not its manifest: %v", seed, err)
		}
	}
	if kept == 0 || kept == losses {
		t.Fatalf("%d of %d losses of power keep the marker: the test says nothing", kept, losses)
	}
}
