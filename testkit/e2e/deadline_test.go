//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/lambdatest"
	"github.com/fustor/fustor/testkit/s3test"
)

// TestMergeAtADeadline has the compactor's function merge more than an invocation has time for, as the bucket is slow. It
// ends without an error well before its deadline; those that follow go on from what it published, until nothing is left to
// merge. After each the view is what it was.
func TestMergeAtADeadline(t *testing.T) {
	t.Parallel()
	minio := s3test.MinIO(t)
	st := openStore(t, minio.URL("s3", ""))
	(&parts{t: t, store: minio.URL("s3", "")}).known(minio.URL("s3", ""))
	want := manyDeltas(t, st)

	slow, endpoint := slowLayers(t, minio.Endpoint(), 30*time.Millisecond)
	bootstrap, err := lambdatest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const timeout = 6 * time.Second
	function := lambdatest.New(t, lambdatest.Options{Binary: bootstrap, Name: "fustor-compactor", Handler: "compactor", Memory: 512, Timeout: timeout,
		Env: append(s3test.Env(), "FUSTOR_STORE=s3://"+minio.Bucket+"?endpoint="+endpoint)})
	(&parts{t: t, store: minio.URL("s3", "")}).known("s3://" + minio.Bucket + "?endpoint=" + endpoint)
	steps, cut, barren := 0, 0, 0
	for invocation := 1; ; invocation++ {
		before, read := versionOf(t, st), slow.Load()
		said := len(function.Log())
		began := time.Now()
		result, err := function.Invoke(t.Context(), lambdatest.ScheduledEvent())
		if err == nil {
			_, err = io.Copy(io.Discard, result.Body)
		}
		took := time.Since(began)
		if err != nil || took > timeout-time.Second {
			t.Fatalf("invocation %d, after %v: %v", invocation, took, err)
		}
		after := versionOf(t, st)
		over := strings.Contains(function.Log()[said:], "out of time before the view was done")
		t.Logf("invocation %d took %v: version %d to %d, %d deltas, %d base partitions, merged %d; %d reads of layers; cut off: %v",
			invocation, took.Round(time.Millisecond), before.Version, after.Version, len(after.Deltas), len(after.Base), len(after.Merged), slow.Load()-read, over)
		if have := rowsOf(t, st, after); !maps.Equal(have, want) {
			t.Fatalf("after invocation %d the view has %d rows, and not the %d of before", invocation, len(have), len(want))
		}
		steps += int(after.Version - before.Version)
		if !over {
			break
		}
		// On a machine with much else to do a step may be cut off before it is published. Each one after it is half as long.
		cut, barren = cut+1, barren+1
		if after.Version > before.Version {
			barren = 0
		} else if barren == 8 {
			t.Fatalf("the last %d invocations have published nothing", barren)
		}
		if invocation == 40 {
			t.Fatal("it comes to no end")
		}
	}
	if cut == 0 || steps < 2 {
		t.Errorf("%d invocations were cut off, in %d steps: the merge was not long enough to show anything", cut, steps)
	}
	if m := versionOf(t, st); len(m.Deltas) > compactor.DefaultMaxDeltas {
		t.Errorf("%d deltas are left", len(m.Deltas))
	}
}

// manyDeltas makes a view with more deltas than are allowed, none of them merged, and returns its rows.
func manyDeltas(t *testing.T, st store.Store) map[string]evidence.Row {
	t.Helper()
	const deltas, each = compactor.DefaultMaxDeltas + 4, 7500
	c, err := compactor.New(compactor.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	const id = "s1"
	roster := fmt.Sprintf(`{"sessions":{%q:{"task_id":"t","agent_id":"a","session_timeout_seconds":600}},"nonce":"n"}`, id)
	if _, err := st.Put(t.Context(), layout.Roster(viewID), []byte(roster)); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(-time.Hour).UnixNano()
	for d := range deltas {
		var b bytes.Buffer
		w, err := event.NewWriter(&b, event.Header{View: viewID, Session: id, Agent: "a", Seq: uint64(d), Term: 1, CreatedAt: now, Nonce: fmt.Sprint(d), Local: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range each {
			name := fmt.Sprintf("f%05d", i*deltas+d)
			ev := event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now + int64(d), Path: fmt.Sprintf("/d%02d/%s", i%50, name), Atomic: true,
				Entry: event.Entry{Name: name, Type: event.File, Size: int64(i), MtimeNs: now}}
			if err := w.Add(&ev); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Create(t.Context(), layout.Segment(viewID, id, uint64(d)), b.Bytes()); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Fold(t.Context(), viewID); err != nil || n != 1 {
			t.Fatalf("fold: %d, %v", n, err)
		}
	}
	return rowsOf(t, st, versionOf(t, st))
}

func versionOf(t *testing.T, st store.Store) *manifest.Manifest {
	t.Helper()
	m, _, err := manifest.Load(t.Context(), st, viewID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rowsOf are all rows of a version, tombstones too.
func rowsOf(t *testing.T, st store.Store, m *manifest.Manifest) map[string]evidence.Row {
	t.Helper()
	v, err := layer.OpenView(st, viewID, m.Base, m.Deltas, layer.NewCache(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]evidence.Row{}
	c := v.Cursor(t.Context())
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			t.Fatal(err)
		}
		r.Parent, r.Name, r.Target = strings.Clone(r.Parent), strings.Clone(r.Name), strings.Clone(r.Target)
		rows[r.Path()] = r
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// slowLayers is a way to a bucket on which every read of a layer takes so much longer. They are counted.
func slowLayers(t *testing.T, endpoint string, by time.Duration) (*atomic.Int64, string) {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	count := &atomic.Int64{}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host // it is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/layers/") {
			count.Add(1)
			select {
			case <-time.After(by):
			case <-r.Context().Done():
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return count, s.URL
}
