//go:build linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/s3test"
)

// startHost starts an agent on a host, that keeps its state in a directory of its own.
func (p *parts) startHost(on *host, state, storeURL string, more ...string) *process {
	p.t.Helper()
	p.known(storeURL)
	args := append([]string{"agent", on.dir, "--ingest", p.ingestURL, "--view", viewID, "--agent-id", on.name,
		"--state", filepath.Join(state, "session.json"), "--store", storeURL}, more...)
	return start(p.t, p.env, args...)
}

// line is a network connection to a server, which can be cut.
type line struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool // whether it is to a client
}

func newLine(t testing.TB, endpoint string) *line {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{server: u.Host, conns: map[net.Conn]bool{}}
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.listener.Close(); l.cut() })
	go l.serve()
	return l
}

func (l *line) serve() {
	for {
		in, err := l.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", l.server)
		if err != nil || !l.joined(in, out) {
			in.Close()
			continue
		}
		go func() { _, _ = io.Copy(out, in); in.Close(); out.Close() }()
		go func() { _, _ = io.Copy(in, out); in.Close(); out.Close() }()
	}
}

func (l *line) joined(in, out net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		out.Close()
		return false
	}
	l.conns[in], l.conns[out] = true, false
	return true
}

// cut ends every connection, and every new one at once, until mend.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}

// speak says something to every client, in the server's name.
func (l *line) speak(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, client := range l.conns {
		if client {
			_, _ = io.WriteString(c, text) // it may have gone
		}
	}
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// over is a store URL that goes through here.
func (l *line) over(storeURL string) string {
	here := l.listener.Addr().String()
	return strings.NewReplacer(l.server, here, url.QueryEscape(l.server), url.QueryEscape(here)).Replace(storeURL)
}

// covered is what an agent says once it watches every directory; what happened before, while it was not there, it does not see.
var covered = regexp.MustCompile(`msg="scan complete" part=agent scan=(cover|snapshot)`)

// TestFollowerIsKilledDuringAnOutage has a follower see changes that no one else's kernel tells of, while its store is
// away, and be killed, again and again. No audit comes to help: what the view shows in the end was in the spool.
func TestFollowerIsKilledDuringAnOutage(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bindfs"); err != nil {
		t.Skip("no bindfs: install it to test several hosts on one file server")
	}
	disk := t.TempDir()
	if err := os.Mkdir(filepath.Join(disk, "shared"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := mount(t, disk, "A"), mount(t, disk, "B")
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "spooled")
	c := viewconfig.Default(viewID)
	c.SessionTimeoutSeconds, c.AuditIntervalSeconds, c.SentinelIntervalSeconds = leaseTime.Seconds(), 0, 0
	if err := viewconfig.Save(t.Context(), openStore(t, url), c); err != nil {
		t.Fatal(err)
	}
	p := startParts(t, url)
	line := newLine(t, minio.Endpoint())
	p.startHost(a, t.TempDir(), url)
	p.awaitRole("A", "leader", 1, patience(20*time.Second))
	state := t.TempDir()
	agent := p.startHost(b, state, line.over(url))
	p.awaitRole("B", "follower", 0, patience(20*time.Second))
	agent.says(covered, 0)
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(b.dir, "shared", name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"before"}
	// The directory's own mtime is B's kernel's of a second before; only audits would mend that.
	allThere := func(within time.Duration) {
		t.Helper()
		eventually(t, within, "the view has the files", func() bool {
			view, err := p.find(t)
			return err == nil && !slices.ContainsFunc(names, func(n string) bool { _, ok := view["/shared/"+n]; return !ok })
		})
	}
	write("before")
	allThere(patience(20 * time.Second))

	line.cut()
	spool := filepath.Join(state, "session.spool", viewID)
	for round := range 3 {
		for i := range 20 {
			names = append(names, fmt.Sprintf("%d-%d", round, i))
			write(names[len(names)-1])
		}
		eventually(t, patience(20*time.Second), "the events are in the spool", func() bool {
			said := ""
			files, _ := filepath.Glob(filepath.Join(spool, "*.seg"))
			for _, f := range files {
				said += command(t, nil, "segment", "cat", f).stdout
			}
			return !slices.ContainsFunc(names[1:], func(n string) bool { return !strings.Contains(said, fmt.Sprintf("%q", "/shared/"+n)) })
		})
		agent.Kill()
		from := len(agent.log.String())
		agent.Restart()
		agent.says(covered, from)
	}
	line.mend()
	back := time.Now()
	allThere(patience(30 * time.Second))
	t.Logf("all %d files are in the view %v after the store is back", len(names), time.Since(back).Round(time.Millisecond))
	eventually(t, patience(20*time.Second), "the spool is empty", func() bool {
		files, _ := filepath.Glob(filepath.Join(spool, "*.seg"))
		return len(files) == 0
	})
}

// TestSpoolOnAFullDisk has the spool's file system fill up during an outage.
func TestSpoolOnAFullDisk(t *testing.T) {
	t.Parallel()
	small := t.TempDir()
	if err := syscall.Mount("none", small, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "fulldisk")
	setSessionTimeout(t, url, leaseTime)
	p := startParts(t, url)
	line := newLine(t, minio.Endpoint())
	dir := inMemory(t)
	agent := p.startHost(&host{name: "A", dir: dir}, t.TempDir(), line.over(url), "--spool", small)
	p.awaitRole("A", "leader", 1, patience(20*time.Second))
	work(t, dir, 90, operationsOf(300), nil)
	p.equal(t, dir, time.Now(), patience(20*time.Second))

	line.cut()
	for i := range 50_000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%x-%d", sha256.Sum256([]byte{byte(i), byte(i >> 8)}), i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	agent.says(regexp.MustCompile(`level=ERROR msg="the spool is failing; .*no space left on device`), 0)
	line.mend()
	p.equal(t, dir, time.Now(), patience(60*time.Second))
	if err := os.WriteFile(filepath.Join(dir, "small"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	agent.says(regexp.MustCompile(`msg="the spool works again"`), 0)
	if strings.Count(agent.log.String(), "the spool is failing") != 1 {
		t.Error("it said so more than once")
	}
}
