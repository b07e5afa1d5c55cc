package watch

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/agent/tree"
)

// The methods that users may ask for, beside those that the platform has.
const (
	Auto = "auto" // the best that works
	None = "none" // audits only
)

// retryEvery is how long a tree that cannot be watched waits for the next try.
const retryEvery = time.Minute

// candidate is a way to watch.
type candidate struct {
	name string
	open func(root string) (Notifier, error)
}

// KnownMethod reports whether users may ask for a method on this platform.
func KnownMethod(method string) bool {
	if method == Auto || method == None || method == "" {
		return true
	}
	return len(candidates(method)) > 0
}

// candidates are those that a method allows, the best first.
func candidates(method string) []candidate {
	if method == Auto || method == "" {
		return platform
	}
	for _, c := range platform {
		if c.name == method {
			return []candidate{c}
		}
	}
	return nil
}

// chooser is the best notifier that works. While none does, nothing is watched, and it tries again now and then.
type chooser struct {
	root   string
	from   []candidate
	every  time.Duration
	logger *slog.Logger
	ended  chan struct{}
	finish sync.Once

	mu     sync.Mutex
	inner  Notifier // nil: none works
	reason string   // why no better one works
	closed bool
}

// choose takes the best that works.
func choose(root, method string, every time.Duration, logger *slog.Logger) *chooser {
	if every <= 0 {
		every = retryEvery
	}
	c := &chooser{root: root, from: candidates(method), every: every, logger: logger, ended: make(chan struct{})}
	switch {
	case method == None:
		c.reason = "asked for"
		logger.Info("watching is off, as configured; only audits find changes", "method", None)
	case !c.try():
		logger.Warn("the tree cannot be watched; until that works, only audits find changes", "reason", c.reason, "again_in", every)
	}
	return c
}

// try takes the first that works, and reports whether one does.
func (c *chooser) try() bool {
	var reasons []string
	for _, candidate := range c.from {
		n, err := candidate.open(c.root)
		if err != nil {
			reasons = append(reasons, reasonOf(err))
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed || c.over() {
			n.Close()
			return false
		}
		c.inner, c.reason = n, strings.Join(reasons, "; ")
		attributes := []any{"method", candidate.name}
		if c.reason != "" {
			attributes = append(attributes, "reason", c.reason)
		}
		c.logger.Info("watching", attributes...)
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason = strings.Join(reasons, "; ")
	return false
}

// again chooses anew: the root may be on another file system than before. Whatever was watched is watched no more.
func (c *chooser) again() {
	if before := c.now(); before != nil && c.try() {
		before.Close()
	}
}

// over reports whether Finish was called.
func (c *chooser) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// reasonOf is what keeps a method from working, without what it means to this package.
func reasonOf(err error) string {
	text := err.Error()
	for _, sentinel := range []error{ErrRefused, ErrLimit} {
		text = strings.TrimPrefix(text, sentinel.Error()+": ")
	}
	return text
}

func (c *chooser) now() Notifier {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inner
}

// Method implements Notifier.
func (c *chooser) Method() (method, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		return None, c.reason
	}
	method, _ = c.inner.Method()
	return method, c.reason
}

// Read implements Notifier. Once watching works it says OpReady.
func (c *chooser) Read() ([]Notice, error) {
	n := c.now()
	for n != nil {
		notices, err := n.Read()
		now := c.now()
		if now == n {
			return notices, err
		}
		n = now // its numbers mean other directories
	}
	return c.await()
}

// await tries again and again, until something works.
func (c *chooser) await() ([]Notice, error) {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		var again <-chan time.Time
		if len(c.from) > 0 {
			again = tick.C
		}
		select {
		case <-c.ended:
			return nil, ErrFinished
		case <-again:
		}
		if !c.try() {
			continue
		}
		return []Notice{{Watch: NoWatch, Op: OpReady}}, nil
	}
}

// Finish implements Notifier.
func (c *chooser) Finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish.Do(func() { close(c.ended) })
	if c.inner != nil {
		c.inner.Finish()
	}
}

// Close implements Notifier.
func (c *chooser) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.inner != nil {
		c.inner.Close()
	}
}

// Add implements Notifier.
func (c *chooser) Add(root string, d tree.Dir, path string) (WatchID, error) {
	for {
		n := c.now()
		if n == nil {
			return NoWatch, ErrRefused
		}
		if id, err := n.Add(root, d, path); c.now() == n {
			return id, err
		}
	}
}

// Remove implements Notifier.
func (c *chooser) Remove(id WatchID) {
	if n := c.now(); n != nil {
		n.Remove(id)
	}
}

// Closes implements Notifier.
func (c *chooser) Closes() bool {
	n := c.now()
	return n != nil && n.Closes()
}

// Quota implements quotaNotifier.
func (c *chooser) Quota(wanted int) int {
	if r, ok := c.now().(quotaNotifier); ok {
		return r.Quota(wanted)
	}
	return 0
}

// NewNotifier is the notifier of a method for the directory root. Auto is the best that works. Where a named method does not
// work it is tried again every so often; 0: each minute.
func NewNotifier(root, method string, every time.Duration, logger *slog.Logger) Notifier {
	return choose(root, method, every, logger)
}
