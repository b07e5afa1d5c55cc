package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fustor/fustor/agent/openapi"
	"github.com/fustor/fustor/agent/record"
)

func parse(t *testing.T, text string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Parse(filepath.Join(dir, "agent.yaml"), []byte(text), func(name string) string {
		return map[string]string{"KEY": "from-env"}[name]
	})
}

const whole = `
agent_id: nfs07
state: /var/lib/fustor
metrics: 127.0.0.1:9464
sources:
  archive: &archive
    path: /mnt/archive
    exclude: ["*.tmp", 'cache/**']
    default_excludes: false
    cross_filesystems: true
    atimes: false
    workers: 8
    scan_rate: 5000
  home: {path: /home}
  again: *archive
senders:
  main: {type: upload, ingest: "https://ingest:8081", api_key_file: key}
  direct: {type: store, ingest: "http://i:1", store: "s3://bucket/x", api_key_env: KEY}
  show: {type: echo}
pipes:
  archive: {source: archive, sender: main, view: archive, task: t1, spool_size: 10GiB}
  home: {source: home, senders: [main, direct], view: home, spool_size: 0}
  shown:
    source: again
    sender: show
    view: shown
    fields_mapping:
      - {to: file, source: path}
      - {to: bytes, source: size, type: string}
      - {to: site, value: leiden}
  off: {source: home, sender: main, view: other, disabled: true}
`

func TestWholeFile(t *testing.T) {
	c, err := parse(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	if c.AgentID != "nfs07" || c.State != "/var/lib/fustor" || c.Metrics != "127.0.0.1:9464" || len(c.Pipes) != 4 {
		t.Fatalf("%+v", c)
	}
	names := []string{}
	for _, p := range c.Pipes {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "archive home@main home@direct shown" {
		t.Errorf("pipes %s", got)
	}
	a, h, s := c.Pipes[0], c.Pipes[2], c.Pipes[3]
	if a.Source.Path != "/mnt/archive" || len(a.Source.Exclude) != 2 || !a.Source.NoDefaultExclude || !a.Source.CrossFilesystems || !a.Source.NoAtimes || a.Source.Workers != 8 || a.Source.ScanRate != 5000 ||
		a.Sender.Key != "from-file" || a.Sender.Type != Upload || a.View != "archive" || a.Task != "t1" || a.SpoolSize != 10<<30 {
		t.Errorf("%+v", a)
	}
	if h.Sender.Key != "from-env" || h.Sender.Store != "s3://bucket/x" || h.SpoolSize != 0 || h.Source.NoDefaultExclude || h.Source.NoAtimes {
		t.Errorf("%+v", h)
	}
	if len(s.Fields) != 3 || s.Fields[0] != (record.Field{To: "file", From: "path"}) || s.Fields[2].Value != "leiden" || s.Source.Path != "/mnt/archive" {
		t.Errorf("%+v", s)
	}
}

func TestVersionChangesWithWhatCounts(t *testing.T) {
	load := func(from, to string) *Config {
		if !strings.Contains(whole, from) {
			t.Fatalf("no %q", from)
		}
		c, err := parse(t, strings.Replace(whole, from, to, 1))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	same := load("path: /home", "path: /home")
	for _, change := range []struct {
		from, to string
		changed  string // pipes
	}{
		{"workers: 8", "workers: 9", "archive shown"},
		{"api_key_file: key", "api_key: other", "archive home@main"},
		{"spool_size: 10GiB", "spool_size: 10737418240", ""},
		{"agent_id: nfs07", "agent_id: nfs08", "archive home@main home@direct shown"},
		{"value: leiden", "value: delft", "shown"},
		{"metrics: 127.0.0.1:9464", "metrics: 127.0.0.1:9465", ""},
	} {
		c := load(change.from, change.to)
		var changed []string
		for i, p := range c.Pipes {
			if p.Version(c.AgentID) != same.Pipes[i].Version(same.AgentID) {
				changed = append(changed, p.Name)
			}
		}
		if got := strings.Join(changed, " "); got != change.changed {
			t.Errorf("%s: changed %q, want %q", change.to, got, change.changed)
		}
	}
}

func TestEveryProblemIsToldWithItsPlace(t *testing.T) {
	_, err := parse(t, `agent_id: "a b"
colour: red
sources:
  one: {path: relative, exclude: ["[a"], workers: 0}
  one: {path: /x}
  three: {path: 3, scan_rate: -1}
senders:
  up: {type: upload}
  st: {type: store, ingest: "ftp://x", api_key: a, api_key_file: nowhere}
  ec: {type: echo, ingest: "http://x:1"}
  what: {type: carrier-pigeon}
pipes:
  a: {source: one, sender: nobody, view: UPPER}
  b: {source: none, senders: up, view: ok}
  "c d": {source: one, sender: ec, view: v, disabled: maybe, spool_size: lots}
  e: {source: one, sender: up, view: v, fields_mapping: [{to: x, source: colour}, {to: y}, {to: z, source: path, type: integer}]}
  f: {source: three, sender: up, view: v}
  g: {sender: up, view: w}
`)
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("error %v", err)
	}
	text := all.Error()
	for _, want := range []string{
		`agent.yaml:1:11: agent_id "a b"`,
		`agent.yaml:2:1: the file has no field "colour"; it has agent_id, metrics, pipes, senders, sources, state`,
		`agent.yaml:4:15: "relative" is not an absolute path`,
		`agent.yaml:4:35: `,
		`agent.yaml:4:51: must be a whole number from 1 to 1024`,
		`agent.yaml:6:31: must be a whole number from 0 to 1000000000`,
		`agent.yaml:5:3: "one" is given twice`,
		`agent.yaml:6:17: must be a text`,
		`agent.yaml:8:14: a sender of type upload needs ingest`,
		`agent.yaml:9:29: "ftp://x" is not the URL of an ingest`,
		`agent.yaml:9:66: api_key and api_key_file cannot both be given`,
		`agent.yaml:9:14: a sender of type store needs store`,
		`agent.yaml:10:28: a sender of type echo has no ingest`,
		`agent.yaml:11:16: "carrier-pigeon" is not one of store, upload, http, echo, openapi`,
		`agent.yaml:13:28: there is no sender "nobody"`,
		`agent.yaml:13:42: view "UPPER"`,
		`agent.yaml:14:15: there is no source "none"`,
		`agent.yaml:14:30: must be a list`,
		`the pipe's name "c d"`,
		`agent.yaml:15:55: must be true or false`,
		`agent.yaml:15:74: "lots" is not a size`,
		`agent.yaml:16:74: "colour" is not one of kind, evidence`,
		`a field needs a source or a value`,
		`path is a text and cannot be converted to integer`,
		`fields_mapping is for senders of type echo and openapi; "up" is of type upload`,
		`agent.yaml:17:40: pipes "e" and "f" feed the same view "v"`,
		`agent.yaml:18:6: a pipe needs the field "source"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestOpenAPISender(t *testing.T) {
	c, err := parse(t, `
sources: {home: {path: /home}}
senders:
  other:
    type: openapi
    document: other.yaml
    server: https://other.example.org/v2
    api_key_env: KEY
    operations: {events: "POST /files", session: none}
pipes:
  p: {source: home, sender: other, view: v, fields_mapping: [{to: file, source: path}, {to: when, source: mtime_ns, type: seconds}, {to: key, source: id}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Pipes[0].Sender
	if !filepath.IsAbs(s.Document) || filepath.Base(s.Document) != "other.yaml" || s.Server != "https://other.example.org/v2" || s.Key != "from-env" ||
		s.Operations != (openapi.Operations{Events: "POST /files", Session: openapi.None}) || len(c.Pipes[0].Fields) != 3 {
		t.Errorf("%+v", s)
	}
	_, err = parse(t, `
sources: {home: {path: /home}}
senders:
  a: {type: openapi}
  b: {type: openapi, document: "https://x/openapi.json", ingest: "http://x:1", server: "x", operations: {events: none, begin: x}}
  c: {type: upload, ingest: "http://x:1", document: x, operations: {}}
pipes: {p: {source: home, sender: a, view: v}}
`)
	for _, want := range []string{
		`agent.yaml:4:13: a sender of type openapi needs document`,
		`agent.yaml:5:66: a sender of type openapi has no ingest`,
		`agent.yaml:5:88: "x" is not the URL of a server`,
		`agent.yaml:5:114: events needs an operation`,
		`operations has no field "begin"; it has close, events, heartbeat, session`,
		`a sender of type upload has no document`,
		`a sender of type upload has no operations`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"":                         ":1:1: the file is empty",
		"# nothing\n":              ":1:1: the file is empty",
		"just words":               ":1:1: the file must be a mapping",
		"sources: {a: [}":          ":1:",
		"pipes: *nowhere":          "",
		"a: &a *a\n":               "",
		"sources: {}\n---\nx: 1\n": "a second document",
		"sources: {s: {path: /x}}\nsenders: {e: {type: echo}}\npipes: {}": `:1:11: no pipe has the source "s"`,
	} {
		c, err := parse(t, text)
		var all *Error
		if !errors.As(err, &all) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "nothing"), os.Getenv); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = Parse("/nowhere/agent.yaml", []byte(text), func(string) string { return "" })
	})
}
