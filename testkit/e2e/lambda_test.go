//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/notification"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/lambdatest"
	"github.com/fustor/fustor/testkit/s3test"
)

// lambda is a whole stack as infra/aws/template.yaml has it: three functions under a Runtime API, a bucket of MinIO, its
// notifications in a queue, and a schedule that the test winds.
type lambda struct {
	t                        *testing.T
	s3                       *s3test.Server
	store                    string // its URL, past the recorders
	ingest, query, compactor *lambdatest.Function
	asked                    map[string]*recorder // by function
	ingestURL, queryURL      string
	*queue
}

func startLambda(t *testing.T) *lambda {
	t.Helper()
	l := &lambda{t: t}
	l.queue = newQueue(t, l)
	l.s3 = s3test.MinIO(t)
	l.store = l.s3.URL("s3", "")
	st := openStore(t, l.store)
	err := access.Register(t.Context(), st, apiKey, access.Record{Name: "e2e", Roles: []access.Role{access.Ingest, access.Query},
		Views: access.AllViews, CreatedAt: 1})
	if err != nil {
		t.Fatal(err)
	}
	bootstrap, err := lambdatest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var endpoint string
	l.asked, endpoint = record(t, l.s3.Endpoint(), l.s3.Bucket, "ingest", "query", "compactor")
	function := func(handler string, memory int, timeout time.Duration) *lambdatest.Function {
		return lambdatest.New(t, lambdatest.Options{Binary: bootstrap, Name: "fustor-" + handler, Handler: handler, Memory: memory, Timeout: timeout,
			Env: append(s3test.Env(), "FUSTOR_STORE=s3://"+l.s3.Bucket+"?endpoint="+endpoint, "AWS_SDK_UA_APP_ID="+handler)})
	}
	// Memory and times as in the template.
	l.ingest, l.query, l.compactor = function("ingest", 256, 30*time.Second), function("query", 512, time.Minute), function("compactor", 512, 5*time.Minute)
	l.ingestURL, l.queryURL = l.ingest.URL().URL, l.query.URL().URL
	l.notify()
	return l
}

// queue is an SQS queue of S3's notifications with all that such a queue may do: it delivers some messages twice, late, in
// another order, and some are lost on their way.
type queue struct {
	l     *lambda
	mu    sync.Mutex
	wait  []lambdatest.Message
	every int // of so many messages one is lost; 1: all
	got   int
	lost  int
	again int // deliveries beyond the first
}

// newQueue starts what MinIO is to send its notifications to. It must be there before the server.
func newQueue(t *testing.T, l *lambda) *queue {
	q := &queue{l: l, every: 5}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && len(body) > 0 {
			q.send(string(body))
		}
	}))
	t.Cleanup(hook.Close)
	t.Setenv("MINIO_NOTIFY_WEBHOOK_ENABLE_QUEUE", "on")
	t.Setenv("MINIO_NOTIFY_WEBHOOK_ENDPOINT_QUEUE", hook.URL)
	return q
}

// notify has the bucket send what the template's bucket sends.
func (l *lambda) notify() {
	l.t.Helper()
	client, err := miniogo.New(strings.TrimPrefix(l.s3.Endpoint(), "http://"), &miniogo.Options{
		Creds: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""), Region: s3test.Region})
	if err != nil {
		l.t.Fatal(err)
	}
	config := notification.Configuration{}
	for _, filter := range readTemplate(l.t).notifications(l.t) {
		to := notification.NewConfig(notification.NewArn("minio", "sqs", "", "QUEUE", "webhook"))
		to.AddEvents(notification.ObjectCreatedAll)
		to.AddFilterPrefix(filter["prefix"])
		to.AddFilterSuffix(filter["suffix"])
		if !config.AddQueue(to) {
			l.t.Fatal("the second notification overlaps the first")
		}
	}
	if err := client.SetBucketNotification(l.t.Context(), l.s3.Bucket, config); err != nil {
		l.t.Fatal(err)
	}
}

func (q *queue) send(body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.got++
	if q.got%q.every == 0 {
		q.lost++
		return
	}
	m := lambdatest.Message{ID: fmt.Sprintf("2e1424d4-f796-459a-8184-%012d", q.got), Body: body}
	q.wait = append(q.wait, m)
	if q.got%2 == 0 {
		q.wait = append(q.wait, m)
		q.again++
	}
}

// take takes a batch of what waits, in any order, and leaves some for later.
func (q *queue) take() (batch []lambdatest.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rand.Shuffle(len(q.wait), func(i, j int) { q.wait[i], q.wait[j] = q.wait[j], q.wait[i] })
	n := min(10, (len(q.wait)+1)*2/3)
	if n > len(q.wait) {
		n = len(q.wait)
	}
	batch, q.wait = q.wait[:n:n], slices.Clone(q.wait[n:])
	return batch
}

// deliver is Lambda's poller of the queue: it invokes the compactor with batches, and has those come again that it asks for.
func (q *queue) deliver(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		batch := q.take()
		if len(batch) == 0 {
			continue
		}
		payload, err := lambdatest.SQSEvent(batch)
		if err != nil {
			q.l.t.Error(err)
			return
		}
		result, err := q.l.compactor.Invoke(context.WithoutCancel(ctx), payload)
		var answer struct {
			Failures []struct {
				ID string `json:"itemIdentifier"`
			} `json:"batchItemFailures"`
		}
		if err == nil {
			err = result.Decode(&answer)
		}
		if err != nil {
			q.l.t.Errorf("the compactor failed at messages: %v", err)
			return
		}
		q.mu.Lock()
		for _, f := range answer.Failures {
			i := slices.IndexFunc(batch, func(m lambdatest.Message) bool { return m.ID == f.ID })
			q.wait = append(q.wait, batch[i])
		}
		q.mu.Unlock()
	}
}

// tick is one of the schedule.
func (l *lambda) tick() {
	l.t.Helper()
	result, err := l.compactor.Invoke(l.t.Context(), lambdatest.ScheduledEvent())
	if err == nil {
		_, err = io.Copy(io.Discard, result.Body)
	}
	if err != nil {
		l.t.Fatalf("a tick failed: %v", err)
	}
}

// call is an HTTP request with the key.
func (l *lambda) call(method, url string, body []byte, into any) int {
	l.t.Helper()
	request, err := http.NewRequestWithContext(l.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	request.Header.Set("X-API-Key", apiKey)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	if into != nil && response.StatusCode < 300 {
		if err := json.Unmarshal(text, into); err != nil {
			l.t.Fatalf("%s %s: %v: %s", method, url, err, text)
		}
	}
	return response.StatusCode
}

// TestLambda is the main job with nothing but functions: an agent that knows the ingest function's URL and a key, a bucket,
// the compactor's function woken by messages that are doubled, reordered, late and lost, and by its schedule, and readers at
// the query function. The view becomes what the tree is. What each function asked of the bucket is held against its rights.
func TestLambda(t *testing.T) {
	l := startLambda(t)
	began := time.Now()
	if code := l.call("GET", l.ingestURL+"/api/v1/pipe/session/?view="+viewID, nil, nil); code != http.StatusServiceUnavailable {
		t.Errorf("ingest on a store that nobody found fit: %d", code)
	}
	setSessionTimeout(t, l.store, 9*time.Second)
	l.tick()
	t.Logf("the first tick, which probes the store, took %v", time.Since(began))
	delivering, stop := context.WithCancel(t.Context())
	var pollers sync.WaitGroup
	for range 2 { // two compactors at once
		pollers.Add(1)
		go func() { defer pollers.Done(); l.deliver(delivering) }()
	}
	dir := t.TempDir()
	newWorkload(t, dir, 7).run(300)

	agent := start(t, []string{"FUSTOR_API_KEY=" + apiKey}, "agent", dir, "--ingest", l.ingestURL, "--view", viewID, "--agent-id", "a",
		"--state", filepath.Join(t.TempDir(), "session.json"))
	reader := server{"--url", l.queryURL, "--api-key", apiKey, "--view", viewID}
	l.healed(reader, dir)
	newWorkload(t, dir, 8).run(200) // the kernel tells of these
	l.healed(reader, dir)

	// A reader asks the agent to look, and pages go on at the version they began with.
	view := l.queryURL + "/api/v1/views/" + viewID
	var page struct {
		Next string `json:"next_cursor"`
	}
	if code := l.call("GET", view+"/search?pattern=*&limit=5", nil, &page); code != 200 || page.Next == "" {
		t.Errorf("the first page: %d, %+v", code, page)
	}
	if code := l.call("GET", view+"/tree?path=/&on_demand_scan=true", nil, nil); code >= 300 {
		t.Errorf("ask for a scan: %d", code)
	}
	eventually(t, patience(15*time.Second), "the scan is done and folded", func() bool {
		var jobs struct {
			Jobs []struct {
				ID    string `json:"job_id"`
				State string `json:"state"`
			} `json:"jobs"`
		}
		l.call("GET", view+"/jobs", nil, &jobs)
		if len(jobs.Jobs) == 1 && jobs.Jobs[0].State == "folding" {
			l.call("GET", view+"/jobs/"+jobs.Jobs[0].ID, nil, nil)
			l.tick()
		}
		return len(jobs.Jobs) == 1 && jobs.Jobs[0].State == "done"
	})
	if code := l.call("GET", l.coldQuery()+"/api/v1/views/"+viewID+"/search?pattern=*&limit=5&cursor="+page.Next, nil, nil); code != 200 {
		t.Errorf("the next page: %d", code)
	}
	// An administrator pins a version with rights of his own; the functions read it by that name.
	if r := command(t, nil, "admin", "version", "pin", viewID, "before", "--store", l.store); r.code != 0 {
		t.Errorf("pin a version: exit code %d: %s", r.code, r.stderr)
	}
	for _, path := range []string{"/sessions", "/stats", "/blind-spots", "/suspect-list", "/versions", "/stats?as_of=0", "/stats?as_of=before", "/versions?kept=true",
		"/diff?from=0&to=before", "/log?path=/", "/reports/growth?since=before", "/reports/trend", "/changes?after=before", "/complete?path=/&wait=1"} {
		if code := l.call("GET", view+path, nil, nil); code != 200 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	if code := l.call("GET", l.queryURL+"/", nil, nil); code != 200 {
		t.Errorf("the page of views: %d", code)
	}

	if code := l.call("GET", l.queryURL+"/api/v1/views/nothing/stats", nil, nil); code != http.StatusNotFound {
		t.Errorf("a view that there is not: %d", code)
	}

	// All messages are lost now: the schedule alone finds what is new.
	l.mu.Lock()
	l.every, l.wait = 1, nil
	l.mu.Unlock()
	newWorkload(t, dir, 9).run(50)
	l.healed(reader, dir)

	agent.Stop()
	l.damagedSession()
	stop()
	pollers.Wait()
	if l.got == 0 || l.lost == 0 || l.again == 0 {
		t.Errorf("%d messages, %d lost, %d doubled: the queue did not do its worst", l.got, l.lost, l.again)
	}
	m, _, err := manifest.Load(t.Context(), openStore(t, l.store), viewID)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages, %d lost, %d doubled; version %d of %d segments; memory: ingest %d, query %d, compactor %d MiB", l.got, l.lost, l.again,
		m.Version, m.Counted.Segments, l.ingest.Memory()>>20, l.query.Memory()>>20, l.compactor.Memory()>>20)
	for function, role := range map[string]string{"ingest": "IngestRole", "query": "QueryRole", "compactor": "CompactorRole"} {
		checkRights(t, role, l.asked[function])
	}
	for _, f := range []*lambdatest.Function{l.ingest, l.query, l.compactor} {
		if n := f.Ended(); n != 0 {
			t.Errorf("%d processes of %s have ended", n, f.ARN())
		}
		if strings.Contains(f.Log(), apiKey) || strings.Contains(f.Log(), s3test.SecretKey) {
			t.Errorf("a secret stands in the log of %s", f.ARN())
		}
	}
}

// healed waits until the view is as the tree, with a tick of the schedule every second or so.
func (l *lambda) healed(reader server, dir string) {
	l.t.Helper()
	disk := onDisk(l.t, dir)
	last := time.Now()
	eventually(l.t, patience(25*time.Second), "the view is as the tree", func() bool {
		if time.Since(last) > time.Second {
			l.tick()
			last = time.Now()
		}
		return reader.unlike(l.t, disk) == ""
	})
}

// coldQuery is the query function with new processes only, which know nothing yet.
func (l *lambda) coldQuery() string { return l.query.Again().URL().URL }

// damagedSession has a session that sends the same segment twice, which is fine, and one that sends a damaged one past
// ingest, which the compactor ends.
func (l *lambda) damagedSession() {
	l.t.Helper()
	var s struct {
		ID string `json:"session_id"`
	}
	pipe := l.ingestURL + "/api/v1/pipe/"
	if code := l.call("POST", pipe+"session/?view="+viewID, []byte(`{"task_id":"b:p","session_timeout_seconds":600}`), &s); code != 200 {
		l.t.Fatalf("create a session: %d", code)
	}
	var segment bytes.Buffer
	w, err := event.NewWriter(&segment, event.Header{View: viewID, Session: s.ID, Agent: "b", Source: "fs://b/", CreatedAt: 1, Nonce: "n"})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	for range 2 {
		if code := l.call("PUT", pipe+"session/"+s.ID+"/segments/0?view="+viewID, segment.Bytes(), nil); code != 200 {
			l.t.Errorf("put a segment: %d", code)
		}
	}
	st := openStore(l.t, l.store)
	if _, err := st.Create(l.t.Context(), layout.Segment(viewID, s.ID, 1), []byte("damaged")); err != nil {
		l.t.Fatal(err)
	}
	l.tick()
	m, _, err := manifest.Load(l.t.Context(), st, viewID)
	if err != nil || !m.Sessions[s.ID].Broken {
		l.t.Errorf("the damaged session: %+v, %v", m.Sessions[s.ID], errors.Join(err))
	}
	if code := l.call("POST", pipe+"session/"+s.ID+"/heartbeat?view="+viewID, []byte(`{}`), nil); code != 419 {
		l.t.Errorf("a heartbeat of the damaged session: %d", code)
	}
}
