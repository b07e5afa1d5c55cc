package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// run feeds events to a summary and returns what it prints and whether all is well.
func run(t *testing.T, events string) (string, bool) {
	t.Helper()
	s := summary{tests: map[name]*test{}}
	if err := s.read(strings.NewReader(events), io.Discard); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ok := s.print(&out)
	return out.String(), ok
}

const passes = `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB/x"}
{"Action":"pass","Package":"p","Test":"TestB/y"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p"}
{"Action":"skip","Package":"q"}
`

func TestCountsLeaves(t *testing.T) {
	out, ok := run(t, passes)
	if !ok || out != "3 passed, 0 failed, 0 skipped\n" {
		t.Errorf("%v %q", ok, out)
	}
}

func TestNamesWhatIsSkipped(t *testing.T) {
	out, ok := run(t, passes+`{"Action":"output","Package":"p","Test":"TestS","Output":"=== RUN TestS\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"    a_test.go:7: no bindfs here\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestS"}
`)
	if !ok || out != "SKIP p TestS: a_test.go:7: no bindfs here\n3 passed, 0 failed, 1 skipped\n" {
		t.Errorf("%v %q", ok, out)
	}
}

func TestFailures(t *testing.T) {
	for what, events := range map[string]string{
		"a test": `{"Action":"output","Package":"p","Test":"TestF","Output":"it broke\n"}
{"Action":"fail","Package":"p","Test":"TestF"}
{"Action":"fail","Package":"p"}
`,
		"a test whose process died": `{"Action":"output","Package":"p","Test":"TestF","Output":"it broke\n"}
{"Action":"fail","Package":"p"}
`,
		"a build": `{"ImportPath":"p","Action":"build-output","Output":"it broke\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p"}
`,
		"a package outside its tests": `{"Action":"output","Package":"r","Output":"it broke\n"}
{"Action":"fail","Package":"r"}
`,
	} {
		out, ok := run(t, passes+events)
		if ok || !strings.Contains(out, "it broke") || !strings.HasSuffix(out, "3 passed, 1 failed, 0 skipped\n") {
			t.Errorf("%s: %v %q", what, ok, out)
		}
	}
}

func TestNothingTestedIsAFailure(t *testing.T) {
	if out, ok := run(t, "pattern ./...: no such directory\n"); ok || !strings.HasPrefix(out, "pattern ./...") {
		t.Errorf("%v %q", ok, out)
	}
}
