package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
)

const minute = int64(time.Minute)

// fed is an agent that feeds a view, and has sent everything until minute 10 in one segment.
func fed(change func(*session.Status)) session.Status {
	at := &pipeapi.CaughtUp{At: 10 * minute, NextSeq: 1}
	s := session.Status{Lives: true, Leads: true, CaughtUp: at}
	s.Record = session.Record{ID: "s1", Agent: "nfs07", AgentStatus: &pipeapi.AgentStatus{Coverage: "realtime", Version: "1.0", Atimes: "relatime", CaughtUp: at}}
	if change != nil {
		change(&s)
	}
	return s
}

// audited is a version that has all segments, a snapshot of minute 1 and an audit that began in minute 8.
func audited() *manifest.Manifest {
	return &manifest.Manifest{Sessions: map[string]manifest.Progress{"s1": {Next: 1}},
		Scan: manifest.Scan{SnapshotTerm: 1, SnapshotStartedAt: minute, SnapshotFinishedAt: 2 * minute, AuditStartedAt: 8 * minute, AuditFinishedAt: 9 * minute}}
}

// TestWhatCompletenessRestsOn: which agents and scans let a view be known, until when, and what is said of the others.
func TestWhatCompletenessRestsOn(t *testing.T) {
	status := func(change func(*pipeapi.AgentStatus)) func(*session.Status) {
		return func(s *session.Status) { change(s.Record.AgentStatus) }
	}
	for _, c := range []struct {
		name    string
		agent   func(*session.Status)
		version func(*manifest.Manifest)
		codes   string
		text    string // of the first reason
		known   int64  // minutes
		scan    string
	}{
		{name: "of everybody's changes, its reports suffice", agent: status(func(s *pipeapi.AgentStatus) { s.Local = true }), known: 10, scan: "audit"},
		{name: "others change it: the audit compares every file", known: 6, scan: "audit"},
		{name: "likewise on a file server", agent: status(func(s *pipeapi.AgentStatus) { s.Atimes = "server" }), known: 6, scan: "audit"},
		{name: "an audit under way has not looked yet", version: func(m *manifest.Manifest) { m.Scan.AuditStartedAt = 11 * minute }, known: -1, scan: "snapshot"},
		{name: "audits skip files", agent: status(func(s *pipeapi.AgentStatus) { s.Atimes = "noatime" }), known: -1, scan: "snapshot"},
		{name: "audits skip files, by a flag", agent: status(func(s *pipeapi.AgentStatus) { s.Atimes = "off" }), known: -1, scan: "snapshot"},
		{name: "it does not say what audits do", agent: status(func(s *pipeapi.AgentStatus) { s.Atimes = "" }), known: -1, scan: "snapshot"},
		{name: "a later snapshot leaves out what was listed before", agent: status(func(s *pipeapi.AgentStatus) { s.Atimes = "off" }),
			version: func(m *manifest.Manifest) { m.Scan.SnapshotTerm = 2 }},
		{name: "V2's agents say nothing", agent: func(s *session.Status) { s.Record.AgentStatus, s.CaughtUp = nil, nil }, known: -1, scan: "snapshot"},
		{name: "an earlier build", agent: func(s *session.Status) { s.Record.AgentStatus.CaughtUp, s.CaughtUp = nil, nil },
			codes: "earlier-build", text: "agent nfs07 is of an earlier build (1.0), which does not say whether it has sent everything: upgrade it", known: 6, scan: "audit"},
		{name: "not at present", agent: func(s *session.Status) { s.Record.AgentStatus.CaughtUp, s.CaughtUp = &pipeapi.CaughtUp{}, nil }, codes: "behind", known: 6, scan: "audit"},
		{name: "what it says was left out", agent: func(s *session.Status) {
			s.Record.AgentStatus = &pipeapi.AgentStatus{Omitted: "too large"}
			s.CaughtUp = nil
		}, codes: "behind", known: -1, scan: "snapshot"},
		{name: "not folded", agent: func(s *session.Status) { s.CaughtUp = &pipeapi.CaughtUp{At: 10 * minute, NextSeq: 3} },
			codes: "behind", text: "of agent nfs07, 2 segments are not folded yet", known: 6, scan: "audit"},
		{name: "away", agent: func(s *session.Status) { s.Lives = false }, codes: "agent", known: 6, scan: "audit"},
		{name: "paused", agent: func(s *session.Status) { s.Record.Paused = true }, codes: "agent", known: 6, scan: "audit"},
		{name: "over", agent: func(s *session.Status) { s.Record.Ended = true }, known: 6, scan: "audit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, got := audited(), &Completeness{}
			if c.version != nil {
				c.version(m)
			}
			got.judgeWatchers(&session.Overview{Leader: "s1", Sessions: []session.Status{fed(c.agent)}}, m)
			if got.Looked = lookedAtAll(m, got.skips != ""); !got.Realtime {
				got.limitByScan(2 * time.Minute)
			}
			var codes []string
			for _, r := range got.Reasons {
				codes = append(codes, r.Code)
			}
			how := ""
			if got.Looked != nil {
				how = got.Looked.How
			}
			if !slices.Equal(codes, strings.Fields(c.codes)) || got.KnownUntil != c.known*minute || how != c.scan {
				t.Errorf("reasons %v, known until minute %g by %q; want %q, %d, %q", got.Reasons, float64(got.KnownUntil)/float64(minute), how, c.codes, c.known, c.scan)
			}
			if c.text != "" && got.Reasons[0].Text != c.text {
				t.Errorf("it says %q", got.Reasons[0].Text)
			}
		})
	}
}
