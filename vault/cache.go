package vault

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const cacheShards = 16

// cache is a bounded LRU, split so that its locks are rarely waited for.
type cache[K comparable, V any] struct {
	seed   maphash.Seed
	shards [cacheShards]struct {
		mu  sync.Mutex
		lru *simplelru.LRU[K, V]
	}
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	c := &cache[K, V]{seed: maphash.MakeSeed()}
	for i := range c.shards {
		// The only error is a size below 1.
		c.shards[i].lru, _ = simplelru.NewLRU[K, V](max(size/cacheShards, 1), nil)
	}
	return c
}

func (c *cache[K, V]) get(k K) (V, bool) {
	s := &c.shards[maphash.Comparable(c.seed, k)%cacheShards]
	s.mu.Lock()
	v, ok := s.lru.Get(k)
	s.mu.Unlock()
	return v, ok
}

// add keeps the entry if still says so, which is asked under the lock that remove and purge take.
func (c *cache[K, V]) add(k K, v V, still func() bool) {
	s := &c.shards[maphash.Comparable(c.seed, k)%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if still() {
		s.lru.Add(k, v)
	}
}

func (c *cache[K, V]) remove(k K) {
	s := &c.shards[maphash.Comparable(c.seed, k)%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(k)
}

func (c *cache[K, V]) purge() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.lru.Purge()
		s.mu.Unlock()
	}
}
