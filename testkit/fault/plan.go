package fault

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Rates say how often (0 to 1) which fault befalls a request. At most one of the errors befalls a request.
type Rates struct {
	Lost     float64       // the request is lost in the network
	LostBack float64       // the answer is lost in the network; the request was done
	Error    float64       // 500 or 503, the request not done
	Conflict float64       // 409, the request not done; writes only
	Delay    time.Duration // every request is late by this ...
	Jitter   time.Duration // ... plus up to this
	Short    float64       // a List has fewer items than it could, and says so
}

// Seeded is a plan in which chance decides, the same at every run with that seed: the fate of a call depends on
// the seed and the Call alone.
func Seeded(seed uint64, r Rates) Plan {
	return func(c Call) Fault {
		random := rand.New(rand.NewPCG(seed, hash(c)))
		f := Fault{Delay: r.Delay}
		if r.Jitter > 0 {
			f.Delay += time.Duration(random.Int64N(int64(r.Jitter)))
		}
		draw := random.Float64()
		happens := func(rate float64) bool { draw -= rate; return draw < 0 } // asked until it once says yes
		switch {
		case happens(r.Lost):
			f.Lost = ErrNetwork
		case happens(r.LostBack):
			f.LostBack = ErrNetwork
		case happens(r.Error):
			f.Lost = Status(c.Op, []int{500, 503}[random.IntN(2)])
		case c.Op.Writes() && c.Op != Delete && happens(r.Conflict):
			f.Lost = Status(c.Op, 409)
		}
		if c.Op == List && random.Float64() < r.Short {
			f.Short = 1 + random.IntN(3)
		}
		return f
	}
}

func hash(c Call) uint64 {
	h := fnv.New64a()
	h.Write([]byte(c.Op))
	h.Write([]byte{0})
	h.Write([]byte(c.Key))
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(c.N))
	h.Write(n[:])
	return h.Sum64()
}

// First is a plan that does f to the first n calls that match, by operation and key; the rest goes through.
func First(n int, op Op, key string, f Fault) Plan {
	return func(c Call) Fault {
		if c.Op == op && c.Key == key && c.N < n {
			return f
		}
		return Fault{}
	}
}
