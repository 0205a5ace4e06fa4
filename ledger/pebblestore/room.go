package pebblestore

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// roomFor is how long an answer of Room stands.
const roomFor = time.Second

// room remembers the last look at the disk.
type room struct {
	mu      sync.Mutex
	at      time.Time // guarded by mu
	refusal error     // guarded by mu
	full    bool      // guarded by mu: Pebble met the end of the disk since then
}

// filled says that the disk was full just now.
func (r *room) filled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.full = true
}

// Room says whether there is room for more events and attempts: nil above the low-water mark of free disk space, else a
// *domain.Error of KindNoRoom. Appends themselves are not refused: what is left below the mark is for the outcomes of
// what is under way. It looks at the disk at most once a second, and is safe for concurrent use.
func (s *Store) Room() error {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	now := s.cfg.Now()
	if age := now.Sub(s.room.at); !s.room.full && !s.room.at.IsZero() && age >= 0 && age < roomFor {
		return s.room.refusal
	}
	s.room.at, s.room.full = now, false
	s.room.refusal = s.lookAtDisk()
	return s.room.refusal
}

func (s *Store) lookAtDisk() error {
	usage, err := s.cfg.FS.GetDiskUsage(s.cfg.Dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", domain.Refuse(domain.KindUnavailable, "disk_unknown",
			"the free space of "+s.cfg.Dir+" can't be told", "check the file system that it stands on"), err)
	}
	if usage.AvailBytes >= s.cfg.LowWater {
		return nil
	}
	const mib = 1 << 20
	return domain.Refuse(domain.KindNoRoom, "no_room",
		fmt.Sprintf("%d MiB are free in %s, %d MiB must be", usage.AvailBytes/mib, s.cfg.Dir, s.cfg.LowWater/mib),
		"free some disk space; intake resumes by itself")
}
