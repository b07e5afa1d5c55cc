package viewconfig

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

func TestDefaults(t *testing.T) {
	c := Default("research")
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if c.SessionTimeout() != 45*time.Second || !c.AllowConcurrentPush || c.Hot() != time.Minute || c.Staleness() != 2*time.Minute || c.TombstoneTTL() != time.Hour || c.Live {
		t.Errorf("%+v", c)
	}
}

func TestDecode(t *testing.T) {
	c, err := Decode("x", "research", []byte(`{"view_id":"research","hot_s":1.5,"allow_concurrent_push":false,"audit_interval_sec":0,"mounts":["/srv/lab","/mnt/lab"]}`))
	if err != nil || len(c.Mounts) != 2 || c.Hot() != 1500*time.Millisecond || c.AllowConcurrentPush || c.AuditIntervalSeconds != 0 || c.SessionTimeoutSeconds != 45 {
		t.Errorf("%+v, %v", c, err)
	}
	for body, says := range map[string]string{
		``: "EOF", `{`: "EOF", `[]`: "array", `{"hots":1}`: "hots", `{"hot_s":"1"}`: "string", `{"hot_s":-1}`: "hot_s", `{"hot_s":1e9}`: "hot_s",
		`{"members":["a b"]}`: "a b", `{"members":["["]}`: "[", `{"members":["research"]}`: "itself", `{"members":["a","a"]}`: "twice",
		`{"members":["A*",""]}`: `""`, `{"members":"a"}`: "string",
		`{"mounts":["srv/lab"]}`: "srv/lab", `{"mounts":["/srv/lab/"]}`: "/srv/lab/", `{"mounts":["/"]}`: "absolute path of a mount", `{"mounts":["/a\u0001"]}`: "mount", `{"mounts":["/a","/a"]}`: "twice",
		`{"mounts":["/a"],"members":["x"]}`: "a forest has no mounts",
		`{"session_timeout_seconds":0}`:     "session_timeout_seconds", `{"audit_interval_sec":0.1}`: "audit_interval_sec", `{"view_id":"other"}`: "other", `{}{}`: "follows",
	} {
		if _, err := Decode("config/x", "research", []byte(body)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "config/x") {
			t.Errorf("%s: %v; want a word on %q", body, err, says)
		}
	}
}

func TestMembers(t *testing.T) {
	c, err := Decode("x", "all", []byte(`{"view_id":"all","members":["nfs01","scratch-*"]}`))
	if err != nil || !c.IsForest() || len(c.Members) != 2 || Default("all").IsForest() {
		t.Fatalf("%+v, %v", c, err)
	}
	for glob, views := range map[string][2]string{"scratch-*": {"scratch-1", "scratch"}, "nfs0?": {"nfs01", "nfs010"}, "[a-c]": {"b", "d"}, "*": {"x", ""}} {
		if !IsGlob(glob) || IsGlob(views[0]) || !MatchesGlob(glob, views[0]) || MatchesGlob(glob, views[1]) && views[1] != "" {
			t.Errorf("%s does not tell %v apart", glob, views)
		}
	}
}

func TestLoaderFollowsTheStore(t *testing.T) {
	ctx := context.Background()
	dir, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	counted := store.Count(dir)
	now := time.Unix(0, 0)
	l := NewLoader(counted, func() time.Time { return now })
	want := func(timeout float64, reads uint64) {
		t.Helper()
		before := counted.Counts().Get
		for range 3 {
			if c, err := l.Load(ctx, "research"); err != nil || c.SessionTimeoutSeconds != timeout || c.View != "research" {
				t.Fatalf("%+v, %v", c, err)
			}
		}
		if n := counted.Counts().Get - before; n != reads {
			t.Errorf("%d reads, want %d", n, reads)
		}
	}
	want(45, 1)
	c := Default("research")
	c.SessionTimeoutSeconds = 7
	if err := Save(ctx, counted, c); err != nil {
		t.Fatal(err)
	}
	want(45, 0)
	now = now.Add(KnownFor)
	want(7, 1)
	now = now.Add(KnownFor)
	want(7, 1) // unchanged
	if _, err := dir.Put(ctx, layout.ViewConfig("research"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	now = now.Add(KnownFor)
	if _, err := l.Load(ctx, "research"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a damaged configuration: %v", err)
	}
	c.View = "../x"
	if err := Save(ctx, counted, c); err == nil {
		t.Error("a view with an impossible name was saved")
	}
}
