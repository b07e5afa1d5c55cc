//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	random "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/leasemodel"
	"github.com/fustor/fustor/testkit/s3test"
)

var historiesFor = flag.Duration("histories", 0, "how long TestHistories goes on with each store; not run if 0")

// TestHistories has two of each server work on a real store. They are killed, frozen and cut off from the store; the store is killed, frozen,
// and its disk full. What clients are told meanwhile is held against what may be: the histories of leases by porcupine, and what is told of one
// file, which one session writes and all queries read, by what a version is.
func TestHistories(t *testing.T) {
	if *historiesFor == 0 {
		t.Skip("takes as long as one gives it: make histories runs it")
	}
	for name, server := range map[string]func(testing.TB) *s3test.Server{"minio": s3test.MinIO, "versitygw": s3test.Versitygw} {
		disk := t.TempDir()
		t.Run(name, func(t *testing.T) {
			if err := syscall.Mount("none", disk, "tmpfs", 0, "size=1g"); err != nil {
				t.Fatalf("needs the right to mount a small disk: %v", err)
			}
			defer func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) }()
			t.Setenv("TMPDIR", disk)
			newHistories(t, server(t), disk).run(*historiesFor)
		})
	}
}

// histories is what clients of all servers are told.
type histories struct {
	*parts
	server         *s3test.Server
	disk           string // of the store
	ingests        []string
	queries        []string
	processes      []*process
	cables         []*cable
	faults         *tally
	leases, leader atomic.Int64 // answers, and those that say to lead
	unknown        atomic.Int64
	undecided      atomic.Int64 // histories that porcupine could not decide in time
}

func newHistories(t *testing.T, server *s3test.Server, disk string) *histories {
	h := &histories{server: server, disk: disk, faults: &tally{of: map[string]int{}}}
	h.parts = &parts{t: t, store: server.URL("minio", "histories"), env: []string{"FUSTOR_API_KEY=" + apiKey}}
	for _, name := range []string{"ingest", "ingest", "query", "query", "compact", "compact"} {
		c := newCable(t, server.Endpoint())
		own := *h.parts
		own.store = c.over(h.store)
		h.known(own.store)
		h.cables = append(h.cables, c)
		switch name {
		case "compact":
			h.processes = append(h.processes, own.start("compact", "--follow", "--store", own.store))
		default:
			p, address := own.startServer(name)
			h.processes = append(h.processes, p)
			if name == "ingest" {
				h.ingests = append(h.ingests, address)
			} else {
				h.queries = append(h.queries, address)
			}
		}
	}
	return h
}

func (h *histories) run(d time.Duration) {
	t, end := h.t.(*testing.T), time.Now().Add(d)
	file := h.newFile()
	var readers sync.WaitGroup
	ended := make(chan struct{})
	for n := range h.queries {
		readers.Go(func() { file.read(n, ended) })
	}
	readers.Go(func() { file.write(ended) })
	rounds := 0
	for ; time.Now().Before(end) && !t.Failed(); rounds++ {
		h.round(rounds)
	}
	close(ended)
	readers.Wait()
	keepUp(t, h.processes, h.faults)
	file.settles()
	t.Logf("%v: %d histories of leases, %d calls, %d answers of leaders, %d unknown, %d histories not decided in time; a file written %d times, read %d times in %d versions; faults %v",
		d, rounds, h.leases.Load(), h.leader.Load(), h.unknown.Load(), h.undecided.Load(), file.written.Load(), file.reads.Load(), len(file.values), h.faults.of)
	if h.leader.Load() == 0 || len(file.values) == 0 {
		t.Error("the histories prove nothing")
	}
}

// round is one history of a lease, with faults.
func (h *histories) round(n int) {
	t, rnd := h.t, random.New(random.NewPCG(uint64(n), 5))
	view := fmt.Sprint("leases-", n)
	config := viewconfig.Default(view)
	config.SessionTimeoutSeconds = hostsLease.Seconds()
	if err := viewconfig.Save(t.Context(), openStore(t, h.store), config); err != nil {
		t.Fatal(err)
	}
	l := &leases{h: h, view: view, holds: map[string]lease.Hold{}}
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() { l.client(c, random.New(random.NewPCG(uint64(n), uint64(100+c)))) })
	}
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	for pause := upTo(rnd, 4*time.Second); ; pause = upTo(rnd, 8*time.Second) {
		select {
		case <-done:
			if got := porcupine.CheckOperationsTimeout(leasemodel.Model, l.ops, time.Minute); got == porcupine.Unknown {
				h.undecided.Add(1)
			} else if got != porcupine.Ok {
				t.Errorf("history %d is not linearizable: %+v", n, l.ops)
			}
			return
		case <-time.After(pause):
			h.breakSomething(rnd)
		}
	}
}

// breakSomething makes a fault, and ends it.
func (h *histories) breakSomething(rnd *random.Rand) {
	i := rnd.IntN(len(h.processes))
	p, cut := h.processes[i], h.cables[i]
	lasts := upTo(rnd, 1500*time.Millisecond*time.Duration(1+rnd.IntN(4)))
	keepUp(h.t.(*testing.T), h.processes, h.faults)
	switch rnd.IntN(9) {
	case 0, 1:
		h.faults.add(p.name + " killed")
		p.Kill()
		awaitPause(lasts / 4)
		p.Restart()
	case 2:
		h.faults.add(p.name + " frozen")
		p.Pause()
		awaitPause(lasts)
		p.Resume()
	case 3, 4, 5:
		h.faults.add(p.name + " cut off")
		mend := cut.cut()
		awaitPause(lasts)
		mend()
	case 6:
		h.faults.add("store killed")
		h.server.Kill()
		awaitPause(lasts / 4)
		h.server.Start(h.t)
	case 7:
		h.faults.add("store frozen")
		h.server.Pause()
		awaitPause(lasts)
		h.server.Continue()
	case 8:
		h.faults.add("disk full")
		ballast := filepath.Join(h.disk, "ballast")
		fillDisk(h.t, ballast)
		awaitPause(lasts)
		if err := os.Remove(ballast); err != nil {
			h.t.Error(err)
		}
	}
}

// fillDisk writes a file until there is no room.
func fillDisk(t testing.TB, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Error(err)
			return
		}
	}
}

// ask is an answer of a server; a code of 0, or of 500 and more: nobody knows what became of it.
func (h *histories) ask(method, address, path string, body []byte) (code int, header http.Header, answer map[string]any) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address+path, bytes.NewReader(body))
	if err != nil {
		h.t.Error(err)
		return 0, nil, nil
	}
	r.Header.Set("X-API-Key", apiKey)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, nil
	}
	defer a.Body.Close()
	all, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode < 500 && len(all) > 0 && json.Unmarshal(all, &answer) != nil {
		return 0, nil, nil
	}
	return a.StatusCode, a.Header, answer
}

// leases is the history of one view's lease.
type leases struct {
	h    *histories
	view string

	mu    sync.Mutex
	ops   []porcupine.Operation
	holds map[string]lease.Hold // what sessions believe
}

var hostClocks = lease.Clocks{Boot: func() int64 { return int64(time.Since(testBegan)) }, Wall: time.Now}

var testBegan = time.Now()

// call asks any ingest, takes the answer into the history, and returns the session that there is afterwards.
func (l *leases) call(client int, rnd *random.Rand, kind, id, method, path, body string) (after string) {
	start, call := hostClocks.Now(), int64(time.Since(testBegan))
	code, _, answer := l.h.ask(method, l.h.ingests[rnd.IntN(len(l.h.ingests))], "/api/v1/pipe/session/"+path+"?view="+l.view, []byte(body))
	end := int64(time.Since(testBegan))
	after = id
	if kind == "create" {
		after, _ = answer["session_id"].(string)
		id = after
	}
	var out leasemodel.Output
	out.Leads, _ = answer["is_leader"].(bool)
	term, _ := answer["term"].(float64)
	out.Term = uint64(term)
	l.h.leases.Add(1)
	switch {
	case code == 419:
		out, after = leasemodel.Output{Gone: true}, ""
	case code == 0 || code >= 500:
		out, end = leasemodel.Output{Unknown: true}, 1<<62
		l.h.unknown.Add(1)
		if id == "" {
			id = fmt.Sprint("unknown ", call)
		}
	case code != 200:
		l.h.t.Errorf("%s %s: %d %v", kind, id, code, answer)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, porcupine.Operation{ClientId: client, Input: leasemodel.Input{Kind: kind, Session: id}, Output: out, Call: call, Return: end})
	if !out.Leads {
		if out.Gone {
			delete(l.holds, id)
		}
		return after
	}
	l.h.leader.Add(1)
	ttl, _ := answer["lease_ttl_s"].(float64)
	if renewed, _ := answer["lease_renewed"].(bool); renewed {
		l.holds[id] = lease.Hold{Term: out.Term, Start: start, TTL: time.Duration(ttl * 1e9)}
	}
	for other, hold := range l.holds {
		if other != id && hold.Term < out.Term && hold.Left(hostClocks.Now()) > 0 {
			l.h.t.Errorf("%s leads in term %d, and %s may still take itself for the leader of term %d", id, out.Term, other, hold.Term)
		}
	}
	return after
}

// client begins sessions, has them live, and ends them.
func (l *leases) client(c int, rnd *random.Rand) {
	id := ""
	for n := range 14 {
		awaitPause(upTo(rnd, time.Second))
		if rnd.IntN(14) == 0 {
			awaitPause(hostsLease + upTo(rnd, time.Second)) // it stands still
		}
		forget := func() { // who ends its session, or pauses, has stopped to lead
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.holds, id)
		}
		status := fmt.Sprintf(`"agent_status":{"state":"ready","looked":%d}`, n+1) // it gets something done, so it need not yield
		switch {
		case id == "":
			id = l.call(c, rnd, "create", "", "POST", "", fmt.Sprintf(`{"task_id":"%d-%d"}`, c, n))
		case rnd.IntN(10) == 0:
			forget()
			l.call(c, rnd, "end", id, "DELETE", id, "")
			id = ""
		case rnd.IntN(8) == 0:
			forget()
			id = l.call(c, rnd, "pause", id, "POST", id+"/heartbeat", `{"paused":true,`+status+`}`)
		default:
			id = l.call(c, rnd, "beat", id, "POST", id+"/heartbeat", `{`+status+`}`)
		}
	}
}

// file is one whose size is the number of the write that made it. A session at a time writes it, the next one once the one before is gone.
type file struct {
	h              *histories
	task, id       string // of the session that writes
	seq, term      uint64
	at             int64
	written, reads atomic.Int64

	mu     sync.Mutex
	values map[uint64]int64 // what it was, by version
	newest []uint64         // the version that each query has shown
}

const fileView = "file"

// newFile is written once, so that there is a view.
func (h *histories) newFile() *file {
	f := &file{h: h, values: map[uint64]int64{}, newest: make([]uint64, len(h.queries))}
	f.begin()
	if code := f.put(1); code != http.StatusOK {
		h.t.Fatalf("the first write: %d", code)
	}
	return f
}

// begin begins a session.
func (f *file) begin() {
	for f.id = ""; f.id == "" && !f.h.t.Failed(); awaitPause(50 * time.Millisecond) {
		f.task = fmt.Sprint("writer-", time.Now().UnixNano())
		code, _, a := f.h.ask("POST", f.h.ingests[random.IntN(2)], "/api/v1/pipe/session/?view="+fileView, fmt.Appendf(nil, `{"task_id":%q,"session_timeout_seconds":30}`, f.task))
		if code == http.StatusOK {
			term, _ := a["term"].(float64)
			f.id, f.term, f.seq = a["session_id"].(string), uint64(term), 0
		}
	}
}

// put sends a write until it is known what became of it. The first one begins and ends the scan that makes a view of it.
func (f *file) put(n int64) (code int) {
	f.written.Store(n)
	var b bytes.Buffer
	now := max(f.at+1, time.Now().UnixNano())
	events := []event.Event{{Kind: event.Put, Evidence: event.Realtime, Path: "/r", Atomic: true, Entry: event.Entry{Name: "r", Type: event.File, Size: n, MtimeNs: n}}}
	if n == 1 {
		mark := func(k event.MarkKind) event.Event {
			return event.Event{Kind: event.Marked, Evidence: event.Snapshot, Path: "/", Mark: event.Mark{Kind: k}}
		}
		events = append([]event.Event{mark(event.SnapshotBegin), mark(event.SnapshotEnd)}, events...)
	}
	w, err := event.NewWriter(&b, event.Header{View: fileView, Session: f.id, Agent: f.task, Seq: f.seq, Term: f.term, CreatedAt: now, Nonce: rand.Text(), SkewKnown: true})
	for i := range events {
		if events[i].ObservedAt = now + int64(i); err == nil {
			err = w.Add(&events[i])
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.h.t.Error(err)
		return 0
	}
	f.at = now + int64(len(events))
	for !f.h.t.Failed() {
		code, _, _ = f.h.ask("PUT", f.h.ingests[random.IntN(2)], fmt.Sprintf("/api/v1/pipe/session/%s/segments/%d?view=%s", f.id, f.seq, fileView), b.Bytes())
		if code > 0 && code < 500 {
			break
		}
		awaitPause(50 * time.Millisecond)
	}
	f.seq++
	return code
}

// write writes until the end. The last write is durable.
func (f *file) write(ended <-chan struct{}) {
	for n := int64(2); !f.h.t.Failed(); n++ {
		for f.put(n) == 419 {
			f.begin()
		}
		select {
		case <-ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if n%20 == 0 {
			f.h.ask("POST", f.h.ingests[random.IntN(2)], "/api/v1/pipe/session/"+f.id+"/heartbeat?view="+fileView, []byte(`{}`))
		}
	}
}

// read asks a query until the end.
func (f *file) read(query int, ended <-chan struct{}) {
	for !f.h.t.Failed() {
		select {
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
		}
		f.look(query)
	}
}

// look asks a query once, holds its answer against all that was told before, and returns the value; 0: it has none.
func (f *file) look(query int) int64 {
	code, header, a := f.h.ask("GET", f.h.queries[query], "/api/v1/views/"+fileView+"/metadata?path=/r", nil)
	if code != http.StatusOK {
		return 0
	}
	version, err := strconv.ParseUint(header.Get("Fustor-Version"), 10, 64)
	size, _ := a["size"].(float64)
	value := int64(size)
	f.reads.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch known, is := f.values[version]; {
	case err != nil || value < 1 || value > f.written.Load():
		f.h.t.Errorf("query %d shows %v, of which %d was written last (%v)", query, a, f.written.Load(), err)
	case version < f.newest[query]:
		f.h.t.Errorf("query %d shows version %d after version %d", query, version, f.newest[query])
	case is && known != value:
		f.h.t.Errorf("version %d is shown as %d and as %d", version, known, value)
	}
	f.values[version], f.newest[query] = value, version
	return value
}

// settles waits until all queries show the last write, and holds that later versions have later ones.
func (f *file) settles() {
	for n := range f.h.queries {
		eventually(f.h.t, patience(20*time.Second), "the last write is shown", func() bool { return f.look(n) == f.written.Load() })
	}
	last := int64(0)
	for _, version := range slices.Sorted(maps.Keys(f.values)) {
		if f.values[version] < last {
			f.h.t.Errorf("version %d goes back from %d to %d", version, last, f.values[version])
		}
		last = f.values[version]
	}
}

// cable is a server's way to the store. What is sent while it is cut arrives once it is mended, as it does over a network that loses packets.
type cable struct {
	net.Listener
	target string
	mu     sync.Mutex
	whole  chan struct{} // is closed unless it is cut
}

func newCable(t testing.TB, endpoint string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l, target: u.Host, whole: make(chan struct{})}
	close(c.whole)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.connect(near)
		}
	}()
	return c
}

// connect carries what is sent, both ways.
func (c *cable) connect(near net.Conn) {
	defer near.Close()
	c.pass()
	far, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	carry := func(from, to net.Conn) {
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			c.pass()
			if n > 0 {
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go carry(far, near)
	carry(near, far)
}

// pass waits until it is whole.
func (c *cable) pass() {
	c.mu.Lock()
	whole := c.whole
	c.mu.Unlock()
	<-whole
}

// cut cuts it. mend undoes that.
func (c *cable) cut() (mend func()) {
	whole := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = whole
	return func() { close(whole) }
}

// over is a minio:// store URL that goes through here.
func (c *cable) over(storeURL string) string { return storeAt(storeURL, c.Addr()) }
