package agent

import (
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// maxHotFiles bounds the files that a leader looks at again. Beyond it, the next audit does.
const maxHotFiles = 10_000

// hotFiles are the files that this leader's scans have shown as just changed, so that views have them as suspect. Each is looked at
// again before its suspicion ends: otherwise a file that is written to by a host without an agent would seem finished while it grows.
type hotFiles struct {
	hot func() time.Duration // of the view; 0: not known

	mu    sync.Mutex
	files map[string]hotFile
}

type hotFile struct {
	size, mtimeNs int64
	due           int64 // when to look again, ns, the store's time
}

// within is how long after a change a file is hot.
func (h *hotFiles) within() time.Duration {
	if hot := h.hot(); hot > 0 {
		return hot
	}
	return time.Minute
}

// note takes in what a scan or a look has shown at a time. skew is the store's time minus the file server's.
func (h *hotFiles) note(path string, e *event.Entry, at, skew int64) {
	hot := int64(h.within())
	until := min(e.MtimeNs+skew, at) + hot // as evidence has it
	if e.Type != event.File || until <= at {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files == nil {
		h.files = map[string]hotFile{}
	}
	if _, known := h.files[path]; known || len(h.files) < maxHotFiles {
		h.files[strings.Clone(path)] = hotFile{e.Size, e.MtimeNs, until - hot/6}
	}
}

// noteListing takes in what a scan has listed.
func (h *hotFiles) noteListing(ev *event.Event, skew int64) {
	since := ev.ObservedAt - skew - int64(h.within())
	for i := range ev.Entries {
		if e := &ev.Entries[i]; e.Type == event.File && e.MtimeNs > since {
			h.note(event.Join(ev.Path, e.Name), e, ev.ObservedAt, skew)
		}
	}
}

// take takes out the files that are due at a time.
func (h *hotFiles) take(now int64) (due map[string]hotFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for path, f := range h.files {
		if f.due > now {
			continue
		}
		if due == nil {
			due = map[string]hotFile{}
		}
		due[path] = f
		delete(h.files, path)
	}
	return due
}

func (h *hotFiles) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files = nil
}
