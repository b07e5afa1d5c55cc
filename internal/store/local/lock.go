package local

import (
	"context"
	"fmt"
	"hash/fnv"
	"path/filepath"

	"github.com/fustor/fustor/internal/store/flock"
)

// shardCount is how many locks the keys share.
const shardCount = 64

// lock excludes every other Put, Replace and Delete of key, in this process and in others, until unlock is called or
// the process dies.
func (s *Store) lock(ctx context.Context, key string) (unlock func(), err error) {
	h := fnv.New32a()
	h.Write([]byte(key))
	shard := h.Sum32() % shardCount
	token := s.shards[shard] // so that one goroutine of this process waits for the file, not a thread for each
	select {
	case token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release, err := flock.Lock(ctx, filepath.Join(s.lockDir(), fmt.Sprintf("%02x", shard)))
	if err != nil {
		<-token
		if absent(err) {
			err = s.missingReserved(err)
		}
		return nil, err
	}
	return func() { release(); <-token }, nil
}
