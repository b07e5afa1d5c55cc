//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/child"
	"github.com/fustor/fustor/testkit/s3test"
)

// The settings of the hosts' view: short, so that what takes hours in the field takes seconds here.
const (
	hostsLease     = 6 * time.Second
	hostsAudit     = 2 * time.Second
	hostsHot       = 3 * time.Second
	hostsStaleness = 2 * time.Second // FUSE keeps attributes and names for a second
	// v2Staleness is that of views with a V2 agent: what it scans counts as of when it arrives, which may be late on a busy machine.
	v2Staleness = 10 * time.Second
)

// TestHosts has three hosts mount one file server, each through a FUSE mount of its own, so that the kernel tells each
// only of what is done through its own mount. A's and B's agents feed one view in MinIO; C has no agent. A's clock is two
// hours ahead, B's one behind, throughout. The scenarios share all of it, and depend on their order.
func TestHosts(t *testing.T) { testHosts(t, false, false) }

// TestHostsV2Leads is TestHosts with an agent of Fustor V2 on A, which leads first and then follows.
func TestHostsV2Leads(t *testing.T) { testHosts(t, true, false) }

// TestHostsV2Follows is TestHosts with an agent of Fustor V2 on B, which follows first and then leads. What V2 has no evidence of is in
// docs/v2.md, and left out where it leads.
func TestHostsV2Follows(t *testing.T) { testHosts(t, false, true) }

func testHosts(t *testing.T, v2OnA, v2OnB bool) {
	t.Parallel()
	h := startHosts(t, v2OnA, v2OnB)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *hosts)
	}{
		{"both hosts' changes reach the view", bothHostsReport},
		{"hours that are off do no harm", clocksAreOff},
		{"a blind host's changes are found and stay marked", blindHost},
		{"a scan on demand finds a blind host's file", scanOnDemand},
		{"the follower does no scan I/O", followerRests},
		{"a large slow write is suspect until it is closed", slowWrite},
		{"a large directory is renamed", renameLarge},
		{"a blind host deletes a tree that is written into", deleteUnderWriter},
		{"the leader dies and the next resumes", leaderDies},
		{"a late listing does not resurrect", lateListing},
		{"a deleted session is created anew", sessionDeleted},
		{"no server takes another along", serversDie},
	} {
		if !t.Run(scenario.name, func(t *testing.T) { h.during(t, func() { scenario.run(t, h) }) }) {
			return // the next one begins where this one should have ended
		}
	}
}

// hosts are three hosts, what they share, and what indexes it.
type hosts struct {
	*parts
	disk    string // what is really there: no mount's cache is in between
	a, b, c *host
	leader  *host
	late    *lateStore // through which B's segments go, unless ingest writes them
}

// host is a machine that mounts the file server.
type host struct {
	name  string
	dir   string // where
	fuse  int    // the process that serves the mount
	v2    bool   // its agent is one of Fustor V2
	agent *process
}

func startHosts(t *testing.T, v2OnA, v2OnB bool) *hosts {
	t.Helper()
	if _, err := exec.LookPath("bindfs"); err != nil {
		t.Skip("no bindfs: install it to test several hosts on one file server")
	}
	h := &hosts{disk: t.TempDir()}
	h.a, h.b, h.c = mount(t, h.disk, "A"), mount(t, h.disk, "B"), mount(t, h.disk, "C")
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "hosts")
	h.a.v2, h.b.v2, h.leader = v2OnA, v2OnB, h.a
	h.configure(t, url, viewID, hostsHot, h.staleness())
	registerV2(t, url, viewID)
	h.late = newLateStore(t, minio.Endpoint())
	h.late.release()
	// Agents watch what is there when they begin.
	for _, dir := range []string{"a", "b", "c", "shared"} {
		h.must(t, os.Mkdir(filepath.Join(h.disk, dir), 0o755))
	}
	h.parts = startParts(t, url)
	h.startAgentAhead(h.a, "", "2h") // uploads what ingest has signed
	h.awaitRole("A", "leader", 1, patience(20*time.Second))
	h.known(h.late.over(url))
	h.startAgentAhead(h.b, h.late.over(url), "-1h") // has the store's keys
	h.awaitRole("B", "follower", 0, patience(20*time.Second))
	for _, each := range []*host{h.a, h.b} {
		h.covers(each, 0)
		h.reportsWithin(each, "shared", 60*time.Second) // it may have its store to probe yet
	}
	return h
}

// staleness is that of the hosts' view.
func (h *hosts) staleness() time.Duration {
	if h.a.v2 || h.b.v2 {
		return v2Staleness
	}
	return hostsStaleness
}

// configure makes the settings above those of a view. Nothing may run yet.
func (h *hosts) configure(t *testing.T, storeURL, view string, hot, staleness time.Duration) {
	t.Helper()
	c := viewconfig.Default(view)
	c.SessionTimeoutSeconds, c.AuditIntervalSeconds, c.SentinelIntervalSeconds = hostsLease.Seconds(), hostsAudit.Seconds(), 1
	c.HotSeconds, c.StalenessSeconds = hot.Seconds(), staleness.Seconds()
	h.must(t, viewconfig.Save(t.Context(), openStore(t, storeURL), c))
}

// covers waits until a host's agent has said that it watches everything.
func (h *hosts) covers(on *host, from int) {
	h.t.Helper()
	if on.v2 {
		on.agent.says(v2Session, from)
		return
	}
	on.agent.says(covered, from)
}

// startAgentAhead starts a host's agent. What a V2 agent says has no time that counts, so its clock does not matter.
func (h *hosts) startAgentAhead(on *host, store, offset string) {
	h.t.Helper()
	if on.v2 {
		on.agent = h.startV2Process(on.dir, on.name, hostsLease/6)
		return
	}
	args := []string{"agent", on.dir, "--ingest", h.ingestURL, "--view", viewID, "--agent-id", on.name,
		"--state", filepath.Join(h.t.TempDir(), "session.json"), "--clock-offset=" + offset}
	if store != "" {
		args = append(args, "--store", store)
	}
	on.agent = start(h.t, h.env, args...)
}

// mount mounts disk once more, until the test ends.
func mount(t *testing.T, disk, name string, options ...string) *host {
	t.Helper()
	m := &host{name: name, dir: filepath.Join(t.TempDir(), name)}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command("bindfs", slices.Concat([]string{"-f"}, options, []string{disk, m.dir})...)
	cmd.Stderr = &said
	ended, err := child.Start(cmd, syscall.SIGTERM) // on which it unmounts
	if err != nil {
		t.Fatalf("start bindfs: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	m.fuse = cmd.Process.Pid
	eventually(t, 10*time.Second, "bindfs has mounted", func() bool {
		select {
		case <-ended:
			t.Skipf("bindfs cannot mount, is there FUSE? %s", strings.TrimSpace(said.String()))
		default:
		}
		return device(t, m.dir) != device(t, filepath.Dir(m.dir))
	})
	return m
}

func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return uint64(st.Dev)
}

// requests is how many requests this host's kernel has made of the file server: the reads of the process that serves it.
func (m *host) requests(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", m.fuse))
	if err != nil {
		t.Skipf("the mount's requests cannot be counted: %v", err)
	}
	_, after, _ := strings.Cut(string(b), "syscr: ")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("/proc/%d/io: %v", m.fuse, err)
	}
	return n
}

// during has everything that fails while run runs fail this test.
func (h *hosts) during(t *testing.T, run func()) {
	processes := []*process{h.ingest, h.compact, h.query, h.a.agent, h.b.agent}
	hand := func(to testing.TB) {
		h.t = to
		for _, p := range processes {
			p.t = to
		}
	}
	whole := h.t
	hand(t)
	defer hand(whole)
	run()
}

func (h *hosts) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a file through a host's mount.
func (h *hosts) write(on *host, path, text string) {
	h.t.Helper()
	h.must(h.t, os.WriteFile(filepath.Join(on.dir, path), []byte(text), 0o644))
}

// node is an entry of the view as GET /tree shows it.
type node struct {
	Size         int64   `json:"size"`
	Modified     float64 `json:"modified_time"`
	Suspect      bool    `json:"integrity_suspect"`
	AgentMissing bool    `json:"agent_missing"`
}

// node is the entry of a path, nil where the view has none, or cannot be read yet.
func (h *hosts) node(path string) *node {
	h.t.Helper()
	var n node
	err := getJSON(h.t.Context(), h.queryURL+"/api/v1/views/"+viewID+"/tree?path=/"+path, &n)
	if err != nil && (strings.Contains(err.Error(), ": 404 ") || strings.Contains(err.Error(), ": 503 ")) {
		return nil
	}
	h.must(h.t, err)
	return &n
}

// awaitNode waits until the view's entry of a path is so.
func (h *hosts) awaitNode(path, what string, is func(*node) bool) {
	h.t.Helper()
	h.awaitNodeWithin(10*time.Second, path, what, is)
}

func (h *hosts) awaitNodeWithin(within time.Duration, path, what string, is func(*node) bool) {
	h.t.Helper()
	eventually(h.t, patience(within), path+" "+what, func() bool { return is(h.node(path)) })
}

// reports has a host write a file, and waits until its agent's report of it is in the view.
func (h *hosts) reports(on *host, dir string) {
	h.t.Helper()
	h.reportsWithin(on, dir, 10*time.Second)
}

func (h *hosts) reportsWithin(on *host, dir string, within time.Duration) {
	h.t.Helper()
	path := filepath.Join(dir, "reported-by-"+on.name+strconv.FormatInt(time.Now().UnixNano(), 36))
	h.write(on, path, on.name)
	h.awaitNodeWithin(within, path, "is there, reported by its agent", func(n *node) bool { return n != nil && !n.AgentMissing })
}

// blindSpots are the paths that nobody reported.
func (h *hosts) blindSpots() (additions, deletions []string) {
	h.t.Helper()
	var answer struct {
		Additions []struct {
			Path string `json:"path"`
		} `json:"additions"`
		Deletions []string `json:"deletions"`
	}
	h.must(h.t, getJSON(h.t.Context(), h.queryURL+"/api/v1/views/"+viewID+"/blind-spots", &answer))
	for _, a := range answer.Additions {
		additions = append(additions, a.Path)
	}
	return additions, answer.Deletions
}

// awaitBlindSpots waits until exactly these are blind spots.
func (h *hosts) awaitBlindSpots(additions, deletions []string) {
	h.t.Helper()
	var added, deleted []string
	defer func() {
		if h.t.Failed() {
			h.t.Logf("blind spots: additions %q, deletions %q; want %q, %q", added, deleted, additions, deletions)
			for _, path := range added {
				h.t.Logf("%s: %s", path, h.ask(h.t, "log", path, "--json").stdout)
				for _, dir := range []string{h.disk, h.a.dir, h.b.dir} {
					if info, err := os.Stat(dir + path); err == nil {
						h.t.Logf("in %s: %d bytes, of %s", dir, info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
					}
				}
			}
		}
	}()
	eventually(h.t, patience(15*time.Second), "these are the blind spots", func() bool {
		added, deleted = h.blindSpots()
		return slices.Equal(added, additions) && slices.Equal(deleted, deletions)
	})
}

// awaitAudits waits for n more audits; the last of two began after the call.
func (h *hosts) awaitAudits(n uint64) {
	h.t.Helper()
	to := h.head().Scan.Audits + n
	eventually(h.t, patience(20*time.Second), fmt.Sprintf("%d more audits", n), func() bool { return h.head().Scan.Audits >= to })
}

// same waits until the view is what is there.
func (h *hosts) same() {
	h.t.Helper()
	if h.a.v2 || h.b.v2 {
		h.equalV2(h.disk, patience(20*time.Second+v2Staleness))
		return
	}
	h.equal(h.t, h.disk, time.Now(), patience(20*time.Second))
}

// newWorkload is a workload that leaves out what the leader's audits do not find: a V2 agent's skip the directories of a hard link's
// other names.
func (h *hosts) newWorkload(t *testing.T, root string, seed uint64) *workload {
	w := newWorkload(t, root, seed)
	w.withoutLinks = h.leader.v2
	return w
}

func bothHostsReport(t *testing.T, h *hosts) {
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		h.newWorkload(t, filepath.Join(h.b.dir, "b", "work"), 50).run(operationsOf(500))
	}()
	h.newWorkload(t, filepath.Join(h.a.dir, "a", "work"), 51).run(operationsOf(500))
	<-busy
	h.same()
	// The workloads make hard links, whose other names are found by audits only: they go, reported, with all marks.
	h.must(t, os.RemoveAll(filepath.Join(h.a.dir, "a", "work")))
	h.must(t, os.RemoveAll(filepath.Join(h.b.dir, "b", "work")))
	h.same()
	h.awaitBlindSpots(nil, nil)
}

func clocksAreOff(t *testing.T, h *hosts) {
	for _, each := range []*host{h.a, h.b} {
		began := time.Now()
		h.reports(each, "shared")
		if at := time.Unix(0, h.head().ObservedAt); at.Before(began.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("%s's report at %v is stamped %v", each.name, began, at)
		}
	}
	// A later change by the host that is behind wins over one by the host that is ahead, and the other way round.
	for i, each := range []*host{h.a, h.b, h.a} {
		text := strings.Repeat("x", i+1)
		h.write(each, "shared/both", text)
		h.awaitNode("shared/both", "is as "+each.name+" wrote it", func(n *node) bool { return n != nil && n.Size == int64(len(text)) })
	}
	h.same()
	h.awaitBlindSpots(nil, nil)
}

func blindHost(t *testing.T, h *hosts) {
	for _, name := range []string{"deleted", "changed"} {
		h.write(h.a, "shared/"+name, "by A")
		h.awaitNode("shared/"+name, "is there", func(n *node) bool { return n != nil })
	}
	h.write(h.c, "shared/created", "by C")
	h.must(t, os.Remove(filepath.Join(h.c.dir, "shared/deleted")))
	added, deleted := []string{"/shared/created"}, []string{"/shared/deleted"}
	if !h.leader.v2 { // whose audits do not look at the files of a directory that has not changed
		inPlace, err := os.OpenFile(filepath.Join(h.c.dir, "shared/changed"), os.O_WRONLY|os.O_APPEND, 0)
		h.must(t, err)
		_, err = inPlace.WriteString(" and C")
		h.must(t, err)
		h.must(t, inPlace.Close())
		added = []string{"/shared/changed", "/shared/created"}
	}
	h.awaitBlindSpots(added, deleted)
	h.same()
	h.awaitAudits(2)
	h.awaitBlindSpots(added, deleted)

	h.write(h.a, "shared/created", "by A now")
	h.awaitBlindSpots(added[:len(added)-1], deleted)
	h.write(h.b, "shared/changed", "by B now")
	h.awaitBlindSpots(nil, deleted)
	h.write(h.a, "shared/deleted", "again, by A")
	h.awaitBlindSpots(nil, nil)
	h.same()
}

func scanOnDemand(t *testing.T, h *hosts) {
	for try := 0; ; try++ {
		h.awaitAudits(1)
		path := fmt.Sprint("shared/asked-for", try)
		h.write(h.c, path, "by C")
		before := h.head().Scan.Audits
		r := h.ask(t, "scan", "/shared", "--wait")
		n := h.node(path)
		if r.code != 0 {
			t.Fatalf("scan: exit code %d: %s", r.code, r.stderr)
		}
		if n == nil || !n.AgentMissing {
			t.Fatalf("after the scan %s is %+v; it must be there, and a blind spot\n%s", path, n, r.stdout)
		}
		if h.head().Scan.Audits == before {
			break // no audit can have found it
		}
		if try == 40 {
			t.Fatal("an audit came between each time")
		}
	}
	for path := range onDisk(t, filepath.Join(h.disk, "shared")) {
		if strings.HasPrefix(path, "/asked-for") {
			h.must(t, os.Remove(filepath.Join(h.a.dir, "shared", path)))
		}
	}
	h.awaitBlindSpots(nil, nil)
	h.same()
}

func followerRests(t *testing.T, h *hosts) {
	const files = 300
	for i := range files {
		h.write(h.a, fmt.Sprint("a/audited", i), "x")
	}
	h.same()
	leader, follower := h.a.requests(t), h.b.requests(t)
	h.awaitAudits(2)
	leader, follower = h.a.requests(t)-leader, h.b.requests(t)-follower
	t.Logf("in two audits the leader's mount served %d requests, the follower's %d", leader, follower)
	if leader < files && !h.leader.v2 {
		t.Errorf("the leader's mount served %d requests in two audits, with %d files changed lately: they are not counted", leader, files)
	}
	if follower > files/10 {
		t.Errorf("the follower's mount served %d requests while only the leader audits", follower)
	}
}

func slowWrite(t *testing.T, h *hosts) {
	const path, chunks = "shared/slow", 12
	f, err := os.Create(filepath.Join(h.b.dir, path))
	h.must(t, err)
	defer f.Close()
	size, written := int64(0), time.Time{}
	for range chunks { // for longer than a file is hot
		h.awaitNode(path, "is suspect", func(n *node) bool { // what is seen late is no longer hot: it goes on to be written
			_, err := f.Write(make([]byte, 64<<10))
			h.must(t, err)
			size, written = size+64<<10, time.Now()
			return n != nil && n.Suspect
		})
		awaitPause(hostsHot / (chunks - 4))
		if n := h.node(path); (n == nil || !n.Suspect) && time.Since(written) < hostsHot {
			t.Fatalf("%s is %+v while it is written", path, n)
		}
	}
	h.must(t, f.Close())
	h.awaitNode(path, "is whole and no longer suspect", func(n *node) bool { return n != nil && n.Size == size && !n.Suspect })
	h.must(t, os.Remove(filepath.Join(h.b.dir, path)))
	h.same()
}

func renameLarge(t *testing.T, h *hosts) {
	dirs, files := 40, 50 // the mounts take some 3,000 calls a second
	for i := range dirs {
		dir := filepath.Join("a", "large", fmt.Sprint(i))
		h.must(t, os.MkdirAll(filepath.Join(h.a.dir, dir), 0o755))
		for j := range files {
			h.write(h.a, filepath.Join(dir, fmt.Sprint(j)), "x")
		}
	}
	h.same()
	h.must(t, os.Rename(filepath.Join(h.a.dir, "a", "large"), filepath.Join(h.a.dir, "shared", "renamed")))
	h.same()
	h.must(t, os.RemoveAll(filepath.Join(h.a.dir, "shared", "renamed")))
	h.same()
}

func deleteUnderWriter(t *testing.T, h *hosts) {
	const dir = "shared/doomed"
	h.must(t, os.MkdirAll(filepath.Join(h.a.dir, dir, "x/y/z"), 0o755))
	writes := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		defer func() { writes <- n }()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			// In the end the directories are gone.
			if os.WriteFile(filepath.Join(h.a.dir, dir, []string{"", "x", "x/y", "x/y/z"}[i%4], fmt.Sprint(i)), []byte("x"), 0o644) == nil {
				n++
			}
		}
	}()
	h.awaitNode(dir+"/x/y/z/3", "is written", func(n *node) bool { return n != nil })
	eventually(t, patience(20*time.Second), "C has deleted the tree that A writes into", func() bool {
		return os.RemoveAll(filepath.Join(h.c.dir, dir)) == nil
	})
	close(stop)
	t.Logf("%d files were written", <-writes)
	if h.leader.v2 {
		// What its kernel reported may have arrived after the audit that found the tree gone. It lists the directory again when that
		// changes.
		h.reports(h.a, "shared")
		awaitPause(hostsHot + time.Second) // no sentinel looks at what was there any more
		h.write(h.c, "shared/afterwards", "by C")
	}
	h.same()
	h.awaitAudits(2)
	h.same()
}

func leaderDies(t *testing.T, h *hosts) {
	h.a.agent.Kill()
	h.leader = h.b
	h.newWorkload(t, filepath.Join(h.b.dir, "b", "meanwhile"), 60).run(operationsOf(200)) // watched by B
	h.write(h.a, "a/unwatched", "by A, without an agent")
	h.awaitRole("B", "leader", 2, patience(3*hostsLease))
	h.awaitNode("a/unwatched", "is found by B's snapshot", func(n *node) bool { return n != nil })
	if h.leader.v2 {
		// A directory that changed while its snapshot went by may keep the time of before: its audits leave out what they have seen.
		h.must(t, filepath.WalkDir(filepath.Join(h.b.dir, "b", "meanwhile"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			now := time.Now()
			return os.Chtimes(path, now, now)
		}))
	}
	h.same()
	h.awaitAudits(2)
	h.same()
	from := len(h.a.agent.log.String())
	h.a.agent.Restart()
	h.awaitRole("A", "follower", 0, patience(20*time.Second))
	h.covers(h.a, from)
	h.awaitRole("B", "leader", 2, patience(time.Second))
	h.reports(h.a, "shared")
	h.same()
}

// lateListing has B, which leads now, list a directory, and its listing come only after a file in it was deleted.
func lateListing(t *testing.T, h *hosts) {
	const name = "mortal"
	path := "shared/" + name
	for try := 0; !h.leader.v2 && !h.listedLate(name); try++ { // an audit's rows wait in the store until its end, not on the host
		if try == 8 {
			t.Fatal("no listing came late")
		}
	}
	if _, deletions := h.blindSpots(); slices.Contains(deletions, "/"+path) {
		t.Errorf("the deletion that A reported counts as a blind spot")
	}

	old := time.Now().Add(-240 * time.Hour).Truncate(time.Second)
	preserved := func(on *host) { // as rsync does
		h.write(on, path+".tmp", "old")
		h.must(t, os.Chtimes(filepath.Join(on.dir, path+".tmp"), old, old))
		h.must(t, os.Rename(filepath.Join(on.dir, path+".tmp"), filepath.Join(on.dir, path)))
	}
	preserved(h.a)
	h.awaitNode(path, "is back, as old as it was", func(n *node) bool {
		return n != nil && n.Modified == float64(old.Unix()) && !n.AgentMissing
	})
	h.must(t, os.Remove(filepath.Join(h.a.dir, path)))
	h.awaitNode(path, "is gone", func(n *node) bool { return n == nil })
	if h.leader.v2 { // it lists the directory once, and what it sees this soon might be of before the deletion
		awaitPause(h.staleness() + time.Second)
	}
	preserved(h.c)
	h.awaitNodeWithin(10*time.Second+h.staleness(), path, "is back, and a blind spot", func(n *node) bool {
		return n != nil && n.Modified == float64(old.Unix()) && n.AgentMissing
	})
	h.same()
}

// listedLate has A delete a file in shared while what B listed is held up, and reports whether B's listings of shared
// that came afterwards still have it. It must not come back.
func (h *hosts) listedLate(name string) bool {
	h.t.Helper()
	path := "shared/" + name
	h.write(h.a, path, "by A")
	h.awaitNode(path, "is there", func(n *node) bool { return n != nil })
	h.late.hold()
	h.late.awaitHeld(h.t, patience(2*hostsAudit)) // an audit begins
	awaitPause(time.Second)                       // and should have listed the directory: whether it has, what came late tells
	h.must(h.t, os.Remove(filepath.Join(h.a.dir, path)))
	h.awaitNode(path, "is gone", func(n *node) bool { return n == nil })
	before, audits := h.segments(), h.head().Scan.Audits
	h.late.release()
	eventually(h.t, patience(20*time.Second), "the listings that were late are folded", func() bool {
		if n := h.node(path); n != nil {
			h.t.Fatalf("%s is back: %+v", path, n)
		}
		return h.head().Scan.Audits >= audits+2
	})
	for _, key := range h.segments() {
		if slices.Contains(before, key) {
			continue
		}
		for _, e := range h.events(key) {
			if e.Kind == event.Listing && e.Path == "/shared" && slices.ContainsFunc(e.Entries, func(e event.Entry) bool { return e.Name == name }) {
				return true
			}
		}
	}
	return false
}

func sessionDeleted(t *testing.T, h *hosts) {
	for _, each := range []*host{h.a, h.b} {
		before := h.sessions()[each.name]
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, h.ingestURL+"/api/v1/pipe/session/"+before.ID+"?view="+viewID, nil)
		h.must(t, err)
		request.Header.Set("X-API-Key", apiKey)
		response, err := http.DefaultClient.Do(request)
		h.must(t, err)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("DELETE session: %s", response.Status)
		}
		eventually(t, patience(20*time.Second), each.name+" has a new session", func() bool {
			now, there := h.sessions()[each.name]
			return there && now.ID != before.ID
		})
		h.reports(each, "shared")
	}
	h.awaitAudits(1)
	h.same()
}

func serversDie(t *testing.T, h *hosts) {
	others := []*process{h.ingest, h.compact, h.query, h.a.agent, h.b.agent}
	for i, victim := range []*process{h.ingest, h.compact, h.query} {
		victim.Kill()
		h.write(h.a, fmt.Sprint("shared/without-", victim.name), "by A")
		h.write(h.b, fmt.Sprint("b/without-", victim.name), "by B")
		for j, other := range others {
			if i != j && !other.running() {
				t.Errorf("fustor %s ended with fustor %s", other.name, victim.name)
			}
		}
		victim.Restart()
		h.same()
	}
	for _, each := range []*host{h.a, h.b} {
		h.reports(each, "shared")
	}
}
