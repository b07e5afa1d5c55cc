package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// name is a test, or a package where test is empty.
type name struct{ pkg, test string }

// test is what is known of a test or package so far.
type test struct {
	output []string
	result string // pass, fail, skip; empty while it runs
}

// summary gathers the events of one run. Only leaves count: a test with subtests is counted through them.
type summary struct {
	tests map[name]*test
	order []name
	other []string // what is no event: build errors of an older go, panics before a test
}

type testEvent struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
	FailedBuild                               string
}

func (s *summary) add(line []byte, progress io.Writer) {
	var e testEvent
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		s.other = append(s.other, string(line))
		return
	}
	id := name{e.Package, e.Test}
	if e.Package == "" {
		id.pkg, _, _ = strings.Cut(e.ImportPath, " ") // build-output and build-fail; "p [p.test]"
	}
	t := s.tests[id]
	if t == nil {
		t = &test{}
		s.tests[id] = t
		s.order = append(s.order, id)
	}
	switch e.Action {
	case "output", "build-output":
		t.output = append(t.output, e.Output)
	case "pass", "skip", "fail":
		t.result = e.Action
		if t.result == "pass" {
			t.output = nil
		}
		if e.Test == "" {
			fmt.Fprintf(progress, "%-4s %s (%.1f s)\n", e.Action, e.Package, e.Elapsed)
		}
	case "build-fail":
		t.result = "fail"
	}
}

// print says what happened and reports whether all is well.
func (s *summary) print(w io.Writer) bool {
	counts := map[string]int{}
	parents := s.parents()
	for _, id := range s.order {
		t := s.tests[id]
		if id.test != "" && t.result == "" { // its process died
			t.result = "fail"
		}
		switch {
		case t.result == "fail" && !(id.test == "" && s.failedInside(id.pkg)):
			printFailure(w, id, t)
		case t.result == "skip" && id.test != "" && !parents[id]:
			fmt.Fprintf(w, "SKIP %s %s: %s\n", id.pkg, id.test, reason(t.output))
		}
		if id.test != "" && !parents[id] || id.test == "" && t.result == "fail" && !s.failedInside(id.pkg) {
			counts[t.result]++
		}
	}
	for _, line := range s.other {
		fmt.Fprint(w, line)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	return counts["fail"] == 0 && counts["pass"] > 0
}

// parents are the tests that have subtests.
func (s *summary) parents() map[name]bool {
	parents := map[name]bool{}
	for _, id := range s.order {
		for test := id.test; strings.Contains(test, "/"); {
			test = test[:strings.LastIndexByte(test, '/')]
			parents[name{id.pkg, test}] = true
		}
	}
	return parents
}

// failedInside reports whether a test of the package failed, which then explains that the package did.
func (s *summary) failedInside(pkg string) bool {
	return slices.ContainsFunc(s.order, func(id name) bool {
		return id.pkg == pkg && id.test != "" && (s.tests[id].result == "fail" || s.tests[id].result == "")
	})
}

func printFailure(w io.Writer, id name, t *test) {
	fmt.Fprintf(w, "FAIL %s %s\n", id.pkg, id.test)
	for _, line := range t.output {
		fmt.Fprintf(w, "     %s", line)
	}
}

// reason is the line of a skipped test's output that says why.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			return line
		}
	}
	return "no reason given"
}
