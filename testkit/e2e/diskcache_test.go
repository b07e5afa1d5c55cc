//go:build unix

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestQueryFindsItsCacheAgain kills a query that has a cache on disk. The next one with that cache says the same, and reads no layer in the
// store; a second one beside it is told that the directory is taken.
func TestQueryFindsItsCacheAgain(t *testing.T) {
	t.Parallel()
	dir, cache := inMemory(t), filepath.Join(t.TempDir(), "cache")
	p := startParts(t, "file://"+inMemory(t))
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", i)), make([]byte, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	agent := p.startAgent(dir, "a", p.store)
	p.equal(t, dir, time.Now(), patience(20*time.Second))
	agent.Stop()
	p.compact.Stop()

	with := []string{"query", "--store", p.store, "--open-probes", "--cache", cache, "--cache-size", "20M", "--listen"}
	q := start(t, p.env, append(with, "127.0.0.1:0")...)
	p.queryURL = q.says(readyURL, 0)
	at, err := url.Parse(p.queryURL)
	if err != nil {
		t.Fatal(err)
	}
	q.args[len(q.args)-1] = at.Host
	p.server = server{"--url", p.queryURL, "--api-key", apiKey, "--view", viewID}
	figure := func(name string) (n float64) {
		t.Helper()
		text, _ := scrape(t, p.queryURL+"/metrics")
		found := regexp.MustCompile(`(?m)^fustor_query_disk_cache_` + name + ` (\S+)$`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s in %s", name, text)
		}
		if _, err := fmt.Sscan(found[1], &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	answers := func() string {
		t.Helper()
		var all strings.Builder
		for _, question := range [][]string{{"stat", "/file-42", "--json"}, {"search", "file-7", "--json"}, {"du", "/", "--json"}} {
			r := p.ask(t, question...)
			if r.code != 0 {
				t.Fatalf("%q: %s", question, r.stderr)
			}
			all.WriteString(r.stdout)
		}
		return all.String()
	}
	want := answers()
	if figure("misses_total") == 0 {
		t.Error("the first answers came from an empty cache")
	}
	q.await("to have its cache written", func() bool { return figure("bytes") > 0 })
	q.Kill()
	said := len(q.log.String())
	q.Restart()
	q.says(readyURL, said)
	if got := answers(); got != want {
		t.Errorf("after a restart the answers are %s, before they were %s", got, want)
	}
	if hits, misses := figure("hits_total"), figure("misses_total"); hits == 0 || misses > 0 {
		t.Errorf("after a restart the cache had %v parts and lacked %v", hits, misses)
	}
	r := command(t, p.env, append(with, "127.0.0.1:0")...)
	if r.code != 1 || !strings.Contains(r.stderr, "another process uses it: give each server a directory of its own") {
		t.Errorf("a second server with the same cache: exit code %d, %s", r.code, r.stderr)
	}
}
