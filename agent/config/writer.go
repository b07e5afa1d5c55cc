package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/v2config"
)

// write writes the file. Above each thing is what was warned of it.
func (m *importer) write() {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Written by `fustor agent import` from the configuration of Fustor V2 in\n")
	for _, f := range m.v2.Files {
		fmt.Fprintf(&b, "#   %s\n", printable(f))
	}
	fmt.Fprint(&b, "# docs/agent.md describes this file; `fustor agent check --config FILE` checks it.\n")
	m.comments(&b, "", "the file", "")
	if m.agentID != "" {
		fmt.Fprintf(&b, "\nagent_id: %s\n", quote(m.agentID))
	}
	fmt.Fprint(&b, "\nsources:\n")
	for _, s := range m.v2.Sources {
		if slices.ContainsFunc(m.kept, func(k keptPipe) bool { return k.source == s }) {
			m.writeSource(&b, s, m.globs[s])
		}
	}
	fmt.Fprint(&b, "\nsenders:\n")
	files := map[string]bool{}
	for _, s := range m.v2.Senders {
		if slices.ContainsFunc(m.kept, func(k keptPipe) bool { return k.sender == s }) {
			m.writeSender(&b, s, validID(s.ID, files))
		}
	}
	fmt.Fprint(&b, "\npipes:\n")
	for _, k := range m.kept {
		m.writePipe(&b, k)
	}
	m.out.Body = b.Bytes()
}

// comments writes what was warned of a thing.
func (m *importer) comments(b *bytes.Buffer, indent string, about ...string) {
	for _, w := range m.out.Warnings {
		if slices.Contains(about, w.About) {
			fmt.Fprintf(b, "%s# %s: %s\n", indent, printable(w.Place.String()), strings.TrimPrefix(w.Text, w.About+": "))
		}
	}
}

func (m *importer) writeSource(b *bytes.Buffer, s *v2config.Source, globs []string) {
	m.comments(b, "  ", s.About())
	fmt.Fprintf(b, "  %s:\n    path: %s\n", quote(s.ID), quote(s.Path.Value))
	if len(globs) > 0 {
		quoted := make([]string, len(globs))
		for i, g := range globs {
			quoted[i] = quote(g)
		}
		fmt.Fprintf(b, "    exclude: [%s]\n", strings.Join(quoted, ", "))
	}
	if s.Workers.Given() {
		fmt.Fprintf(b, "    workers: %d\n", int(s.Workers.Value))
	}
}

func (m *importer) writeSender(b *bytes.Buffer, s *v2config.Sender, name string) {
	m.comments(b, "  ", s.About())
	fmt.Fprintf(b, "  %s:\n", quote(s.ID))
	if s.Driver.Value == v2config.Echo {
		fmt.Fprint(b, "    type: echo\n")
		return
	}
	if s.Driver.Value == v2config.OpenAPI {
		fmt.Fprintf(b, "    type: openapi\n    document: %s\n", quote(s.URL.Value))
		m.writeKey(b, s, name)
		return
	}
	fmt.Fprintf(b, "    type: http # as V2's agents send; upload relieves the server where this host reaches the store, too\n    ingest: %s\n", quote(m.ingest(s)))
	m.writeKey(b, s, name)
}

// writeKey writes the key of a sender, in the way that was chosen.
func (m *importer) writeKey(b *bytes.Buffer, s *v2config.Sender, name string) {
	switch {
	case !s.Key.Given():
	case s.Key.Variable != "":
		m.out.KeyEnv[s.Key.Variable] = s.ID
		fmt.Fprintf(b, "    api_key_env: %s\n", quote(s.Key.Variable))
	case m.o.Keys == KeysFile:
		m.out.KeyFiles[name+".key"] = s.Key.Value
		fmt.Fprintf(b, "    api_key_file: %s\n", quote(name+".key"))
	case m.o.Keys == KeysEnv:
		variable := "FUSTOR_KEY_" + strings.Map(func(c rune) rune {
			switch {
			case c >= 'a' && c <= 'z':
				return c - 'a' + 'A'
			case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
				return c
			}
			return '_'
		}, name)
		for m.out.KeyEnv[variable] != "" {
			variable += "_"
		}
		m.out.KeyEnv[variable] = s.ID
		fmt.Fprintf(b, "    api_key_env: %s\n", variable)
	default:
		m.out.Secret = true
		fmt.Fprintf(b, "    api_key: %s\n", quote(s.Key.Value))
	}
}

func (m *importer) writePipe(b *bytes.Buffer, k keptPipe) {
	m.comments(b, "  ", k.About())
	fmt.Fprintf(b, "  %s:\n    source: %s\n    sender: %s\n    view: %s\n", quote(k.name), quote(k.source.ID), quote(k.sender.ID), quote(k.view))
	if k.disabled {
		fmt.Fprint(b, "    disabled: true\n")
	}
	if len(k.fields) > 0 {
		fmt.Fprint(b, "    fields_mapping:\n")
	}
	for _, f := range k.fields {
		switch {
		case f.From == "":
			fmt.Fprintf(b, "      - {to: %s, value: %s}\n", quote(f.To), k.constants[f.To])
		case f.Type == "":
			fmt.Fprintf(b, "      - {to: %s, source: %s}\n", quote(f.To), f.From)
		default:
			fmt.Fprintf(b, "      - {to: %s, source: %s, type: %s}\n", quote(f.To), f.From, f.Type)
		}
	}
}

// bare are the texts that need no quotes: they begin like a word or a path, and have nothing that YAML takes for its own.
var bare = regexp.MustCompile(`^(https?://|/)?[A-Za-z][A-Za-z0-9/_.@-]*(:[0-9]+)?$`)

// quote is a text as YAML has it.
func quote(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
	default:
		if bare.MatchString(s) {
			return s
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b) // a JSON text is a YAML text
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // a text always can be
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// printable is a file's name in a comment, which must stay one line.
func printable(name string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' || c == 0x85 {
			return '?'
		}
		return c
	}, cmp.Or(name, "?"))
}
