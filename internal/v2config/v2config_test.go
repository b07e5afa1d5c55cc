package v2config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func load(t *testing.T, paths ...string) *Config {
	t.Helper()
	c, err := Load(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each kind of file is read, the deprecated ones too, and each thing that is not taken over has its place.
func TestFullDirectory(t *testing.T) {
	c := load(t, "testdata/full")
	lab := c.Source("lab")
	if c.AgentID.Value != "nfs01" || lab.Path.Value != "/srv/lab" || lab.Workers.Value != 12 || len(lab.Exclude) != 2 || lab.Exclude[1].Value != "scratch" {
		t.Errorf("agent %q, source %+v", c.AgentID.Value, lab)
	}
	if s := c.Source("archive"); s.Path.Value != "/srv/archive" || s.Disabled || s.Workers.Value != 6 {
		t.Errorf("%+v", s)
	}
	if s := c.Sender("old-gateway"); s.URL.Value != "http://old.example.org:8102" || s.Key.Value != "fk_home_short" || s.View.Value != "home" {
		t.Errorf("%+v", s)
	}
	var pipes []string
	for _, p := range c.AgentPipes {
		pipes = append(pipes, fmt.Sprint(p.ID, " ", p.Source.Value, " ", p.Sender.Value, " ", p.Disabled))
	}
	slices.Sort(pipes)
	if got := strings.Join(pipes, "\n"); got != `archive-nightly archive second true
lab-live lab gateway false
lab-shown lab screen false
ledger ledger gateway false
sync-home home old-gateway false` {
		t.Errorf("pipes:\n%s", got)
	}
	if v := c.View("research"); !v.Live.Value || v.Hot.Value != 600 {
		t.Errorf("%+v", v)
	}
	for sender, want := range map[string]string{"gateway": "lab", "second": "research", "old-gateway": "home"} {
		if got, ok := c.FedBy(c.Sender(sender)); !ok || got != want {
			t.Errorf("sender %s feeds %q, want %q", sender, got, want)
		}
	}
	var feeds []string
	for _, f := range c.Feeds() {
		var trees []string
		for _, tree := range f.Trees {
			trees = append(trees, tree.ID)
		}
		feeds = append(feeds, fmt.Sprint(f.Key.Value, " ", trees, " ", f.Reads))
	}
	if got := strings.Join(feeds, "\n"); got != `fk_lab_4c1f86c25f1a4b0e9d3c [lab Copies] false
fk_north_90f2d06c8cfd4d21a7bb [north] true
fk_south_3ad20d6f4b5d4b5e8e21 [south] true
fk_archive_72b0d81ee9914f62 [research] true
fk_home_short [home] true` {
		t.Errorf("feeds:\n%s", got)
	}
	text := ""
	for _, w := range c.Warnings {
		text += w.String() + "\n"
	}
	for _, want := range []string{
		"pushers-config.yaml:1: pushers-config.yaml is deprecated in V2, and replaced by senders-config.yaml",
		"pushers-config.yaml:1: pushers is deprecated in V2, and replaced by senders",
		"syncs-config/sync-home.yaml:1: syncs-config/ is deprecated in V2, and replaced by agent-pipes-config/",
		"syncs-config/sync-home.yaml:3: the field pusher is deprecated in V2, and replaced by sender",
		"datastores-config.yaml:1: datastores-config.yaml is deprecated",
		"the field endpoint is deprecated in V2, and replaced by uri",
		"the field pipeline_id is deprecated in V2, and replaced by pipe_id",
		"agent-config/default.yaml:11: source lab: throttle_interval_sec has no counterpart",
		`sources-config.yaml:7: source archive: V2 has no field "colour"`,
		"docker-compose.yaml:1: cannot tell what of Fustor V2 this file configures: it is left out",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%d warnings say %q", strings.Count(text, want), want)
		}
	}
	if strings.Contains(text, "fk_") || strings.Contains(text, "hidden") || strings.Contains(text, "logs/") {
		t.Errorf("a secret, or another directory, is in\n%s", text)
	}
	if t.Failed() {
		t.Log(text)
	}
}

const good = `
agent_id: a
sources:
  s: {driver: fs, uri: /s, disabled: false, driver_params: {max_scan_workers: 4, exclude: [x]}}
senders:
  d: {driver: fusion, uri: "http://h:1", credential: {key: k}, disabled: false, driver_params: {view_id: v}}
pipes:
  p: {source: s, sender: d, disabled: false, audit_interval_sec: 1, sentinel_interval_sec: 1, session_timeout_seconds: 1, fields_mapping: [{to: a, source: [path]}]}
  f: {receiver: r, views: [v], session_timeout_seconds: 1, allow_concurrent_push: true, audit_interval_sec: 1, sentinel_interval_sec: 1}
receivers:
  r: {driver: http, port: 1, session_timeout_seconds: 1, allow_concurrent_push: true, api_keys: [{key: k, pipe_id: f}]}
views:
  v: {driver: fs, disabled: false, live_mode: false, api_keys: [q], driver_params: {hot_file_threshold: 1, members: [v], consistency: {tombstone_ttl_seconds: 1}}}
`

// Every field that is taken, wrong in turn, is a problem at its place, and no key is in what is said of it.
func TestEveryFieldWrong(t *testing.T) {
	if _, err := Parse(File{Path: "agent-config/default.yaml", Body: []byte(good)}); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"agent_id: a", "agent_id: [a]"}, {"s: {driver: fs, uri: /s,", "s: [driver],\n  t: {"}, {"driver: fs, uri: /s", "driver: [fs], uri: /s"}, {"uri: /s", "uri: s"},
		{"uri: /s", "uri: {}"}, {"uri: /s", "uri: ${ROOT}"}, {"uri: /s, ", ""}, {"disabled: false, driver_params: {max", "disabled: 7, driver_params: {max"},
		{"max_scan_workers: 4", "max_scan_workers: many"}, {"max_scan_workers: 4", "max_scan_workers: 0"}, {"exclude: [x]", "exclude: [[x]]"},
		{"{max_scan_workers: 4, exclude: [x]}", "3"}, {`uri: "http://h:1"`, "uri: h"}, {`uri: "http://h:1"`, "uri: 'http://u:secret@h'"}, {`uri: "http://h:1", `, ""},
		{"credential: {key: k}", "credential: k"}, {"key: k}, disabled", "key: [k]}, disabled"}, {"key: k}, disabled", "key: 'two words'}, disabled"}, {"view_id: v", "view_id: []"},
		{"source: s,", "source: nobody,"}, {"sender: d,", "sender: nobody,"}, {"source: s, sender: d", "source: s"}, {"audit_interval_sec: 1", "audit_interval_sec: often"},
		{"sentinel_interval_sec: 1", "sentinel_interval_sec: -1"}, {"session_timeout_seconds: 1", "session_timeout_seconds: .nan"}, {"fields_mapping: [{to: a, source: [path]}]", "fields_mapping: a"},
		{"[{to: a, source: [path]}]", "[{source: [path]}]"}, {"[{to: a, source: [path]}]", "[{to: a}]"}, {"receiver: r,", "receiver: nobody,"}, {"views: [v]", "views: [nobody]"},
		{"views: [v]", "views: {v: 1}"}, {"port: 1", "port: 99999"}, {"api_keys: [{key: k, pipe_id: f}]", "api_keys: 3"}, {"pipe_id: f", "pipe_id: nobody"}, {"{key: k, pipe_id: f}", "{key: k}"},
		{"allow_concurrent_push: true, api", "allow_concurrent_push: maybe, api"}, {"live_mode: false", "live_mode: 3"}, {"api_keys: [q]", "api_keys: q"}, {"api_keys: [q]", "api_keys: [[q]]"},
		{"hot_file_threshold: 1", "hot_file_threshold: {}"}, {"members: [v]", "members: [nobody]"}, {"members: [v]", "members: v"}, {"tombstone_ttl_seconds: 1", "tombstone_ttl_seconds: x"},
		{"agent_id: a", "agent_id: a\nagent_id: b"}, {"sources:", "sources: 3\nmore:"}, {"agent_id: a", "agent_id: *nowhere"}, {"agent_id: a", "&x : [*x"},
		{"s: {driver: fs, uri: /s,", "s: &s {<<: *s, driver: fs, uri: /s,"}, {"s: {driver: fs,", "'${S}': {driver: fs,"},
	} {
		body := strings.Replace(good, change[0], change[1], 1)
		if body == good {
			t.Fatalf("nothing is replaced by %q", change)
		}
		_, err := Parse(File{Path: "agent-config/default.yaml", Body: []byte(body)})
		var e *Error
		switch {
		case !errors.As(err, &e):
			t.Errorf("%s: %v", change[1], err)
		case strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "two words"):
			t.Errorf("a secret is in %q", err)
		case e.Problems[0].File != "agent-config/default.yaml" || e.Problems[0].Line < 1:
			t.Errorf("%s: %+v", change[1], e.Problems)
		}
	}
}

// What V2 takes, though it looks wrong.
func TestWhatV2Takes(t *testing.T) {
	for name, body := range map[string]string{
		"YAML 1.1's words":      strings.ReplaceAll(good, "disabled: false", "disabled: Off"),
		"a number as a text":    strings.ReplaceAll(good, "audit_interval_sec: 1", "audit_interval_sec: '600.5'"),
		"nothing said":          strings.ReplaceAll(good, "driver_params: {view_id: v}", "driver_params:"),
		"an empty section":      good + "syncs:\n",
		"a merged mapping":      strings.Replace(good, "s: {driver: fs, uri: /s,", "base: &b {driver: fs, uri: /b}\n  s: {<<: *b,", 1),
		"merged twice":          strings.Replace(good, "s: {driver: fs, uri: /s,", "base: &b {driver: fs, uri: /b}\n  c: &c {driver: fs, uri: /c}\n  s: {<<: [*b, *c],", 1),
		"keys as a mapping":     strings.Replace(good, "api_keys: [{key: k, pipe_id: f}]", "api_keys: {k: {role: admin, view_mappings: [v]}}", 1),
		"keys alone":            strings.Replace(good, "api_keys: [{key: k, pipe_id: f}]", "api_keys: [k]", 1) + "  r: {driver: fs}\n",
		"a mark of byte order":  "\ufeff" + strings.TrimPrefix(good, "\n"),
		"lines ending as CR LF": strings.ReplaceAll(good, "\n", "\r\n"),
	} {
		if c, err := Parse(File{Path: "agent-config/default.yaml", Body: []byte(body)}); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.AgentID.Value != "a" || len(c.Feeds()) != 1 || c.Feeds()[0].Trees == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// A key of the environment keeps its variable's name.
func TestPlaceholders(t *testing.T) {
	c, err := Parse(File{Path: "agent-config/default.yaml", Body: []byte(strings.ReplaceAll(good, "key: k", "key: '${API_KEY}'"))})
	if err != nil {
		t.Fatal(err)
	}
	if k := c.Sender("d").Key; k.Value != "" || k.Variable != "API_KEY" || !k.Given() {
		t.Errorf("%+v", k)
	}
	if view, ok := c.FedBy(c.Sender("d")); view != "v" || !ok {
		t.Errorf("it feeds %q", view)
	}
}

// laughs is a file whose merges would come to 9^9 mappings.
func laughs() string {
	body := "l0: &l0 {driver: fs}\n"
	for i := 1; i <= 9; i++ {
		from := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i-1), 9), ", ")
		body += fmt.Sprintf("l%d: &l%d {<<: [%s]}\n", i, i, from)
	}
	return body + "sources: {s: *l9}\n"
}

func TestMergesAreBounded(t *testing.T) {
	var e *Error
	if _, err := Parse(File{Path: "agent-config/x.yaml", Body: []byte(laughs())}); !errors.As(err, &e) {
		t.Error(err)
	}
}

func TestNothingThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrNothing) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "no")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	for name, body := range map[string]string{"sources-config.yaml": "", "agent.txt": "hello", "x.yaml": "a: 1", "y.yaml": "\x00\x01\xff", "z.yaml": "[1, 2]"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		var e *Error
		if _, err := Load(path); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	locked := filepath.Join(dir, "locked.yaml")
	if err := os.WriteFile(locked, []byte(good), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(locked); os.Getuid() != 0 && !errors.Is(err, os.ErrPermission) {
		t.Errorf("an unreadable file: %v", err)
	}
}

// A directory and a file in it are read once.
func TestGivenTwice(t *testing.T) {
	c := load(t, "testdata/full", "testdata/full/pushers-config.yaml")
	for _, w := range c.Warnings {
		if strings.Contains(w.Text, "defined again") {
			t.Error(w)
		}
	}
}

func TestRecognize(t *testing.T) {
	files, err := filepath.Glob("testdata/full/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob("testdata/full/*.yaml")
	for _, path := range append(files, more...) {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := !strings.Contains(path, "/logs/") && !strings.Contains(path, "docker"); Recognize(body) != want {
			t.Errorf("%s is recognized: %t", path, !want)
		}
	}
	for _, ours := range []string{
		"sources:\n  a: {path: /a}\nsenders:\n  b: {type: http, ingest: 'http://x'}\npipes:\n  c: {source: a, sender: b, view: v}\n",
		"sources: {a: {paht: /a}}\nsenders: 3\npipes:\n", "", "x", "a: 1",
	} {
		if Recognize([]byte(ours)) {
			t.Errorf("it is recognized:\n%s", ours)
		}
	}
}

// Whatever a file holds, reading it ends, and what is told fits a line.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/full/*/*.yaml")
	more, _ := filepath.Glob("testdata/full/*.yaml")
	for _, path := range append(files, more...) {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), body)
	}
	f.Add("agent-config/x.yaml", []byte(good))
	f.Add("agent-config/x.yaml", []byte("a: &a {<<: *a, sources: *a}\nsources: *a\npipes: *a\n"))
	f.Add("agent-config/x.yaml", []byte(laughs()))
	f.Add("views-config/x.yaml", []byte("&v [*v, *v]"))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		Recognize(body)
		c, err := Parse(File{Path: name, Body: body})
		var e *Error
		if errors.As(err, &e) {
			for _, p := range e.Problems {
				if strings.ContainsAny(p.Text, "\n\r\x1b") || len(p.Text) > 1000 {
					t.Fatalf("a problem of several lines: %q", p.Text)
				}
			}
		}
		if err != nil {
			return
		}
		for _, w := range c.Warnings {
			if strings.ContainsAny(w.Text, "\n\r\x1b") || len(w.Text) > 1000 {
				t.Fatalf("a warning of several lines: %q", w.Text)
			}
		}
		c.Feeds()
		for _, s := range c.Senders {
			c.FedBy(s)
		}
	})
}
