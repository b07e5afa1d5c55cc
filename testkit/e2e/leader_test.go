//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/s3test"
)

// leaseTime is how long a lease lasts in these tests: not longer than it must, as some wait until it has run out, and not so
// short that it is lost because the tests that run beside leave too little of the machine.
var leaseTime = func() time.Duration {
	if raceDetector && os.Getenv("FUSTOR_E2E_RACE") != "" {
		return patience(3 * time.Second)
	}
	return 6 * time.Second
}()

func TestFollowerTakesOver(t *testing.T) {
	t.Parallel()
	url := fileStore(t)
	setSessionTimeout(t, url, leaseTime)
	p := startParts(t, url)
	dir := inMemory(t)
	work(t, dir, 30, operationsOf(2_000), nil)

	first := p.startAgent(dir, "first", "")
	led := p.awaitRole("first", "leader", 1, patience(10*time.Second))
	p.startAgent(dir, "second", "")
	p.awaitRole("second", "follower", 0, patience(10*time.Second))
	p.equal(t, dir, time.Now(), patience(10*time.Second))

	worked := make(chan struct{})
	w := newWorkload(t, filepath.Join(dir, "meanwhile"), 31)
	go func() {
		defer close(worked)
		w.run(operationsOf(2_000))
	}()
	first.Kill()
	began := time.Now()
	now := p.awaitRole("second", "leader", *led.Term+1, patience(3*leaseTime))
	t.Logf("taken over after %v", time.Since(began).Round(time.Millisecond))
	if now.ID == led.ID {
		t.Errorf("leader before and after is session %s", led.ID)
	}
	<-worked
	p.equal(t, dir, time.Now(), patience(10*time.Second))

	// The first comes back and finds that it is not asked to lead.
	first.Restart()
	p.awaitRole("first", "follower", 0, patience(10*time.Second))
	p.awaitRole("second", "leader", *led.Term+1, patience(time.Second))
	work(t, dir, 32, operationsOf(1_000), nil)
	p.equal(t, dir, time.Now(), patience(10*time.Second))
}

// TestStoppedLeaderIsFenced freezes a leader in the middle of its snapshot, with listings on their way, until another
// leads. The tree loses files meanwhile that the second leader's view has never heard of, and the directory's mtime is
// put back, so that nothing but their time keeps the late listings from bringing those files into the view, and nothing but
// the term one that does not say until when its maker led.
func TestStoppedLeaderIsFenced(t *testing.T) { // not beside others: its scan must be through before the second segment is sealed
	minio := s3test.MinIO(t)
	direct := minio.URL("minio", "fenced")
	setSessionTimeout(t, direct, leaseTime)
	dir := inMemory(t)
	doomed := largeTree(t, dir)

	late := newLateStore(t, minio.Endpoint())
	p := startParts(t, direct)
	first := p.startAgent(dir, "first", late.over(direct))
	old := p.awaitRole("first", "leader", 1, patience(30*time.Second)) // it probes the store first
	held := late.awaitHeld(t, patience(20*time.Second))
	first.Pause()

	removeUnnoticed(t, doomed)
	p.startAgent(dir, "second", direct)
	p.awaitRole("second", "leader", 2, patience(4*leaseTime))
	p.equal(t, dir, time.Now(), patience(20*time.Second))
	late.release()
	first.Resume()
	p.listsAll(old.ID, doomed, dir)
	fenced := p.foldedTo(old.ID, 2).Counted.Fenced // what it saw while it led is evidence, of its time
	p.equal(t, dir, time.Now(), patience(10*time.Second))
	p.speakAs(old, doomed, dir) // without a word on its lease
	if n := p.foldedTo(old.ID, 3).Counted.Fenced; n != fenced+1 {
		t.Errorf("%d listings were fenced, and %d before one more came", n, fenced)
	}
	again := p.awaitRole("first", "follower", 0, patience(10*time.Second))
	if again.ID == old.ID {
		t.Errorf("the session %s that had timed out lives again", old.ID)
	}
	p.equal(t, dir, time.Now(), patience(10*time.Second))
	p.awaitRole("second", "leader", 2, 0)
	work(t, dir, 40, operationsOf(1_000), nil)
	p.equal(t, dir, time.Now(), patience(10*time.Second))
	t.Logf("%s was held; %d listings were fenced", held, p.head().Counted.Fenced)
}

// largeTree makes a tree with a directory of files that will be removed, and returns that directory.
func largeTree(t testing.TB, dir string) string {
	t.Helper()
	for i := range 300 {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 30 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("f", j)), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "d150")
}

// removeUnnoticed empties a directory whose mtime stays what it was.
func removeUnnoticed(t testing.TB, dir string) {
	t.Helper()
	info, err := os.Lstat(dir)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(dir, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// listsAll waits until a session's segments in the store have a listing of the directory with all its files: the
// listing that must have no effect did come.
func (p *parts) listsAll(session, gone, root string) {
	p.t.Helper()
	path := strings.TrimPrefix(gone, root)
	eventually(p.t, patience(10*time.Second), "the late listing is in the store", func() bool {
		for _, key := range p.segments() {
			if !strings.Contains(key, session) {
				continue
			}
			for _, e := range p.events(key) {
				if e.Kind == event.Listing && e.Path == path && len(e.Entries) == 30 {
					return true
				}
			}
		}
		return false
	})
}

// foldedTo waits until a session is folded up to the segment next, and returns the version in which it is.
func (p *parts) foldedTo(session string, next uint64) (head *manifest.Manifest) {
	p.t.Helper()
	eventually(p.t, patience(10*time.Second), fmt.Sprintf("session %s is folded up to segment %d", session, next), func() bool {
		head = p.head()
		progress, known := head.Sessions[session]
		return !known || progress.Next >= next // one that is folded to its end may have dropped out
	})
	return head
}

// speakAs writes the third segment of a session whose time is over, as if its agent had looked at a directory just now,
// seen a file that nobody else sees, and not noticed that another leads. Only its term tells.
func (p *parts) speakAs(s session, dir, root string) {
	p.t.Helper()
	own := onDisk(p.t, dir)["/"]
	var body bytes.Buffer
	now := time.Now().UnixNano()
	w, err := event.NewWriter(&body, event.Header{
		View: viewID, Session: s.ID, Agent: s.Agent, Source: s.Source, Seq: 2, Term: *s.Term, CreatedAt: now, Nonce: "forged", Local: true})
	if err == nil {
		err = w.Add(&event.Event{
			Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: now, Path: strings.TrimPrefix(dir, root),
			Entry:   event.Entry{Name: filepath.Base(dir), Type: event.Directory, Mode: own.mode, Size: own.size, MtimeNs: own.mtimeNs},
			Entries: []event.Entry{{Name: "ghost", Type: event.File, Mode: 0o644, Size: 1, MtimeNs: now}},
		})
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		_, err = p.objects().Create(p.t.Context(), layout.Segment(viewID, s.ID, 2), body.Bytes())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// lateStore stands before an S3 server and holds back segments, all but each session's first, as a network would that
// delivers late: whoever sent them may be gone or frozen when they arrive.
type lateStore struct {
	*httptest.Server
	forward *httputil.ReverseProxy
	release func()

	mu       sync.Mutex
	released chan struct{}
	held     []string
}

func newLateStore(t testing.TB, server string) *lateStore {
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l := &lateStore{}
	l.hold()
	l.forward = &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	l.Server = httptest.NewServer(l)
	t.Cleanup(func() {
		l.release()
		l.CloseClientConnections()
		l.Close()
	})
	return l
}

// hold holds segments back from now on, as a new one does from the start.
func (l *lateStore) hold() {
	released := make(chan struct{})
	l.release = sync.OnceFunc(func() { close(released) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released, l.held = released, nil
}

// over is a minio:// store URL that goes through here.
func (l *lateStore) over(storeURL string) string { return storeAt(storeURL, l.Listener.Addr()) }

// storeAt is a minio:// store URL by way of another address.
func storeAt(storeURL string, address net.Addr) string {
	u, err := url.Parse(storeURL)
	if err != nil {
		panic(err)
	}
	u.Host = address.String()
	return u.String()
}

// awaitHeld waits until something is held back, and returns the first of it.
func (l *lateStore) awaitHeld(t testing.TB, within time.Duration) (path string) {
	t.Helper()
	eventually(t, within, "a segment is held back", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.held) > 0 {
			path = l.held[0]
		}
		return path != ""
	})
	return path
}

func (l *lateStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/segments/") || strings.HasSuffix(r.URL.Path, "/00000000000000000000.zst") {
		l.forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	l.mu.Lock()
	l.held = append(l.held, r.URL.Path)
	released := l.released
	l.mu.Unlock()
	<-released
	// The sender may have given up since; what it sent is under way all the same.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	l.forward.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
}
