//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/viewconfig"
)

// busyTree changes files and tells nobody.
type busyTree struct {
	t    testing.TB
	dir  string
	rnd  *rand.Rand
	next int
	all  []string
}

func (b *busyTree) operate() {
	b.t.Helper()
	must := func(err error) {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	full := func(p string) string { return filepath.Join(b.dir, p) }
	b.next++
	switch n := b.rnd.IntN(10); {
	case n < 5 || len(b.all) < 10:
		file := fmt.Sprintf("/d%d/e%d/f%d", b.rnd.IntN(5), b.rnd.IntN(5), b.next)
		if n == 0 {
			file += "\xff"
		}
		must(os.MkdirAll(full(path.Dir(file)), 0o755))
		must(os.WriteFile(full(file), make([]byte, b.rnd.IntN(500)), 0o644))
		b.all = append(b.all, file)
	case n < 8:
		i := b.rnd.IntN(len(b.all))
		must(os.Remove(full(b.all[i])))
		b.all = append(b.all[:i], b.all[i+1:]...)
	case n == 8:
		i := b.rnd.IntN(len(b.all))
		to := b.all[i] + "'"
		must(os.Rename(full(b.all[i]), full(to)))
		b.all[i] = to
	default:
		must(os.WriteFile(full(b.all[b.rnd.IntN(len(b.all))]), make([]byte, 1000+b.next), 0o644))
	}
}

// startOpenAPI starts an agent that feeds a view by what a server's OpenAPI document says.
func startOpenAPI(t testing.TB, state, dir, document, more, pipe string) *process {
	t.Helper()
	file := filepath.Join(state, "agent.yaml")
	writeFile(t, file, fmt.Sprintf(`agent_id: open
state: %s
sources: {tree: {path: %s}}
senders: {other: {type: openapi, document: "%s"%s}}
pipes: {files: {source: tree, sender: other, view: %s%s}}
`, state, dir, document, more, viewID, pipe))
	return start(t, nil, "agent", "--config", file)
}

// TestOpenAPIOfOurs has an agent find out from ingest's own OpenAPI document how to feed a view, and both are killed at random
// moments while the tree changes: with what the kernel reports, snapshots and audits the view becomes the tree.
func TestOpenAPIOfOurs(t *testing.T) {
	t.Parallel()
	url := fileStore(t)
	setV2(t, url)
	c := viewconfig.Default(viewID)
	c.SessionTimeoutSeconds, c.StalenessSeconds, c.AuditIntervalSeconds = leaseTime.Seconds(), 1, 2
	if err := viewconfig.Save(t.Context(), openStore(t, url), c); err != nil {
		t.Fatal(err)
	}
	p := startParts(t, url)
	tr := &busyTree{t: t, dir: inMemory(t), rnd: rand.New(rand.NewPCG(17, 6))}
	for range 300 {
		tr.operate()
	}
	a := startOpenAPI(t, t.TempDir(), tr.dir, p.ingestURL+"/openapi.json", ", api_key: "+v2Key, "")
	a.says(regexp.MustCompile(`the OpenAPI document was read.*format="Fustor's own events"`), 0)
	p.equalV2(tr.dir, patience(30*time.Second)) // a snapshot
	for range 100 {
		tr.operate()
	}
	p.equalV2(tr.dir, patience(10*time.Second)) // what the kernel reports
	if r := command(t, nil, append([]string{"scan", "/d1", "--wait"}, p.server...)...); r.code != 0 {
		t.Errorf("an on-demand scan: %s%s", r.stdout, r.stderr)
	}
	for i := range operationsOf(shortOr(8, 40)) {
		victim := []*process{p.ingest, a, p.compact}[i%3]
		victim.Kill()
		for range 50 {
			tr.operate()
		}
		victim.Restart()
		for range 50 {
			tr.operate()
		}
		awaitPause(time.Duration(tr.rnd.Int64N(int64(time.Second))))
	}
	p.equalV2(tr.dir, patience(60*time.Second))
}

// foreign is a server that is not Fustor: it has fields and calls of its own.
type foreign struct {
	t        testing.TB
	mu       sync.Mutex
	files    map[string]int64 // sizes, by path
	seen     map[string]bool  // keys of requests
	repeated map[string]int   // keys of requests that came again
	records  map[string]bool  // ids of records
	twice    int
	down     int    // how many requests are yet to be refused
	hold     bool   // the next request with a deletion is taken, and not answered
	held     string // its key
	unkeyed  int
	wrong    []string
}

const foreignDocument = `openapi: 3.0.3
info: {title: Catalogue, version: "1"}
servers: [{url: /catalogue/v1}]
security: [{token: []}]
paths:
  /assets/{dataset}/changes:
    parameters:
      - {name: dataset, in: path, required: true, schema: {type: string}}
    post:
      operationId: recordChanges
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: '#/components/schemas/Changes'}
      responses: {'202': {description: taken}}
components:
  securitySchemes:
    token: {type: http, scheme: bearer}
  schemas:
    Changes:
      type: object
      required: [site, items]
      properties:
        site: {type: string}
        items:
          type: array
          maxItems: 50
          items: {$ref: '#/components/schemas/Change'}
    Change:
      type: object
      required: [op, location, bytes, uid]
      properties:
        op: {type: string, enum: [put, delete]}
        location: {type: string}
        bytes: {type: integer, nullable: true}
        modified: {type: string, format: date-time, nullable: true}
        uid: {type: string}
`

// change is a record as the server has it.
type change struct {
	Op, Location, UID string
	Bytes             *int64
}

// ServeHTTP implements http.Handler. Every third answer is lost after its request was taken.
func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api.yaml" {
		io.WriteString(w, foreignDocument)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var body struct {
		Site  string
		Items []change
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer secret":
		f.unkeyed++
		w.WriteHeader(http.StatusUnauthorized)
		return
	case f.down > 0:
		f.down--
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.Method != "POST" || r.URL.Path != "/catalogue/v1/assets/"+viewID+"/changes" || json.NewDecoder(r.Body).Decode(&body) != nil ||
		body.Site != "leiden" || len(body.Items) == 0 || len(body.Items) > 50:
		f.wrong = append(f.wrong, fmt.Sprintf("%s %s %+v", r.Method, r.URL, body))
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	fresh := !f.seen[key]
	if !fresh {
		f.repeated[key]++
	} else {
		f.seen[key] = true
		for _, i := range body.Items {
			if f.records[i.UID] {
				f.twice++
			}
			f.records[i.UID] = true
			switch {
			case i.Op == "delete":
				for p := range f.files {
					if p == i.Location || strings.HasPrefix(p, i.Location+"/") {
						delete(f.files, p)
					}
				}
			case i.Bytes == nil:
				f.wrong = append(f.wrong, i.Location+" has no size")
			default:
				f.files[i.Location] = *i.Bytes
			}
		}
	}
	if f.hold && slices.ContainsFunc(body.Items, func(i change) bool { return i.Op == "delete" }) {
		f.hold, f.held = false, key
		f.mu.Unlock()
		<-r.Context().Done()
		f.mu.Lock()
		return
	}
	if fresh && len(f.seen)%3 == 0 {
		panic(http.ErrAbortHandler) // the answer is lost
	}
	w.WriteHeader(http.StatusAccepted)
}

// has reports whether it knows exactly the files of a tree.
func (f *foreign) has(disk tree) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	files := 0
	for p, e := range disk {
		if e.kind == 'f' {
			files++
			if size, ok := f.files[p]; !ok || size != e.size {
				return false
			}
		}
	}
	known := 0
	for p := range f.files {
		if e, ok := disk[p]; !ok {
			return false
		} else if e.kind == 'f' {
			known++
		}
	}
	return known == files
}

// TestOpenAPIOfAnother has an agent feed a server with a document, fields and a security scheme of its own, which loses answers
// and is away for a while.
func TestOpenAPIOfAnother(t *testing.T) {
	t.Parallel()
	f := &foreign{t: t, files: map[string]int64{}, seen: map[string]bool{}, repeated: map[string]int{}, records: map[string]bool{}, down: 2}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	tr := &busyTree{t: t, dir: inMemory(t), rnd: rand.New(rand.NewPCG(17, 7))}
	for range 300 {
		tr.operate()
	}
	for i := 0; i < len(tr.all); { // a JSON text holds no such names
		if strings.Contains(tr.all[i], "\xff") {
			if err := os.Remove(filepath.Join(tr.dir, tr.all[i])); err != nil {
				t.Fatal(err)
			}
			tr.all = append(tr.all[:i], tr.all[i+1:]...)
			continue
		}
		i++
	}
	state := t.TempDir()
	// A mapping that the server will not take is told before anything is sent.
	wrong := startOpenAPI(t, state, tr.dir, server.URL+"/api.yaml", ", api_key: secret, operations: {events: recordChanges}", ", fields_mapping: [{to: op, source: kind}, {to: uid, source: uid}]")
	wrong.says(regexp.MustCompile(`the pipe cannot start.*field \\"uid\\" is of type string, and uid is integer.*field \\"location\\" is required`), 0)
	if s := pipesOf(t, filepath.Join(state, "agent.yaml"))["files"]; s.State != "waiting" || !strings.Contains(s.Error, "location") {
		t.Errorf("status %+v", s)
	}
	wrong.Stop()
	mapping := `, fields_mapping: [{to: op, source: kind}, {to: location, source: path}, {to: bytes, source: size},
  {to: modified, source: mtime_ns, type: time}, {to: uid, source: id}, {to: site, value: leiden}]`
	a := startOpenAPI(t, state, tr.dir, server.URL+"/api.yaml", ", api_key: secret, operations: {events: recordChanges}", mapping)
	eventually(t, patience(30*time.Second), "the server knows the tree", func() bool { return f.has(onDisk(t, tr.dir)) })
	for round := range 4 {
		switch round {
		case 2:
			f.mu.Lock()
			f.down = 3
			f.mu.Unlock()
			if err := os.WriteFile(filepath.Join(tr.dir, tr.all[0]), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			eventually(t, patience(10*time.Second), "the status says why nothing is sent", func() bool {
				return strings.Contains(pipesOf(t, filepath.Join(state, "agent.yaml"))["files"].Error, "the server answers 503")
			})
		case 3:
			a.Kill()
		}
		for i, file := range tr.all {
			full := filepath.Join(tr.dir, file)
			var err error
			if i%4 == round {
				err = os.WriteFile(full, make([]byte, 100*round+i), 0o644)
			} else if i%5 == 0 {
				err = os.WriteFile(full+".new", nil, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if round < 3 { // a server that knows no audits does not hear of what was deleted while no agent ran
			if err := os.RemoveAll(filepath.Join(tr.dir, fmt.Sprintf("d%d/e1", round))); err != nil {
				t.Fatal(err)
			}
		}
		tr.all = tr.all[:0]
		for p, e := range onDisk(t, tr.dir) {
			if e.kind == 'f' {
				tr.all = append(tr.all, p)
			}
		}
		if round == 3 {
			a.Restart()
		}
		eventually(t, patience(30*time.Second), "the server knows the tree", func() bool { return f.has(onDisk(t, tr.dir)) })
	}

	// An agent that is killed before it has its answer sends the same with the same key when it is back.
	f.mu.Lock()
	f.hold = true
	f.mu.Unlock()
	gone := tr.all[0]
	if err := os.Remove(filepath.Join(tr.dir, gone)); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience(10*time.Second), "a request is held", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.held != ""
	})
	a.Kill()
	a.Restart()
	eventually(t, patience(10*time.Second), "the request comes again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.repeated[f.held] > 0
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.repeated) < 2 || f.unkeyed > 0 || len(f.wrong) > 0 {
		t.Errorf("%d requests came again, %d without the token; wrong: %q", len(f.repeated), f.unkeyed, f.wrong)
	}
	t.Logf("%d requests, of which %d came again; %d records, %d came again under another key", len(f.seen), len(f.repeated), len(f.records), f.twice)
}
