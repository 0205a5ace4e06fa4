package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/ledger/pebblestore"
)

// roomEvery is how often the store's room is looked at for the log.
const roomEvery = 5 * time.Second

// watchRoom says in the log when the disk comes to be nearly full or the store to be away, and when it no longer is.
func (s *server) watchRoom(ctx context.Context) error {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	full := false
	for {
		switch err := s.store.Room(); {
		case err != nil && !full:
			full = true
			s.log.Error("no event is taken and no attempt starts", "error", err)
		case err == nil && full:
			full = false
			s.log.Info("there is room again: events are taken, and attempts start")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// spaceOf is what the disk of a store, or of the data directory of one that is elsewhere, has free.
func spaceOf(store nodeStore) (free, low uint64, known bool) {
	d, ok := store.(interface{ Space() pebblestore.Space })
	if !ok {
		return 0, 0, false
	}
	s := d.Space()
	return s.Free, s.LowWater, s.Known
}

// roomMetrics say before somebody posts that nothing would be taken, and how far off that is.
type roomMetrics struct{ store nodeStore }

var (
	descRoom = prometheus.NewDesc("hookledger_ledger_room",
		"1: events are taken and attempts start; 0: they don't, for the disk is nearly full or the ledger away.", nil, nil)
	descFree = prometheus.NewDesc("hookledger_ledger_disk_free_bytes",
		"Free on the disk of the ledger, or of the data directory where the ledger is elsewhere.", nil, nil)
	descLowWater = prometheus.NewDesc("hookledger_ledger_disk_low_water_bytes",
		"What must be free there; below it there is no room.", nil, nil)
)

func (m roomMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- descRoom
	ch <- descFree
	ch <- descLowWater
}

func (m roomMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	room := 1.0
	if m.store.Room() != nil {
		room = 0
	}
	gauge(descRoom, room)
	if free, low, known := spaceOf(m.store); known {
		gauge(descFree, float64(free))
		gauge(descLowWater, float64(low))
	}
}
