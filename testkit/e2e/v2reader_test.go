//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/v2api"
)

// v2reader asks as a client of Fustor V2 does.
type v2reader struct {
	t         testing.TB
	base, key string
}

// get asks a call, with parameters name, value, …, for an answer with that status.
func (c v2reader) get(call string, status int, into any, params ...string) {
	c.t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+call+"?"+q.Encode(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", c.key)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == status {
		err = json.Unmarshal(body, into)
	}
	if err != nil || response.StatusCode != status {
		c.t.Fatalf("%s: %d %.300s: %v", call, response.StatusCode, body, err)
	}
}

// TestV2Reader: a client of Fustor V2 whose base URL is that of `fustor up` with /v2 finds a real tree as it is on disk.
func TestV2Reader(t *testing.T) {
	t.Parallel()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "src", "net")
	u := startUp(t, dir, t.TempDir())
	eventually(t, patience(2*time.Minute), "the first snapshot is folded", func() bool {
		_, err := u.du(t)
		return err == nil
	})
	var up struct {
		URL  string `json:"url"`
		View string `json:"view"`
	}
	said, err := os.ReadFile(filepath.Join(u.data, "up.json"))
	if err == nil {
		err = json.Unmarshal(said, &up)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(u.data, "api-key"))
	if err != nil {
		t.Fatal(err)
	}
	c := v2reader{t, up.URL + "/v2/api/v1", strings.TrimSpace(string(key))}
	want, tests := map[string]string{}, []string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below := "/" + strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		kind := "file"
		if d.IsDir() {
			kind = "directory"
		} else if strings.Contains(below, "http") && strings.HasSuffix(below, "_test.go") {
			tests = append(tests, below)
		}
		want[below] = fmt.Sprint(kind, " ", info.Size(), " ", info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var tree v2api.Node
	c.get("/views/"+up.View+"/tree", 200, &tree)
	have := map[string]string{}
	var walk func(n v2api.Node)
	walk = func(n v2api.Node) {
		have[string(n.Path)] = fmt.Sprint(n.ContentType, " ", *n.Size, " ", int64(*n.Modified))
		if (n.ContentType == "directory") != (n.Children != nil) {
			t.Errorf("the children of %s, a %s: %v", n.Path, n.ContentType, n.Children)
		}
		for _, below := range n.Children {
			walk(below)
		}
	}
	walk(tree)
	for path, is := range want {
		if have[path] != is {
			t.Errorf("%s is %q, not %q", path, have[path], is)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d paths, not %d", len(have), len(want))
	}
	var hits []v2api.Node
	c.get("/views/"+up.View+"/search", 200, &hits, "pattern", "*http*_test.go")
	found := []string{}
	for _, n := range hits {
		found = append(found, string(n.Path))
	}
	slices.Sort(found)
	slices.Sort(tests)
	if !slices.Equal(found, tests) || len(tests) == 0 {
		t.Errorf("the search finds %q, not %q", found, tests)
	}
	var stats v2api.Stats
	c.get("/views/"+up.View+"/stats", 200, &stats)
	if stats.Items != int64(len(want)) {
		t.Errorf("%d items, not %d", stats.Items, len(want))
	}
	var sessions v2api.Sessions
	c.get("/views/"+up.View+"/sessions", 200, &sessions)
	var pipes map[string]v2api.Pipe
	c.get("/pipe/pipes", 200, &pipes)
	if sessions.Count != 1 || pipes[up.View].Leader == nil || *pipes[up.View].Leader != sessions.Active[0].ID {
		t.Errorf("sessions %v, pipes %v", sessions, pipes)
	}
	var wrong struct{ Detail string }
	c.get("/views/"+up.View+"/tree", 404, &wrong, "path", "/nothing")
	c.get("/views/"+up.View+"/nothing", 404, &wrong)
	var pending v2api.ScanPending
	c.get("/views/"+up.View+"/tree", 200, &pending, "path", "/nothing", "on_demand_scan", "True")
	eventually(t, patience(time.Minute), "the scan is complete", func() bool {
		var job v2api.Job
		c.get("/views/"+up.View+"/jobs/"+pending.Job, 200, &job)
		return job.Status == v2api.JobCompleted && job.Progress.Percentage == 100
	})
}
