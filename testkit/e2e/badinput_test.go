//go:build unix

package e2e

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// fails checks that a command ended as one does that cannot do what it was asked: exit code 1 or 2, one line that says
// what is wrong, with these words in it, one line that says what to do, and nothing else.
func (r result) fails(t *testing.T, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if r.code != 1 && r.code != 2 {
		t.Errorf("exit code %d", r.code)
	}
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "fustor: error: ") || !strings.HasPrefix(lines[1], "fustor: hint: ") {
		t.Errorf("not one error and one hint:\n%s", r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(lines[0], word) {
			t.Errorf("the error does not say %q: %s", word, lines[0])
		}
	}
	if r.stdout != "" {
		t.Errorf("stdout: %.300s", r.stdout)
	}
}

// writers are the commands that write into a store, readers those that read it, each with all flags but --store.
var (
	writers = [][]string{{"ingest", "--listen", "127.0.0.1:0"}, {"compact"}, {"compact", "--follow"}}
	readers = [][]string{{"query", "--listen", "127.0.0.1:0"}}
)

// onStore is the commands with a store URL; agents too, which write.
func onStore(t *testing.T, storeURL string, commands ...[]string) [][]string {
	agent := []string{"agent", t.TempDir(), "--ingest", "http://127.0.0.1:1", "--state", filepath.Join(t.TempDir(), "state")}
	var all [][]string
	for _, c := range append(slices.Clone(commands), agent) {
		all = append(all, append(slices.Clone(c), "--store", storeURL))
	}
	return all
}

func TestBadDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct{ dir, says string }{{missing, "does not exist"}, {file, "not a directory"}} {
		command(t, nil, "up", c.dir, "--data", t.TempDir(), "--listen", "127.0.0.1:0").fails(t, c.dir, c.says)
		command(t, nil, "agent", c.dir, "--ingest", "http://127.0.0.1:1", "--state", file+"-state").fails(t, c.dir, c.says)
	}
	command(t, nil, "up", t.TempDir(), "--data", filepath.Join(file, "below"), "--listen", "127.0.0.1:0").fails(t, file)
	if _, err := os.Lstat(missing); err == nil {
		t.Error("the missing directory was made")
	}
}

// nobody is a user without rights: nil where this process has none to give up.
func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("this machine has no user nobody to become")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), NoSetGroups: true}
}

func TestDirectoryWithoutPermission(t *testing.T) {
	t.Parallel()
	as := nobody(t)
	base, err := os.MkdirTemp("", "fustor-e2e-rights-") // unlike t.TempDir reachable for others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	closed, data, closedData := filepath.Join(base, "closed"), filepath.Join(base, "data"), filepath.Join(base, "closed-data")
	for dir, mode := range map[string]os.FileMode{base: 0o755, closed: 0, data: 0o700, closedData: 0o500} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if as != nil && dir == data {
			if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	finish(t, nil, as, "up", closed, "--data", data, "--listen", "127.0.0.1:0").fails(t, closed, "permission denied")
	finish(t, nil, as, "agent", closed, "--ingest", "http://127.0.0.1:1", "--state", filepath.Join(data, "state")).fails(t, closed, "permission denied")
	finish(t, nil, as, "up", data, "--data", closedData, "--listen", "127.0.0.1:0").fails(t, closedData, "permission denied")
	finish(t, nil, as, "compact", "--store", "file://"+closedData).fails(t, closedData, "permission denied")
}

func TestOccupiedPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	store := fileStore(t)
	for _, args := range [][]string{
		{"up", t.TempDir(), "--data", t.TempDir()}, {"ingest", "--store", store}, {"query", "--store", store},
	} {
		command(t, nil, append(args, "--listen", l.Addr().String())...).fails(t, port, "in use")
		command(t, nil, append(args, "--listen", "nonsense")...).fails(t, "nonsense")
	}
}

func TestTwoUpOnOneDataDirectory(t *testing.T) {
	t.Parallel()
	u := startUp(t, t.TempDir(), t.TempDir())
	command(t, nil, "up", u.dir, "--data", u.data, "--listen", "127.0.0.1:0").fails(t, u.data)
	if r := u.ask(t, "version"); r.code == 0 && !u.running() {
		t.Error("the first has ended")
	}
	u.Stop()
}

func TestBadStoreURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"ftp://host/x", "nonsense", "s3://", "minio://127.0.0.1:9000", "s3://bucket/x?unknown=1", "file://relative/path"} {
		for _, args := range onStore(t, bad, slices.Concat(writers, readers)...) {
			r := command(t, nil, args...)
			r.fails(t, "store URL")
			if r.code != 2 {
				t.Errorf("%s: exit code %d; a command line that cannot be meant is 2", args[0], r.code)
			}
		}
	}
}

// refusing is an address at which nobody listens. It is held, so that no other test's server is given its port meanwhile.
func refusing(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		t.Cleanup(func() { syscall.Close(socket) })
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var address syscall.Sockaddr
	if err == nil {
		address, err = syscall.Getsockname(socket)
	}
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(address.(*syscall.SockaddrInet4).Port))
}

// TestBadStore has stores that cannot be used, each for a reason of its own.
func TestBadStore(t *testing.T) {
	t.Parallel()
	minio := s3test.MinIO(t)
	good, err := url.Parse(minio.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	closed := refusing(t)
	website := httptest.NewServer(http.NotFoundHandler())
	defer website.Close()
	all := slices.Concat(writers, readers)
	wrong := []string{"AWS_SECRET_ACCESS_KEY=wrong", "MINIO_SECRET_KEY=wrong"}
	for _, c := range []struct {
		name, host, bucket string
		env                []string
		commands           [][]string
		says               string
	}{
		{"unreachable", closed, "fustor", nil, all, "refused"},
		{"wrong credentials", good.Host, "fustor", wrong, all, "denied"},
		{"missing bucket", good.Host, "no-such-bucket", nil, all, "bucket"},
		{"not S3", website.Listener.Addr().String(), "fustor", nil, writers, "fustor"}, // to a reader it looks empty
	} {
		for _, backend := range []string{
			"minio://" + c.host + "/" + c.bucket + "/p?tls=false",
			"s3://" + c.bucket + "/p?region=" + s3test.Region + "&endpoint=" + url.QueryEscape("http://"+c.host),
		} {
			scheme, _, _ := strings.Cut(backend, ":")
			t.Run(c.name+" "+scheme, func(t *testing.T) {
				for _, args := range onStore(t, backend, c.commands...) {
					if args[0] == "agent" && c.name == "unreachable" {
						continue // it has a tree to watch: TestAgentStartsWithoutStore
					}
					command(t, c.env, args...).fails(t, c.says)
				}
				command(t, c.env, "doctor", backend).fails(t, c.says)
			})
		}
	}
}

// TestAgentStartsWithoutStore has an agent start while the store is down, as after a power cut.
func TestAgentStartsWithoutStore(t *testing.T) {
	t.Parallel()
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "late")
	p := startParts(t, url)
	minio.Kill()
	dir := t.TempDir()
	a := p.startAgent(dir, "early", url)
	a.says(regexp.MustCompile("cannot reach the store; the agent watches the tree"), 0)
	work(t, dir, 60, operationsOf(500), nil)
	minio.Start(t)
	p.equal(t, dir, time.Now(), patience(60*time.Second))
}

// TestStoreWithoutConditions refuses a server that overwrites what it was told not to.
func TestStoreWithoutConditions(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(&careless{objects: map[string][]byte{}})
	defer s.Close()
	for _, backend := range []string{
		"minio://" + s.Listener.Addr().String() + "/fustor/p?tls=false",
		"s3://fustor/p?region=" + s3test.Region + "&endpoint=" + url.QueryEscape(s.URL),
	} {
		env := s3test.Env()
		for _, args := range onStore(t, backend, writers...) {
			command(t, env, args...).fails(t, "unfit", "create refuses an existing object")
		}
		if r := command(t, env, "doctor", backend); r.code != 1 || !strings.Contains(r.stdout, "FAIL  create refuses an existing object") {
			t.Errorf("doctor: exit code %d:\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
}
