//go:build unix

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/internal/viewconfig"
)

// up is a running `fustor up` and what it works on.
type up struct {
	*process
	dir, data string
	server
}

// startUp runs `fustor up dir` on a data directory and waits until it serves.
func startUp(t testing.TB, dir, data string) *up {
	t.Helper()
	u := &up{dir: dir, data: data, server: server{"--data", data}}
	u.process = start(t, nil, "up", dir, "--data", data, "--listen", "127.0.0.1:0")
	u.serves()
	return u
}

// serves waits until this very process says where it is.
func (u *up) serves() {
	u.t.Helper()
	u.await("to write up.json", func() bool {
		var said struct {
			PID int    `json:"pid"`
			URL string `json:"url"`
		}
		b, err := os.ReadFile(filepath.Join(u.data, "up.json"))
		return err == nil && json.Unmarshal(b, &said) == nil && said.PID == u.cmd.Process.Pid && answers(said.URL)
	})
}

// answers reports whether a server is there.
func answers(url string) bool {
	response, err := http.Get(url + "/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

const (
	viewID = "e2e"
	apiKey = "fustor_e2e-test-key-0123456789"
)

// parts is what four processes share: a store, a view, a key.
type parts struct {
	t     testing.TB
	store string   // its URL
	env   []string // credentials and the key
	flags []string // of all processes, beside what each needs

	binary string // of the processes that are started from now on; empty: fustor

	ingest, compact, query *process
	ingestURL, queryURL    string
	server
}

var readyURL = regexp.MustCompile(`(?:msg="\w+ is ready".* url="?|"msg":"\w+ is ready".*"url":")([^ "\n]+)`)

// startParts starts an ingest, a compactor and a query handler on a store, and waits until they serve.
func startParts(t testing.TB, storeURL string, flags ...string) *parts {
	t.Helper()
	return startPartsOf(t, "", storeURL, flags...)
}

// startPartsOf starts those of another build.
func startPartsOf(t testing.TB, binary, storeURL string, flags ...string) *parts {
	t.Helper()
	p := &parts{t: t, store: storeURL, env: []string{"FUSTOR_API_KEY=" + apiKey}, flags: flags, binary: binary}
	p.known(storeURL)
	p.ingest, p.ingestURL = p.startServer("ingest")
	p.query, p.queryURL = p.startServer("query")
	p.compact = p.startCompact()
	p.server = server{"--url", p.queryURL, "--api-key", apiKey, "--view", viewID}
	return p
}

// known has the processes find noted that the store, as this URL reaches it, keeps the rules. To find out takes seconds and a
// processor, in each test and for each way to a store; other tests are about that (TestBadStore, TestStoreWithoutConditions,
// TestCompose, TestLambda, TestUp…, and those of internal/store/doctor).
func (p *parts) known(storeURL string) {
	p.t.Helper()
	st := openStore(p.t, p.store)
	marker := struct {
		Passed map[string]map[string]any `json:"passed"`
		Nonce  string                    `json:"nonce"`
	}{Passed: map[string]map[string]any{}, Nonce: rand.Text()}
	o, err := st.Get(p.t.Context(), doctor.Marker)
	if err == nil {
		err = json.Unmarshal(o.Body, &marker)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		p.t.Fatal(err)
	}
	marker.Passed[openStore(p.t, storeURL).String()] = map[string]any{"version": 1 << 20, "at": time.Now()}
	body, err := json.Marshal(marker)
	if err == nil {
		_, err = st.Put(p.t.Context(), doctor.Marker, body)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// startServer starts a server on a free port, which it keeps when it is restarted.
func (p *parts) startServer(name string) (*process, string) {
	p.t.Helper()
	s := p.start(slices.Concat([]string{name}, p.flags, []string{"--store", p.store, "--listen", "127.0.0.1:0"})...)
	address := s.says(readyURL, 0)
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	s.args[len(s.args)-1] = u.Host
	return s, address
}

func (p *parts) startCompact() *process {
	p.t.Helper()
	c := p.start(append([]string{"compact", "--follow", "--store", p.store, "--view", viewID}, p.flags...)...)
	c.says(regexp.MustCompile("compactor is ready"), 0)
	return c
}

// startAgent starts an agent that puts segments into the store itself, or through ingest if that is empty.
func (p *parts) startAgent(dir, id, store string) *process {
	p.t.Helper()
	args := []string{"agent", dir, "--ingest", p.ingestURL, "--view", viewID, "--agent-id", id,
		"--state", filepath.Join(p.t.TempDir(), "session.json")}
	if store != "" {
		if store != p.store { // which may be away by now
			p.known(store)
		}
		args = append(args, "--store", store)
	}
	return p.start(append(args, p.flags...)...)
}

// start starts a process with the credentials and the key.
func (p *parts) start(args ...string) *process {
	p.t.Helper()
	return startProcess(p.t, &process{t: p.t, name: args[0], args: args, env: p.env, binary: p.binary})
}

// objects opens the store as the tests' own. It is not counted or cached.
func (p *parts) objects() store.Store {
	p.t.Helper()
	return openStore(p.t, p.store)
}

func openStore(t testing.TB, url string) store.Store {
	t.Helper()
	s, err := open.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fileStore is the URL of a new store in a directory, in memory where that is possible: nearly all its writes wait for a disk
// otherwise, and with other tests on that for them.
func fileStore(t testing.TB) string { return "file://" + inMemory(t) }

// inMemory is a directory in memory that is gone with the test, or on disk where there is no room for it.
func inMemory(t testing.TB) string {
	t.Helper()
	const room = 2 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err != nil || uint64(fs.Bavail)*uint64(fs.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "fustor-e2e-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// setSessionTimeout has the view's sessions time out earlier than by default, so that a test need not wait. It must be
// called before anything runs.
func setSessionTimeout(t testing.TB, storeURL string, timeout time.Duration) {
	t.Helper()
	c := viewconfig.Default(viewID)
	c.SessionTimeoutSeconds = timeout.Seconds()
	if err := viewconfig.Save(t.Context(), openStore(t, storeURL), c); err != nil {
		t.Fatal(err)
	}
}

// head is the view's current version.
func (p *parts) head() *manifest.Manifest {
	p.t.Helper()
	m, _, err := manifest.Load(p.t.Context(), p.objects(), viewID)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// segments are the keys of all segments of the view.
func (p *parts) segments() []string {
	p.t.Helper()
	return keysOf(p.t, p.objects(), layout.AllSegments(viewID))
}

func keysOf(t testing.TB, s store.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for after := ""; ; {
		page, err := s.List(t.Context(), prefix, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			keys = append(keys, item.Key)
		}
		if len(page.Items) == 0 || !page.More {
			return keys
		}
		after = keys[len(keys)-1]
	}
}

// session is a live session as the reading side tells of it.
type session struct {
	ID     string  `json:"session_id"`
	Agent  string  `json:"agent_id"`
	Source string  `json:"source_uri"`
	Role   string  `json:"role"`
	Term   *uint64 `json:"term"`
}

// sessions asks for the view's sessions, by agent.
func (p *parts) sessions() map[string]session {
	p.t.Helper()
	var answer struct {
		Active []session `json:"active_sessions"`
	}
	if err := getJSON(p.t.Context(), p.queryURL+"/api/v1/views/"+viewID+"/sessions", &answer); err != nil {
		p.t.Fatal(err)
	}
	byAgent := map[string]session{}
	for _, s := range answer.Active {
		byAgent[s.Agent] = s
	}
	return byAgent
}

func getJSON(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-API-Key", apiKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return json.Unmarshal(body, into)
}

// awaitRole waits until the agent's session has this role, and the term if it leads.
func (p *parts) awaitRole(agent, role string, term uint64, within time.Duration) session {
	p.t.Helper()
	var s session
	eventually(p.t, within, fmt.Sprintf("agent %s is %s (term %d)", agent, role, term), func() bool {
		s = p.sessions()[agent]
		return s.Role == role && (role != "leader" || s.Term != nil && *s.Term == term)
	})
	return s
}
