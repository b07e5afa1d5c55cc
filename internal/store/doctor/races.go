package doctor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/fustor/fustor/internal/store"
)

// How much racing there is: enough for servers that only look first and write then, few enough for a store far away.
const (
	racers       = 32
	raceRounds   = 4
	counterEnd   = 60
	overwrites   = 60
	overReaders  = 8
	conflictTrys = 200
)

func createRace(ctx context.Context, p *probe) (string, error) {
	for round := range raceRounds {
		key := p.key(fmt.Sprintf("race-%d", round))
		var winners, winner atomic.Int64
		err := parallel(racers, func(i int) error {
			err := retryConflict(func() error { _, err := p.store.Create(ctx, key, fmt.Append(nil, i)); return err })
			if err == nil {
				winners.Add(1)
				winner.Store(int64(i))
			}
			if errors.Is(err, store.ErrExists) {
				err = nil
			}
			return err
		})
		if err != nil {
			return "", err
		}
		if n := winners.Load(); n != 1 {
			return "", fmt.Errorf("%d of %d creates of one object at once succeeded", n, racers)
		}
		object, err := p.store.Get(ctx, key)
		if err != nil {
			return "", err
		}
		if string(object.Body) != fmt.Sprint(winner.Load()) {
			return "", errors.New("the object is not the winner's")
		}
	}
	return fmt.Sprintf("%d races of %d", raceRounds, racers), nil
}

func retryConflict(do func() error) error {
	var err error
	for range conflictTrys {
		if err = do(); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return err
}

func replaceRace(ctx context.Context, p *probe) (string, error) {
	key := p.key("counter")
	if _, err := p.store.Create(ctx, key, []byte("0 start")); err != nil {
		return "", err
	}
	var acknowledged atomic.Int64
	err := parallel(racers, func(i int) error {
		for {
			object, err := p.store.Get(ctx, key)
			if err != nil {
				return err
			}
			n := number(object.Body)
			if n >= counterEnd {
				return nil
			}
			_, err = p.store.Replace(ctx, key, fmt.Appendf(nil, "%d by %d", n+1, i), object.ETag)
			switch {
			case err == nil:
				acknowledged.Add(1)
			case !errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrConflict):
				return err
			}
		}
	})
	if err != nil {
		return "", err
	}
	if n := acknowledged.Load(); n != counterEnd {
		return "", fmt.Errorf("%d of %d acknowledged updates were lost", n-counterEnd, n)
	}
	return fmt.Sprintf("%d updates by %d writers", counterEnd, racers), nil
}

func number(body []byte) int {
	var n int
	_, _ = fmt.Sscan(string(body), &n) // nothing but this probe writes there
	return n
}

// oneVersion overwrites an object, its length changing, while it is read.
func oneVersion(ctx context.Context, p *probe) (string, error) {
	key := p.key("overwritten")
	var etags sync.Map // sum of body → ETag
	write := func(v int, etag string) (string, error) {
		body := make([]byte, 100+v%5*2000)
		copy(body, strconv.Itoa(v))
		meta, err := store.Swap(ctx, p.store, key, body, etag)
		etags.Store(sha256.Sum256(body), meta.ETag)
		return meta.ETag, err
	}
	etag, err := write(0, "")
	if err != nil {
		return "", err
	}
	type reading struct {
		sum  [sha256.Size]byte
		etag string
	}
	var mu sync.Mutex
	var readings []reading
	done := make(chan struct{})
	err = parallel(1+overReaders, func(i int) error {
		if i == 0 {
			defer close(done)
			for v := 1; v <= overwrites; v++ {
				if etag, err = write(v, etag); err != nil {
					return err
				}
			}
			return nil
		}
		for {
			object, err := p.store.Get(ctx, key)
			if err != nil {
				return err
			}
			mu.Lock()
			readings = append(readings, reading{sha256.Sum256(object.Body), object.ETag})
			mu.Unlock()
			select {
			case <-done:
				return nil
			default:
			}
		}
	})
	if err != nil {
		return "", err
	}
	for _, r := range readings {
		if etag, known := etags.Load(r.sum); !known || etag != r.etag {
			return "", errors.New("a reader got a body with the ETag of another version, or part of one")
		}
	}
	return fmt.Sprintf("%d readings", len(readings)), nil
}
