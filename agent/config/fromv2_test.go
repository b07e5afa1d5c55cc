package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/internal/v2config"
)

const full = "../../internal/v2config/testdata/full"

func fromV2(t *testing.T, o Import, paths ...string) *Imported {
	t.Helper()
	v2, err := v2config.Load(paths...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := FromV2(v2, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func has(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if strings.Count(text, want) != 1 {
			t.Errorf("%d times %q in\n%s", strings.Count(text, want), want, text)
		}
	}
}

func warnings(m *Imported) (text string) {
	for _, w := range m.Warnings {
		text += w.String() + "\n"
	}
	return text
}

// A whole directory of V2's becomes a file that is valid and says the same.
func TestFromV2(t *testing.T) {
	m := fromV2(t, Import{}, full)
	c, err := Parse("agent.yaml", m.Body, func(string) string { return "" })
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Body)
	}
	if c.AgentID != "nfs01" || len(c.Pipes) != 3 || !m.Secret {
		t.Fatalf("%+v", c)
	}
	lab, shown, home := c.Pipes[0], c.Pipes[1], c.Pipes[2]
	if lab.Name != "lab-live" || lab.View != "lab" || lab.Source.Path != "/srv/lab" || lab.Source.Workers != 12 || strings.Join(lab.Source.Exclude, " ") != "*.swp scratch" ||
		lab.Sender != (Sender{Type: HTTP, Ingest: "http://gateway.example.org:8102", Key: "fk_lab_4c1f86c25f1a4b0e9d3c"}) {
		t.Errorf("%+v", lab)
	}
	if shown.Sender.Type != Echo || len(shown.Fields) != 3 || shown.Fields[1].Type != "string" || shown.Fields[2].Value != "leiden" {
		t.Errorf("%+v", shown)
	}
	if home.View != "home" || home.Source.Path != "/home" || home.Sender.Key != "fk_home_short" || home.Source.Workers != 6 {
		t.Errorf("%+v", home)
	}
	has(t, warnings(m),
		`source ledger: the driver "mysql" has no counterpart, because Fustor indexes file trees alone: its pipes are left out`,
		"agent-config/default.yaml:27: pipe lab-live: how often the tree is audited is a setting of the view here: `fustor admin view configure lab --audit-interval 15m`",
		"`fustor admin view configure lab --sentinel-interval 1m`", "`fustor admin view configure lab --session-timeout 1m30s`",
		`pipe lab-shown: no event has the field "created_time": its rule is left out`, `source lake: the driver "oss" has no counterpart`)
	if strings.Contains(warnings(m), "fusion-config") || strings.Contains(warnings(m), "datastores") {
		t.Errorf("the server's warnings are for who imports the server:\n%s", warnings(m))
	}
	has(t, string(m.Body), "  # "+full+"/agent-config/default.yaml:27: how often the tree is audited", "    disabled: true\n")
	if strings.Contains(warnings(m), "fk_") {
		t.Error("a key is in a warning")
	}
}

// Keys may be in files or in the environment, and the new server and the views may be named.
func TestFromV2Choices(t *testing.T) {
	dir := t.TempDir()
	m := fromV2(t, Import{Keys: KeysFile, Ingest: "https://ingest.example.org/", Views: map[string]string{"lab-live": "first"}}, full)
	if m.Secret || strings.Contains(string(m.Body), "fk_") || len(m.KeyFiles) != 3 {
		t.Errorf("%v\n%s", m.KeyFiles, m.Body)
	}
	for name, key := range m.KeyFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Parse(filepath.Join(dir, "agent.yaml"), m.Body, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Pipes[0]; p.Sender.Ingest != "https://ingest.example.org" || p.View != "first" || p.Sender.Key != "fk_lab_4c1f86c25f1a4b0e9d3c" {
		t.Errorf("%+v", p)
	}
	m = fromV2(t, Import{Keys: KeysEnv}, full)
	has(t, string(m.Body), "api_key_env: FUSTOR_KEY_GATEWAY\n")
	if m.KeyEnv["FUSTOR_KEY_OLD_GATEWAY"] != "old-gateway" || m.Secret {
		t.Errorf("%v", m.KeyEnv)
	}
}

func v2File(t *testing.T, body string) *v2config.Config {
	t.Helper()
	c, err := v2config.Parse(v2config.File{Path: "agent-config/default.yaml", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Without the server's files, nothing says which view a pipe feeds.
func TestFromV2WithoutServer(t *testing.T) {
	v2 := v2File(t, `
sources: {Data: {driver: fs, uri: /data}, other: {driver: fs, uri: /other}}
senders: {s: {driver: http, uri: "http://h:1", credential: {key: "${KEY}"}}}
pipes: {Data.In: {source: Data, sender: s}, more: {source: other, sender: s}}
`)
	m, err := FromV2(v2, Import{})
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(m.Body), "view: data-in\n", "api_key_env: KEY\n", "view: more\n")
	has(t, warnings(m), "so data-in is assumed", "--view Data.In=VIEW")
	if m, err = FromV2(v2, Import{View: "one"}); err != nil {
		t.Fatal(err)
	}
	has(t, string(m.Body), "disabled: true\n")
	has(t, warnings(m), "pipe more: it feeds the same view one as pipe Data.In, so it is disabled")
	if _, err := Parse("x", m.Body, func(string) string { return "key" }); err != nil {
		t.Error(err)
	}
}

// The sender openapi is told of the same document and the same fields.
func TestFromV2OpenAPI(t *testing.T) {
	m, err := FromV2(v2File(t, `
sources: {s: {driver: fs, uri: /data}}
senders: {catalogue: {driver: openapi, uri: "https://catalogue.example.org/openapi.json", credential: {key: k}}}
pipes:
  p:
    source: s
    sender: catalogue
    fields_mapping: [{to: location, source: ["path:string"]}, {to: changed, source: [modified_time]}, {to: site, hardcoded_value: 7}]
`), Import{Ingest: "https://not.here.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("agent.yaml", m.Body, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Body)
	}
	p := c.Pipes[0]
	if p.Sender.Type != OpenAPI || p.Sender.Document != "https://catalogue.example.org/openapi.json" || p.Sender.Key != "k" || len(p.Fields) != 3 ||
		p.Fields[0] != (record.Field{To: "location", From: "path", Type: "string"}) || p.Fields[1] != (record.Field{To: "changed", From: "mtime_ns", Type: "seconds"}) {
		t.Errorf("%+v", p)
	}
	has(t, warnings(m), "operations in the file names others")
}

// The example in docs/v2.md is what the import makes.
func TestExampleInDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/v2.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "this V2 file\n\n```yaml\n")
	before, rest, _ := strings.Cut(rest, "```\n")
	_, rest, _ = strings.Cut(rest, "becomes\n\n```yaml\n")
	after, _, _ := strings.Cut(rest, "```\n")
	m, err := FromV2(v2File(t, before), Import{View: "research", Ingest: "https://ingest.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _ := strings.Cut(string(m.Body), "checks it.\n\n"); got != after || after == "" {
		t.Errorf("the import makes\n%s\ndocs/v2.md has\n%s", got, after)
	}
}

func TestFromV2Nothing(t *testing.T) {
	if _, err := FromV2(v2File(t, "receivers: {r: {driver: http}}"), Import{}); !errors.Is(err, ErrNoAgent) {
		t.Error(err)
	}
	m, err := FromV2(v2File(t, "sources: {s: {driver: oss, uri: x}}\nsenders: {d: {driver: kafka}}\npipes: {p: {source: s, sender: d}}"), Import{})
	if !errors.Is(err, ErrNoPipe) || len(m.Warnings) != 2 {
		t.Errorf("%v %+v", err, m)
	}
}

// A file of V2's says what to do with it, in place of what is wrong with it.
func TestParseOfV2(t *testing.T) {
	for _, name := range []string{"agent-config/default.yaml", "sources-config.yaml", "pushers-config.yaml", "syncs-config/sync-home.yaml", "fusion-config/default.yaml"} {
		_, err := Load(filepath.Join(full, name), os.Getenv)
		var e *Error
		if !errors.As(err, &e) || !e.V2 || len(e.Problems) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parse(t, strings.Replace(whole, "path: /home", "paht: /home", 1)); err == nil || err.(*Error).V2 {
		t.Errorf("a slip: %v", err)
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{"lab": "lab", "/srv/lab": "/srv/lab", "http://h.example.org:81": "http://h.example.org:81", "yes": `"yes"`, "12": `"12"`, "1e3": `"1e3"`,
		"a b": `"a b"`, "a: b": `"a: b"`, "#x": `"#x"`, "*.swp": `"*.swp"`, "": `""`, "<a&b>": `"<a&b>"`, "~": `"~"`, "-": `"-"`} {
		if got := quote(text); got != want {
			t.Errorf("%q is quoted as %s", text, got)
		}
	}
}

// Whatever V2's files hold, what is written is read.
func FuzzFromV2(f *testing.F) {
	files, _ := filepath.Glob(full + "/*/*.yaml")
	for _, path := range files {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte("sources: {\"a: b\": {driver: fs, uri: '/x #y', exclude: ['[']}}\nsenders: {\"*\": {driver: echo}}\npipes: {\"?\": {source: 'a: b', sender: '*', fields_mapping: [{to: x, hardcoded_value: 1.5e3}]}}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		v2, err := v2config.Parse(v2config.File{Path: "agent-config/default.yaml", Body: body})
		if err != nil {
			return
		}
		for _, keys := range []string{KeysInline, KeysEnv} {
			m, err := FromV2(v2, Import{Keys: keys})
			if err != nil {
				return
			}
			c, err := Parse("agent.yaml", m.Body, func(string) string { return "key" })
			if err != nil {
				t.Fatalf("%v\n%s", err, m.Body)
			}
			for _, p := range c.Pipes {
				if v2.Source(p.From) == nil || v2.Sender(p.To) == nil {
					t.Fatalf("pipe %+v is of no source or sender of V2's\n%s", p, m.Body)
				}
			}
		}
	})
}
