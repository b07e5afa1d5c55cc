package openapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/v2api"
)

// ours is the part of ingest's document that makes it one that takes Fustor's own events.
const ours = `{"openapi":"3.1.0","paths":{"/events":{"post":{"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{
	"source_type":{"type":"string"},"is_end":{"type":"boolean"},"events":{"type":"array","items":{"type":"object","properties":{"event_type":{"type":"string"},
	"rows":{"type":"array","items":{"type":"object"}}}}}}}}}}}}}}`

// said is what a batch says, in short: its phase, an E at the end of a scan, and its rows; / marks directories, ~ those that are
// skipped, - what is gone.
func said(t *testing.T, body string) string {
	t.Helper()
	var b v2api.Batch
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	out := []string{b.Source}
	if b.End.Value {
		out[0] += "E"
	}
	for _, e := range b.Events {
		for _, r := range e.Rows {
			text := string(r.Path)
			if e.Type == v2api.Delete {
				text = "-" + text
			}
			if r.IsDirectory.Value {
				text += "/"
			}
			if r.AuditSkipped.Value {
				text += "~"
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

func TestPhasesOfOurOwnServer(t *testing.T) {
	dir := func(name string) event.Entry { return event.Entry{Name: name, Type: event.Directory} }
	file := func(name string) event.Entry { return event.Entry{Name: name, Type: event.File} }
	list := func(evidence event.Evidence, path, from, to string, entries ...event.Entry) event.Event {
		return event.Event{Kind: event.Listing, Evidence: evidence, Path: path, Entry: dir(""), From: from, To: to, Entries: entries}
	}
	mark := func(kind event.MarkKind, evidence event.Evidence) event.Event {
		return event.Event{Kind: event.Marked, Evidence: evidence, Path: "/", Mark: event.Mark{Kind: kind}}
	}
	gone := event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: "/gone"}
	same := event.Event{Kind: event.Unchanged, Evidence: event.Audit, Path: "/s", Entry: dir("")}
	url, got := serve(t)
	to, err := target(t, ours, func(o *Options) { o.Server, o.Fields = url, nil })
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, to)
	for i, step := range []struct {
		name   string
		events []event.Event
		want   string
	}{
		{"a snapshot, and what the kernel reports meanwhile",
			[]event.Event{mark(event.SnapshotBegin, event.Snapshot), list(event.Snapshot, "/", "", "", dir("d"), file("f")), put("/n"), gone, mark(event.SnapshotEnd, event.Snapshot)},
			"snapshot // /d/ /f; message /n -/gone; snapshotE"},
		{"an audit: a directory is skipped until it is listed",
			[]event.Event{mark(event.AuditBegin, event.Audit), list(event.Audit, "/", "", "", dir("d"), file("f"), dir("s")), same},
			"audit /d/~ /f /s/~ // /s/~"},
		{"the rest of it, in another segment; a directory that was listed is not skipped by its parent",
			[]event.Event{list(event.Audit, "/d", "", "", file("x")), list(event.Audit, "/", "", "", dir("d")), mark(event.AuditEnd, event.Audit)},
			"auditE /d/x /d/ //"},
		{"a directory in ranges counts when all are sent",
			[]event.Event{mark(event.AuditBegin, event.Audit), list(event.Audit, "/big", "", "m", file("a")), list(event.Audit, "/big", "m", "", file("n")), mark(event.AuditEnd, event.Audit)},
			"auditE /big/~ /big/a /big/n /big/"},
		{"one that lacks a range does not",
			[]event.Event{mark(event.AuditBegin, event.Audit), list(event.Audit, "/big", "", "m", file("a")), list(event.Audit, "/big", "o", "", file("p")), mark(event.AuditEnd, event.Audit)},
			"auditE /big/~ /big/a /big/p"},
		{"a scan that repairs is an audit of its own", []event.Event{list(event.Audit, "/d", "", "", file("x"))}, "auditE /d/x /d/"},
		{"which does not end within a directory", []event.Event{list(event.Audit, "/big", "", "m", file("a"))}, "audit /big/~ /big/a"},
		{"but after it", []event.Event{list(event.Audit, "/big", "m", "", file("n"))}, "auditE /big/n /big/"},
		{"on demand", []event.Event{list(event.OnDemand, "/d", "", "", file("x"))}, "on_demand_job /d/ /d/x"},
	} {
		*got = nil
		if err := to.Send(t.Context(), segmentOf(t, s.ID, uint64(i), step.events...)); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, r := range *got {
			all = append(all, said(t, r.body))
		}
		if text := strings.Join(all, "; "); text != step.want {
			t.Errorf("%s: %s\nwant %s", step.name, text, step.want)
		}
	}
}
