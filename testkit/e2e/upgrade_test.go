//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// earlierBuild is a program of before: make upgrade-check builds one.
func earlierBuild(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("FUSTOR_EARLIER")
	if binary == "" {
		t.Skip("make upgrade-check runs this: it needs FUSTOR_EARLIER, a fustor that an earlier commit built")
	}
	return binary
}

// TestUpgrade replaces the parts of an earlier build one by one, in the order of docs/upgrading.md, while agents go on reporting: after each
// step the view equals the tree, and what the earlier parts that are left cannot do they say.
func TestUpgrade(t *testing.T) {
	before := earlierBuild(t)
	dir := upgradeTree(t)
	storeURL := fileStore(t)
	p := startPartsOf(t, before, storeURL)
	agents := map[string]*process{"through-ingest": p.startAgent(dir, "through-ingest", ""), "to-the-store": p.startAgent(dir, "to-the-store", storeURL)}
	p.equal(t, dir, time.Now(), patience(60*time.Second))
	check := func(step string) {
		t.Helper()
		t.Log(step)
		alter(t, dir, step)
		p.equal(t, dir, time.Now(), patience(60*time.Second))
	}
	check("everything is of the earlier build")

	oldQuery := server{"--url", p.queryURL, "--api-key", apiKey, "--view", viewID}
	p.binary = ""
	p.query, p.queryURL = p.startServer("query") // beside the one before
	p.server = server{"--url", p.queryURL, "--api-key", apiKey, "--view", viewID}
	check("the reader is new")
	if d := oldQuery.unlike(t, onDisk(t, dir)); d != "" {
		t.Errorf("the reader of before still reads what its compactor writes: %s", d)
	}

	oldCompact := p.compact
	oldCompact.Stop()
	p.compact = p.startCompact()
	check("the compactor is new")
	readsOrRefuses(t, oldQuery, onDisk(t, dir))

	upgrade(p.ingest)
	p.ingest.await("to serve", func() bool { return answers(p.ingestURL) })
	check("ingest is new")

	now := strings.Fields(command(t, nil, "version").stdout)[1]
	for name, a := range agents {
		upgrade(a)
		check("agent " + name + " is new")
		eventually(t, patience(30*time.Second), "agent "+name+" to be named with its version", func() bool { return p.sessionsOf(t)[name].Status.Version == now })
	}

	// A compactor of before that somebody forgot does no harm: it folds on, or refuses by name what it does not know.
	p.compact.Stop()
	forgotten := startProcess(t, &process{t: t, name: "compact", binary: before, env: p.env, args: oldCompact.args})
	alter(t, dir, "forgotten")
	refused := regexp.MustCompile(`(?i)version|schema`)
	forgotten.await("to fold, or to say what it does not know", func() bool {
		return p.unlike(t, onDisk(t, dir)) == "" || refused.MatchString(forgotten.log.String())
	})
	forgotten.Stop()
	p.compact.Restart()
	check("and the new one goes on")
}

// TestEarlierServers: a new agent, and new commands, with servers of before.
func TestEarlierServers(t *testing.T) {
	before := earlierBuild(t)
	dir := upgradeTree(t)
	storeURL := fileStore(t)
	p := startPartsOf(t, before, storeURL)
	p.binary = ""
	p.startAgent(dir, "through-ingest", "")
	p.startAgent(dir, "to-the-store", storeURL)
	p.equal(t, dir, time.Now(), patience(60*time.Second))
	alter(t, dir, "changed")
	p.equal(t, dir, time.Now(), patience(60*time.Second))
	for _, args := range [][]string{{"ls", "/"}, {"stat", "/a"}, {"search", "changed"}, {"sessions"}, {"blind-spots"}, {"report", "histogram"}, {"du", "/"}} {
		if r := p.ask(t, args...); r.code != 0 {
			t.Errorf("fustor %s: %d %s", strings.Join(args, " "), r.code, r.stderr)
		}
	}
}

func upgradeTree(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"a/1", "a/b/2", "c/3", "c/a name with\nlines"} {
		alter(t, dir, name)
	}
	return dir
}

// alter writes a file, moves a directory and removes an entry.
func alter(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644),
		os.MkdirAll(filepath.Join(dir, "moves", "here"), 0o755), os.WriteFile(filepath.Join(dir, "moves", "here", "file"), []byte(name), 0o644),
		os.Rename(filepath.Join(dir, "moves"), filepath.Join(dir, "moved-"+filepath.Base(name))),
		os.RemoveAll(filepath.Join(dir, "moved-"+filepath.Base(name), "here", "file")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// upgrade starts a process again as the build under test, where it was: the same address, the same state.
func upgrade(p *process) {
	p.t.Helper()
	p.Stop()
	p.binary = ""
	p.Restart()
}

// readsOrRefuses: a reader answers with the tree as it is, or says that it does not know a version of the layers.
func readsOrRefuses(t *testing.T, s server, disk tree) {
	t.Helper()
	unknown := regexp.MustCompile(`(?i)version|schema`)
	eventually(t, patience(20*time.Second), "the reader of before to read or refuse", func() bool {
		r := s.ask(t, "find", "/", "--json")
		if r.code != 0 {
			t.Logf("the reader of before refuses what the new compactor writes: %s", strings.TrimSpace(r.stderr))
			return unknown.MatchString(r.stderr)
		}
		return s.unlike(t, disk) == ""
	})
}
