package bubble

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/unixsocket"
	"github.com/fustor/fustor/internal/viewconfig"
)

// What becomes of a view's setting that is changed while everything runs: which part reads it, and from when on the change holds.
// docs/operations.md says the same in its table of settings.

// setting is what docs/operations.md says of one, and a proof of it on parts that run.
type setting struct {
	flag, readBy, holds string
	prove               func(*world)
}

const (
	known     = viewconfig.KnownFor
	heartbeat = known + 45*time.Second*2/5 // until an agent that leads knows of a change
	slack     = 5 * time.Second            // for what is done then
)

const keepHolds = "within a minute; what it keeps no more goes within two hours"

// settings has each field of viewconfig.Config but the view's name, by its name in JSON.
var settings = map[string]setting{
	"session_timeout_seconds": {"--session-timeout", "ingest", "for sessions that begin a minute later", func(w *world) {
		w.set(func(c *viewconfig.Config) { c.SessionTimeoutSeconds = 90 })
		w.sleep(known)
		if a := w.register("new"); a["session_timeout_seconds"] != 90.0 {
			w.Errorf("a new session: %v", a)
		}
		if l := w.leader(); l["session_timeout_seconds"] != 45.0 {
			w.Errorf("the session that ran: %v", l)
		}
	}},
	"allow_concurrent_push": {"--concurrent-agents", "ingest", "for sessions that begin a minute later; those that run go on", func(w *world) {
		before := w.leader()["session_id"]
		w.set(func(c *viewconfig.Config) { c.AllowConcurrentPush = false })
		w.sleep(known)
		w.call(w.ingest, "POST", "/api/v1/pipe/session?view=v", `{"task_id":"second"}`, 409)
		w.sleep(10 * time.Minute)
		if after := w.leader()["session_id"]; after != before {
			w.Errorf("the session that ran was %v, and is %v", before, after)
		}
		w.set(func(c *viewconfig.Config) { c.AllowConcurrentPush = true })
		w.sleep(known)
		w.register("second")
	}},
	"audit_interval_sec": {"--audit-interval", "agents", "with the leader's next heartbeat after a minute", func(w *world) {
		w.sleep(20 * time.Minute)
		if n := w.head().Scan.Audits; n != 0 {
			w.Fatalf("%d audits while the interval is 6 h", n)
		}
		w.set(func(c *viewconfig.Config) { c.AuditIntervalSeconds = 600 })
		w.within(heartbeat+slack, "an audit, as the last scan is older than the new interval", func() bool { return w.head().Scan.Audits == 1 })
		w.within(600*time.Second+slack, "another one", func() bool { return w.head().Scan.Audits == 2 })
		w.set(func(c *viewconfig.Config) { c.AuditIntervalSeconds = 0 })
		w.sleep(heartbeat)
		n := w.head().Scan.Audits
		if w.sleep(time.Hour); w.head().Scan.Audits != n {
			w.Errorf("%d audits in an hour without", w.head().Scan.Audits-n)
		}
		w.set(func(c *viewconfig.Config) { c.AuditIntervalSeconds = 3 * 3600 })
		w.within(2*time.Hour+slack, "an audit three hours after the last one", func() bool { return w.head().Scan.Audits > n })
	}},
	"sentinel_interval_sec": {"--sentinel-interval", "agents", "with the leader's next heartbeat after a minute", func(w *world) {
		w.set(func(c *viewconfig.Config) { c.SentinelIntervalSeconds = 24 * 3600 })
		w.sleep(heartbeat + slack)
		n := w.asked("sentinel/tasks")
		if w.sleep(time.Hour); w.asked("sentinel/tasks") != n {
			w.Errorf("%d calls of the sentinel in an hour of a day", w.asked("sentinel/tasks")-n)
		}
		w.set(func(c *viewconfig.Config) { c.SentinelIntervalSeconds = 30 })
		w.within(heartbeat+slack, "the sentinel's call", func() bool { return w.asked("sentinel/tasks") > n })
		n = w.asked("sentinel/tasks")
		if w.sleep(10 * time.Minute); w.asked("sentinel/tasks") < n+18 {
			w.Errorf("%d calls of the sentinel in ten minutes", w.asked("sentinel/tasks")-n)
		}
		w.set(func(c *viewconfig.Config) { c.SentinelIntervalSeconds = 0 })
		w.sleep(heartbeat + slack)
		n = w.asked("sentinel/tasks")
		if w.sleep(time.Hour); w.asked("sentinel/tasks") != n {
			w.Errorf("%d calls of the sentinel while it is off", w.asked("sentinel/tasks")-n)
		}
	}},
	"hot_s": {"--hot", "compactor", "for changes that are folded a minute later", func(w *world) {
		s := w.feeder()
		suspect := func(path string) any { return w.node(path)["integrity_suspect"] }
		s.send(s.put("/a", false))
		w.within(slack, "the file", func() bool { return w.node("/a") != nil })
		if w.sleep(2 * time.Minute); suspect("/a") != false {
			w.Errorf("suspect after two minutes: %v", suspect("/a"))
		}
		w.set(func(c *viewconfig.Config) { c.HotSeconds = 3600 })
		w.sleep(known)
		s.send(s.put("/b", false))
		w.within(slack, "the file", func() bool { return w.node("/b") != nil })
		if w.sleep(30 * time.Minute); suspect("/b") != true || suspect("/a") != false {
			w.Errorf("suspect half an hour later: %v; the one of before: %v", suspect("/b"), suspect("/a"))
		}
	}},
	"staleness_s": {"--staleness", "compactor", "for changes that are folded a minute later", func(w *world) {
		s := w.feeder()
		// A scan sees a file half a minute after a kernel reported that it was deleted.
		seenAfterDeletion := func(path string) bool {
			old := s.put(path, true)
			old.Entry.MtimeNs -= int64(time.Hour)
			s.send(old)
			w.sleep(2 * time.Second)
			s.send(s.remove(path))
			w.sleep(30 * time.Second)
			old.Evidence, old.ObservedAt = event.Audit, time.Now().UnixNano()
			s.send(old)
			w.sleep(slack)
			return w.node(path) != nil
		}
		if seenAfterDeletion("/a") {
			w.Error("what may be two minutes old brings a file back after half a minute")
		}
		w.set(func(c *viewconfig.Config) { c.StalenessSeconds = 1 })
		w.sleep(known)
		if !seenAfterDeletion("/b") {
			w.Error("what may be a second old does not bring a file back after half a minute")
		}
	}},
	"tombstone_ttl_s": {"--tombstone-ttl", "compactor", "for merges a minute later", func(w *world) {
		s := w.feeder()
		s.send(s.put("/gone", true))
		w.sleep(slack)
		s.send(s.remove("/gone"))
		w.sleep(slack)
		merge := func() {
			for range 40 {
				s.send(s.put("/kept", true))
				w.sleep(slack)
			}
		}
		if merge(); !w.hasTombstone("/gone") {
			w.Error("the tombstone is gone within an hour")
		}
		w.set(func(c *viewconfig.Config) { c.TombstoneTTLSeconds = 1 })
		w.sleep(known)
		if merge(); w.hasTombstone("/gone") {
			w.Error("the tombstone is still there")
		}
	}},
	"keep_within_s": {"--keep-within", "compactor, query", keepHolds, func(w *world) {
		w.keeps(time.Hour, 0, 0, func(c *viewconfig.Config, n int) { c.KeepWithinSeconds = max(0, 3600*float64(n)-1800) })
	}},
	"keep_hourly": {"--keep-hourly", "compactor, query", keepHolds, func(w *world) {
		w.keeps(time.Hour, 0, 0, func(c *viewconfig.Config, n int) { c.KeepHourly = n })
	}},
	"keep_daily": {"--keep-daily", "compactor, query", keepHolds, func(w *world) {
		w.keeps(24*time.Hour, 0, 0, func(c *viewconfig.Config, n int) { c.KeepDaily = n })
	}},
	"keep_weekly": {"--keep-weekly", "compactor, query", keepHolds, func(w *world) {
		w.keeps(7*24*time.Hour, 0, 0, func(c *viewconfig.Config, n int) { c.KeepWeekly = n })
	}},
	"keep_monthly": {"--keep-monthly", "compactor, query", keepHolds, func(w *world) {
		w.keeps(0, 1, 0, func(c *viewconfig.Config, n int) { c.KeepMonthly = n })
	}},
	"keep_yearly": {"--keep-yearly", "compactor, query", keepHolds, func(w *world) {
		w.keeps(0, 0, 1, func(c *viewconfig.Config, n int) { c.KeepYearly = n })
	}},
	"iceberg_interval_sec": {"--iceberg-interval", "compactor", "with the next change a minute later; 0 takes the table back then", func(w *world) {
		published := func() int64 {
			t, err := iceberg.Load(w.Context(), w.store, "fed")
			if errors.Is(err, iceberg.ErrNone) {
				return 0
			}
			if err != nil {
				w.Fatal(err)
			}
			return t.Metadata.CurrentSnapshotID
		}
		s := w.feeder()
		n := 0
		change := func() {
			n++
			s.send(s.put(fmt.Sprintf("/f%d", n), false))
		}
		w.within(15*time.Second, "the table", func() bool { return published() > 0 })
		w.set(func(c *viewconfig.Config) { c.IcebergIntervalSeconds = 3600 })
		w.sleep(10 * time.Minute)
		before := published()
		change()
		if w.sleep(20 * time.Minute); published() != before {
			w.Errorf("published again within an hour: %d, %d", before, published())
		}
		w.set(func(c *viewconfig.Config) { c.IcebergIntervalSeconds = 60 })
		w.within(known+slack, "a snapshot", func() bool { return published() > before })
		w.set(func(c *viewconfig.Config) { c.IcebergIntervalSeconds = 0 })
		w.sleep(known)
		change()
		w.within(time.Minute+slack, "no table", func() bool { return published() == 0 })
	}},
	"iceberg_changes_s": {"--iceberg-changes", "compactor", "with the next publication a minute later; 0 takes the table back with the next retention", func(w *world) {
		rows := func() string { // none: there is no table
			t, err := iceberg.LoadChanges(w.Context(), w.store, "fed")
			if errors.Is(err, iceberg.ErrNone) {
				return "none"
			}
			if err != nil {
				w.Fatal(err)
			}
			return t.Current().Summary["total-records"]
		}
		s := w.feeder()
		n := 0
		publish := func() {
			n++
			s.send(s.put(fmt.Sprintf("/f%d", n), false))
			w.sleep(known + 5*time.Minute)
		}
		publish()
		if rows() != "none" {
			w.Errorf("there is a table by default")
		}
		w.set(func(c *viewconfig.Config) { c.IcebergChangesSeconds = 600 })
		w.sleep(known)
		publish()
		if rows() != "0" {
			w.Errorf("a new table has %s rows", rows())
		}
		publish()
		if rows() == "0" {
			w.Errorf("a change is not in the table")
		}
		w.sleep(time.Hour)
		publish() // what is older than ten minutes goes, and what is new comes
		if rows() != "2" && rows() != "1" {
			w.Errorf("an hour later the table has %s rows", rows())
		}
		w.set(func(c *viewconfig.Config) { c.IcebergChangesSeconds = 0 })
		w.sleep(known)
		publish()
		w.within(2*time.Hour, "no table", func() bool { return rows() == "none" })
	}},
	"live": {"--live", "compactor, query", "within a minute; on AWS with the compactor's next tick, at most five minutes later", func(w *world) {
		w.stopAgent()
		w.sleep(10 * time.Minute)
		w.call(w.query, "GET", "/api/v1/views/v/metadata?path=/", "", 200) // a view at rest, which nobody leads
		w.set(func(c *viewconfig.Config) { c.Live = true })
		w.within(known+slack, "a refusal", func() bool { return w.status(w.query, "/api/v1/views/v/metadata?path=/") == 503 })
		w.set(func(c *viewconfig.Config) { c.Live = false })
		w.within(known+slack, "an answer again", func() bool { return w.status(w.query, "/api/v1/views/v/metadata?path=/") == 200 })
	}},
	"root_squash": {"--root-squash", "query", "within a minute", func(w *world) {
		w.guarded("/of-nobody-else", 0o700, 1)
		asRoot := func() int { return w.asUser("/api/v1/views/fed/metadata?path=/of-nobody-else/file", "0:0") }
		w.within(known, "an answer to root", func() bool { return asRoot() == 200 })
		w.set(func(c *viewconfig.Config) { c.RootSquash = true })
		w.within(known, "a refusal", func() bool { return asRoot() == 404 })
		w.set(func(c *viewconfig.Config) { c.RootSquash = false })
		w.within(known, "an answer again", func() bool { return asRoot() == 200 })
	}},
	"trust_modes": {"--trust-modes", "query", "within a minute", func(w *world) {
		w.guarded("/of-group", 0o750, 100)
		asMember := func() int { return w.asUser("/api/v1/views/fed/metadata?path=/of-group/file", "1001:100") }
		if got := asMember(); got != 404 {
			w.Errorf("without the ACL of a directory, a member of its group gets %d", got)
		}
		w.set(func(c *viewconfig.Config) { c.TrustModes = true })
		w.within(known, "the file for a member of the group", func() bool { return asMember() == 200 })
		w.set(func(c *viewconfig.Config) { c.TrustModes = false })
		w.within(known, "no file", func() bool { return asMember() == 404 })
	}},
	"open_to": {"--open-to", "query", "within a minute", func(w *world) {
		local := func() int {
			r := httptest.NewRequest("GET", "/api/v1/views/v/metadata?path=/", nil)
			r = r.WithContext(unixsocket.WithPeer(r.Context(), unixsocket.Peer{UID: 1001, GID: 100, Groups: []uint32{4711}}))
			rec := httptest.NewRecorder()
			w.query.ServeHTTP(rec, r)
			return rec.Code
		}
		if got := local(); got != 403 {
			w.Errorf("a user without a key gets %d of a view that is open to nobody", got)
		}
		for _, to := range []string{"socket", "group:4711"} {
			w.set(func(c *viewconfig.Config) { c.OpenTo = []string{to} })
			w.within(known, "an answer", func() bool { return local() == 200 })
			w.set(func(c *viewconfig.Config) { c.OpenTo = []string{"oidc", "proxy", "group:4712"} })
			w.within(known, "a refusal", func() bool { return local() == 403 })
		}
	}},
	"user_scans_per_hour": {"--user-scans", "query", "within a minute", func(w *world) {
		scan := func() int { return w.asUser("/api/v1/views/v/tree?max_depth=0&on_demand_scan=true", "1000:1000") }
		w.within(known, "a scan", func() bool { return scan() == 200 })
		w.set(func(c *viewconfig.Config) { c.UserScans = 0 })
		w.within(known, "a refusal", func() bool { return scan() == 403 })
		w.set(func(c *viewconfig.Config) { c.UserScans = viewconfig.MaxUserScans })
		w.within(known, "a scan again", func() bool { return scan() == 200 })
	}},
	"sessions_per_key": {"--sessions-per-key", "ingest", "for sessions that begin a minute later; those that run go on", func(w *world) {
		before := w.leader()["session_id"]
		w.set(func(c *viewconfig.Config) { c.SessionsPerKey = 1 })
		w.sleep(known)
		w.register("first")
		w.call(w.ingest, "POST", "/api/v1/pipe/session?view=v", `{"task_id":"crowd"}`, 429)
		if after := w.leader()["session_id"]; after != before {
			w.Errorf("the session that ran was %v, and is %v", before, after)
		}
		w.set(func(c *viewconfig.Config) { c.SessionsPerKey = viewconfig.MaxSessionsPerKey })
		w.sleep(known)
		w.register("crowd")
	}},
	"max_entries": {"--max-entries", "compactor", "for changes that are folded a minute later; a view that was full is scanned anew", func(w *world) {
		s := w.feeder()
		troubles := func() any { return w.call(w.query, "GET", "/api/v1/views/fed/stats", "", 200)["troubles"] }
		s.send(s.put("/kept", true))
		w.within(slack, "the file", func() bool { return w.node("/kept") != nil })
		w.set(func(c *viewconfig.Config) { c.MaxEntries = 1 })
		w.sleep(known)
		s.send(s.put("/a", true))
		if w.sleep(slack); w.node("/a") != nil || troubles() == nil {
			w.Errorf("a view of one entry has another: %v; troubles: %v", w.node("/a"), troubles())
		}
		w.set(func(c *viewconfig.Config) { c.MaxEntries = 0 })
		w.within(known+slack, "the end of the session", func() bool {
			return w.call(w.query, "GET", "/api/v1/views/fed/sessions", "", 200)["count"] == 0.0
		})
		s = w.feed("fed")
		s.send(s.put("/a", true))
		w.within(slack, "the file", func() bool { return w.node("/a") != nil && troubles() == nil })
	}},
	"mounts": {"--mount", "query", "within a minute", func(w *world) {
		mounts := func() int {
			return len(w.call(w.query, "GET", "/api/v1/views/v/sessions", "", 200)["mounts"].([]any))
		}
		n := mounts()
		w.set(func(c *viewconfig.Config) { c.Mounts = []string{"/mnt/lab"} })
		w.within(known, "the mount", func() bool { return mounts() == n+1 })
		w.set(func(c *viewconfig.Config) { c.Mounts = nil })
		w.within(known, "no mount", func() bool { return mounts() == n })
	}},
	"members": {"--members", "query, ingest, compactor", "within a minute", func(w *world) {
		all := viewconfig.Default("all")
		names := func() int {
			a := w.call(w.query, "GET", "/api/v1/views/all/metadata?path=/", "", 200)
			return len(a["members"].([]any))
		}
		save := func(members ...string) {
			all.Members = members
			w.save(all)
		}
		save("v")
		w.within(known, "an answer of one member", func() bool { return w.status(w.query, "/api/v1/views/all/metadata?path=/") == 200 && names() == 1 })
		save("v", "w")
		w.within(known, "one of two", func() bool { return names() == 2 })
		w.call(w.ingest, "POST", "/api/v1/pipe/session?view=all", `{"task_id":"x"}`, 403)
		// It is deleted, and made an ordinary view of the same name.
		w.save(viewconfig.Default("all"))
		w.sleep(known)
		s := w.feed("all")
		s.send(s.put("/a", true))
		w.within(known+slack, "the new view", func() bool { return w.status(w.query, "/api/v1/views/all/metadata?path=/a") == 200 })
	}},
}

// TestEverySetting changes each setting of a view while ingest, compactor, query and an agent run.
func TestEverySetting(t *testing.T) {
	if lease.Interval(45*time.Second, true) != heartbeat-known {
		t.Fatal("heartbeats have another interval")
	}
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	warm(t)
	fields := reflect.TypeFor[viewconfig.Config]()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
		if name == "view_id" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s, there := settings[name]
			if !there {
				t.Fatalf("nothing says which part reads %s, and when a change of it holds", name)
			}
			if !documented(string(operations), s) {
				t.Errorf("docs/operations.md has no row of %s with %q and %q", s.flag, s.readBy, s.holds)
			}
			poll := time.Duration(0)
			if strings.HasPrefix(name, "keep_") {
				poll = 20 * time.Second // hours go by, in which nothing depends on how soon a segment is folded
			}
			synctest.Test(t, func(t *testing.T) { inWorld(t, poll, s.prove) })
		})
	}
}

// documented reports whether the table of settings has the row.
func documented(operations string, s setting) bool {
	for line := range strings.Lines(operations) {
		if strings.HasPrefix(line, "| `"+s.flag+"` |") {
			return strings.HasSuffix(strings.TrimSpace(line), "| "+s.readBy+" | "+s.holds+" |")
		}
	}
	return false
}
