package client

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Cost is what calls took on the server: docs/api.md, "Cost". Several calls of a Client are added up.
type Cost struct {
	Calls         int64   `json:"calls"`
	Gets          int64   `json:"gets"`
	Bytes         int64   `json:"bytes"`
	Rows          int64   `json:"rows"`
	GroupsRead    int64   `json:"groups_read"`
	GroupsSkipped int64   `json:"groups_skipped"`
	CacheHits     int64   `json:"cache_hits"`
	Milliseconds  float64 `json:"milliseconds"`
	Version       uint64  `json:"version"` // of the last call that had one
}

// costs adds up.
type costs struct {
	mu  sync.Mutex
	sum Cost
}

func (s *costs) add(c Cost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Calls++
	s.sum.Gets += c.Gets
	s.sum.Bytes += c.Bytes
	s.sum.Rows += c.Rows
	s.sum.GroupsRead += c.GroupsRead
	s.sum.GroupsSkipped += c.GroupsSkipped
	s.sum.CacheHits += c.CacheHits
	s.sum.Milliseconds += c.Milliseconds
	if c.Version > 0 {
		s.sum.Version = c.Version
	}
}

// Cost is what the calls so far took, those that Options.Explain was for and that are through.
func (c *Client) Cost() Cost {
	c.costs.mu.Lock()
	defer c.costs.mu.Unlock()
	return c.costs.sum
}

// costOfHeader reads Fustor-Cost, which is whole where the answer was made before it was sent.
func costOfHeader(h http.Header) (c Cost, ok bool) {
	fields := map[string]*int64{"gets": &c.Gets, "bytes": &c.Bytes, "rows": &c.Rows, "groups_read": &c.GroupsRead,
		"groups_skipped": &c.GroupsSkipped, "cache_hits": &c.CacheHits}
	for part := range strings.SplitSeq(h.Get("Fustor-Cost"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if to := fields[name]; to != nil {
			*to, _ = strconv.ParseInt(value, 10, 64)
			ok = true
		} else if name == "ms" {
			c.Milliseconds, _ = strconv.ParseFloat(value, 64)
		}
	}
	c.Version, _ = strconv.ParseUint(h.Get("Fustor-Version"), 10, 64)
	return c, ok
}

// costOfLine reads the last line of a stream that explains itself.
func costOfLine(line []byte) (c Cost, ok bool) {
	if !bytes.HasPrefix(line, []byte(`{"explain":`)) {
		return c, false
	}
	var last struct{ Explain Cost }
	if json.Unmarshal(line, &last) != nil {
		return c, false
	}
	return last.Explain, true
}
