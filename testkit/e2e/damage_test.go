//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// vault is a store with two views at rest: nothing works on it but what a test starts.
type vault struct {
	*parts
	store store.Store
	dirs  map[string]string // by view
}

// newVault fills a store.
func newVault(t *testing.T) *vault {
	t.Helper()
	p := &parts{t: t, store: fileStore(t), env: []string{"FUSTOR_API_KEY=" + apiKey}}
	v := &vault{parts: p, store: openStore(t, p.store), dirs: map[string]string{viewID: t.TempDir(), "other": t.TempDir()}}
	p.ingest, p.ingestURL = p.startServer("ingest")
	var agents []*process
	for i, view := range slices.Sorted(maps.Keys(v.dirs)) {
		newWorkload(t, v.dirs[view]+"/work", uint64(300+i)).run(operationsOf(1000))
		agents = append(agents, start(t, p.env, "agent", v.dirs[view], "--ingest", p.ingestURL, "--view", view, "--agent-id", "agent-"+view,
			"--state", filepath.Join(t.TempDir(), "state")))
	}
	p.await(agents[0], "the snapshots are folded", func() bool {
		if r := v.compact(); r.code != 0 {
			t.Fatalf("compact: exit code %d: %s", r.code, r.stderr)
		}
		return v.ready(viewID) && v.ready("other")
	})
	for _, a := range agents {
		a.Stop()
	}
	v.compact()
	v.intact(viewID)
	v.intact("other")
	return v
}

// await is for conditions that need more than the process itself.
func (p *parts) await(process *process, what string, done func() bool) {
	p.t.Helper()
	process.await(what, done)
}

func (v *vault) ready(view string) bool {
	m, _, err := manifest.Load(v.t.Context(), v.store, view)
	return err == nil && m.Ready()
}

// compact folds what there is, of all views.
func (v *vault) compact() result {
	v.t.Helper()
	return command(v.t, v.env, "compact", "--store", v.parts.store)
}

// asked is what a reading command gets of a query handler that has seen nothing before.
func (v *vault) asked(view string, ask func(server)) {
	v.t.Helper()
	q := start(v.t, v.env, "query", "--store", v.parts.store, "--listen", "127.0.0.1:0")
	q.quiet = true
	ask(server{"--url", q.says(readyURL, 0), "--api-key", apiKey, "--view", view})
	q.Stop()
}

// intact checks that a view is as its tree.
func (v *vault) intact(view string) {
	v.t.Helper()
	v.asked(view, func(s server) {
		if d := s.unlike(v.t, onDisk(v.t, v.dirs[view])); d != "" {
			v.t.Errorf("view %s: %s", view, d)
		}
	})
}

// with has an object replaced while check runs, and then as it was.
func (v *vault) with(key string, body []byte, check func()) {
	v.t.Helper()
	before, err := v.store.Get(v.t.Context(), key)
	if err != nil {
		v.t.Fatal(err)
	}
	v.put(key, body)
	check()
	v.put(key, before.Body)
}

func (v *vault) put(key string, body []byte) {
	v.t.Helper()
	if _, err := v.store.Put(v.t.Context(), key, body); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) body(key string) []byte {
	v.t.Helper()
	o, err := v.store.Get(v.t.Context(), key)
	if err != nil {
		v.t.Fatal(err)
	}
	return o.Body
}

func TestDamagedHead(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	key := layout.Head(viewID)
	good := v.body(key)
	newer, err := manifest.Decode(key, good)
	if err != nil {
		t.Fatal(err)
	}
	newer.Format = 9
	ofNewer, err := newer.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"empty": {}, "garbage": []byte("garbage\x00\xff"), "cut short": good[:len(good)/2], "of another view": v.body(layout.Head("other")),
		"of a newer fustor": ofNewer,
	} {
		t.Run(name, func(t *testing.T) {
			v.with(key, body, func() {
				v.asked(viewID, func(s server) { s.ask(t, "find", "/", "--json").fails(t, key) })
				v.asked(viewID, func(s server) { s.ask(t, "du", "/").fails(t, key) })
				r := v.compact()
				r.stdout = strings.ReplaceAll(r.stdout, "other: 0 segments folded\n", "") // it went on with that
				r.fails(t, key)
				if left := v.body(key); !bytes.Equal(left, body) {
					t.Error("the compactor has overwritten what it could not read")
				}
				v.intact("other")
			})
			v.intact(viewID)
		})
	}
}

func TestDamagedLayer(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	head, _, err := manifest.Load(t.Context(), v.store, viewID)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := manifest.Load(t.Context(), v.store, "other")
	if err != nil {
		t.Fatal(err)
	}
	of := slices.Concat(head.Deltas, head.Base)[0].ID
	foreign := v.body(layout.Layer("other", slices.Concat(other.Deltas, other.Base)[0].ID))
	for _, key := range keysOf(t, v.store, layout.Layers(viewID)) { // the layer, and its index if that is an object of its own
		if !strings.Contains(key, of) {
			continue
		}
		good := v.body(key)
		for name, body := range map[string][]byte{
			"empty": {}, "garbage": []byte("garbage"), "cut short": good[:len(good)/2], "of another view": foreign,
		} {
			t.Run(filepath.Ext(key)+" "+name, func(t *testing.T) {
				v.with(key, body, func() {
					v.asked(viewID, func(s server) { s.ask(t, "find", "/", "--json").fails(t, key) })
					v.intact("other")
				})
				v.intact(viewID)
			})
		}
		t.Run(filepath.Ext(key)+" missing", func(t *testing.T) {
			if err := v.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			r := v.compact()
			r.stdout = strings.ReplaceAll(r.stdout, "other: 0 segments folded\n", "") // it went on with that
			r.fails(t, "view "+viewID+" cannot be read as a whole: layer object "+key+": the object is missing")
			if !strings.Contains(r.stderr, "hint: restore the object from a backup of the store, or start the view over") {
				t.Errorf("it does not say what mends it: %s", r.stderr)
			}
			v.put(key, good)
			if r := v.compact(); r.code != 0 || r.stdout != "other: 0 segments folded\n"+viewID+": 0 segments folded\n" && r.stdout != viewID+": 0 segments folded\nother: 0 segments folded\n" {
				t.Errorf("with the object back: %d, %q, %q", r.code, r.stdout, r.stderr)
			}
		})
		t.Run(filepath.Ext(key)+" flipped bits", func(t *testing.T) { v.flipped(t, key) })
	}
}

// flipped damages single bits all over an object: the view must not become another by it, without a word.
func (v *vault) flipped(t *testing.T, key string) {
	disk := onDisk(t, v.dirs[viewID])
	good := v.body(key)
	noticed := 0
	const tries = 24
	for i := range tries {
		bad := bytes.Clone(good)
		at := (2*i + 1) * len(bad) / (2 * tries)
		bad[at] ^= 1 << (i % 8)
		v.with(key, bad, func() {
			v.asked(viewID, func(s server) {
				view, err := s.find(t)
				if err != nil {
					noticed++
					if !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "panic") {
						t.Errorf("byte %d of %d: %v", at, len(bad), err)
					}
				} else if d := difference(view, disk); d != "" {
					t.Errorf("byte %d of %d is damaged, and the view says: %s", at, len(bad), d)
				}
			})
		})
	}
	t.Logf("%d of %d were noticed", noticed, tries)
}

// TestDamagedSegment puts objects that are no segments of theirs where the next segment of a live session is expected.
func TestDamagedSegment(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	valid := keysOf(t, v.store, layout.AllSegments("other"))[0]
	for name, body := range map[string][]byte{
		"empty": {}, "garbage": []byte("garbage"), "cut short": v.body(valid)[:20], "of another view": v.body(valid),
	} {
		t.Run(name, func(t *testing.T) {
			key := layout.Segment(viewID, v.register(t), 0)
			v.put(key, body)
			r := v.compact()
			logged, report, _ := strings.Cut(r.stderr, "\n")
			if !strings.Contains(logged, "level=ERROR") || !strings.Contains(logged, key) {
				t.Errorf("the log does not say why: %s", logged)
			}
			result{stderr: report, code: r.code}.fails(t, key) // stdout says what was folded all the same
			if name != "of another view" {
				command(t, v.env, "segment", "cat", key, "--store", v.parts.store).fails(t, key)
			}
			v.intact(viewID)
			v.intact("other")
			if r := v.compact(); r.code != 0 {
				t.Errorf("and again: exit code %d:\n%s", r.code, r.stderr)
			}
		})
	}
	// The agent comes back, and the view goes on.
	if err := os.WriteFile(filepath.Join(v.dirs[viewID], "later"), []byte("later"), 0o644); err != nil {
		t.Fatal(err)
	}
	agent := start(t, v.env, "agent", v.dirs[viewID], "--ingest", v.ingestURL, "--view", viewID, "--agent-id", "agent-later",
		"--state", filepath.Join(t.TempDir(), "state"))
	v.await(agent, "the view has what came later", func() bool {
		v.compact()
		m, _, err := manifest.Load(t.Context(), v.store, viewID)
		return err == nil && m.Totals.Files == onDisk(t, v.dirs[viewID]).sums().Files
	})
	v.intact(viewID)
	agent.Stop()
}

// register makes a session, as an agent does, and returns its id.
func (v *vault) register(t *testing.T) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.ingestURL+"/api/v1/pipe/session/?view="+viewID,
		strings.NewReader(`{"task_id":"task-`+t.Name()[strings.LastIndex(t.Name(), "/")+1:]+`","client_info":{"agent_id":"foreign"}}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", apiKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var answer struct {
		ID string `json:"session_id"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil || answer.ID == "" {
		t.Fatalf("make a session: %s: %s", response.Status, body)
	}
	return answer.ID
}

func TestSegmentCatOfNoSegment(t *testing.T) {
	t.Parallel()
	var good bytes.Buffer
	w, err := event.NewWriter(&good, event.Header{View: viewID, Session: "s", Agent: "a", Source: "fs://h/", Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		e := event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: int64(i + 1), Path: "/" + strings.Repeat("x", i%200+1)}
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "segment.zst")
	for name, body := range map[string][]byte{
		"empty": {}, "garbage": []byte("garbage"), "cut short": good.Bytes()[:good.Len()/2], "with a tail": append(bytes.Clone(good.Bytes()), "tail"...),
	} {
		if err := os.WriteFile(file, body, 0o644); err != nil {
			t.Fatal(err)
		}
		r := command(t, nil, "segment", "cat", file)
		r.stdout = "" // what was read before the damage was seen may be printed
		t.Run(name, func(t *testing.T) { r.fails(t, file) })
	}
	if err := os.WriteFile(file, good.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := command(t, nil, "segment", "cat", file); r.code != 0 || strings.Count(r.stdout, "\n") != 1002 {
		t.Errorf("the segment itself: exit code %d, %d lines", r.code, strings.Count(r.stdout, "\n"))
	}
}

func TestUpOnDamagedData(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	newWorkload(t, dir, 310).run(operationsOf(1000))
	u := startUp(t, dir, data)
	u.equal(t, dir, time.Now(), patience(20*time.Second))
	u.Stop()
	s := openStore(t, "file://"+filepath.Join(data, "store"))
	head := layout.Head("default")
	good, err := s.Get(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), head, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	command(t, nil, "up", dir, "--data", data, "--listen", "127.0.0.1:0").fails(t, head)
	if _, err := s.Put(t.Context(), head, good.Body); err != nil {
		t.Fatal(err)
	}
	u.Restart()
	u.serves()
	u.equal(t, dir, time.Now(), patience(20*time.Second))
	u.Stop()
}
