//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/issuer"
	"github.com/fustor/fustor/testkit/s3test"
)

// caller is a user who asks, and what find shows that user.
type caller struct {
	name       string // of the host; empty: it has none
	credential *syscall.Credential
}

// numbers are the user as keys may have it.
func (c caller) numbers() string {
	ids := []string{strconv.Itoa(int(c.credential.Gid))}
	for _, g := range c.credential.Groups {
		ids = append(ids, strconv.Itoa(int(g)))
	}
	return fmt.Sprintf("%d:%s", c.credential.Uid, strings.Join(ids, ","))
}

// find is what find(1) prints below a tree for that user, as paths of the view; what may not be read is left out.
func (c caller) find(t *testing.T, tree string) []string {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.Command("find", tree, "-print0")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // find ends with 1 where it may not read something
		t.Fatal(err)
	}
	var paths []string
	for path := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\x00"), "\x00") {
		if below := strings.TrimPrefix(path, tree); below != "" {
			paths = append(paths, below)
		}
	}
	slices.Sort(paths)
	return paths
}

// sums are how many bytes the user finds below each directory of a tree whose attributes the user sees, as lines with paths of the
// view. Names alone, in a directory that may be read and not searched, count nowhere: find prints no size of them.
func (c caller) sums(t *testing.T, tree string) []string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("find", tree, "-printf", `%y %s %p\0`)
	cmd.Dir = "/"
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	of := map[string]int64{"/": 0}
	for found := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\x00"), "\x00") {
		parts := strings.SplitN(found, " ", 3)
		path := strings.TrimPrefix(parts[2], tree)
		size, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if path == "" {
			continue
		}
		if parts[0] == "d" {
			of[path] = 0
			continue
		}
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			of[dir] += size
			if dir == "/" {
				break
			}
		}
	}
	var lines []string
	for path, bytes := range of {
		lines = append(lines, fmt.Sprint(path, " ", bytes))
	}
	slices.Sort(lines)
	return lines
}

// guarded is a tree whose directories have random owners, modes and ACLs, which change.
type guarded struct {
	t      *testing.T
	root   string
	random *rand.Rand
	dirs   []string // the root first
	daemon *syscall.Credential
	acls   bool
}

// newGuarded makes one of sixty directories below root.
func newGuarded(t *testing.T, root string, acls bool) *guarded {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &guarded{t: t, root: root, random: rand.New(rand.NewPCG(seed, 1)), dirs: []string{root}, daemon: hostUser(t, "daemon"), acls: acls}
	for n := range 60 {
		d := filepath.Join(g.dirs[g.random.IntN(len(g.dirs))], fmt.Sprint("d", n))
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		g.dirs = append(g.dirs, d)
		for k := range g.random.IntN(3) {
			if err := os.WriteFile(filepath.Join(d, fmt.Sprint("f", k)), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, d := range g.dirs[1:] {
		g.grant(d)
	}
	return g
}

// grant gives a directory another owner, another mode and maybe an ACL.
func (g *guarded) grant(path string) {
	g.t.Helper()
	random := g.random
	ids := []int{0, 1, int(g.daemon.Uid), 4321, 4399}
	gids := []int{0, int(g.daemon.Gid), 4322, 4323, 4399}
	mode := os.FileMode(random.IntN(0o1000))
	if random.IntN(2) == 0 {
		mode = []os.FileMode{0o755, 0o750, 0o711, 0o700, 0o744, 0o770, 0o705}[random.IntN(7)]
	}
	if err := errors.Join(os.Chown(path, ids[random.IntN(len(ids))], gids[random.IntN(len(gids))]), os.Chmod(path, mode)); err != nil {
		g.t.Fatal(err)
	}
	if g.acls && random.IntN(4) == 0 {
		rights := []string{"---", "r--", "r-x", "rwx", "--x"}
		entry := fmt.Sprintf("u:%d:%s,g:%d:%s,m::%s", ids[random.IntN(len(ids))], rights[random.IntN(5)], gids[random.IntN(len(gids))], rights[random.IntN(5)], rights[random.IntN(5)])
		if out, err := exec.Command("setfacl", "-m", entry, path).CombinedOutput(); err != nil {
			g.t.Fatalf("setfacl %s: %v: %s", entry, err, out)
		}
	}
}

// change makes eight changes of rights, renames into other rights among them.
func (g *guarded) change(round int) {
	g.t.Helper()
	for range 8 {
		i := 1 + g.random.IntN(len(g.dirs)-1)
		if g.random.IntN(3) > 0 {
			g.grant(g.dirs[i])
			continue
		}
		to := filepath.Join(g.dirs[g.random.IntN(len(g.dirs))], fmt.Sprint("moved", round, i))
		if os.Rename(g.dirs[i], to) == nil { // what is below comes along
			from := g.dirs[i]
			for k, d := range g.dirs {
				if rest, below := strings.CutPrefix(d+"/", from+"/"); below {
					g.dirs[k] = strings.TrimSuffix(to+"/"+rest, "/")
				}
			}
		}
	}
}

// callers are users of the host and of none.
func (g *guarded) callers() []caller {
	return []caller{{"daemon", g.daemon}, {"", &syscall.Credential{Uid: 4321, Gid: 4322, Groups: []uint32{g.daemon.Gid, 4323}}}}
}

// way is a way to ask, and what find shows whom it answers; what went wrong comes with the lines.
type way func() (got, want []string)

// agree waits until all ways say what find shows, and returns how much that is.
func agree(t *testing.T, ways map[string]way, when string) (all int) {
	t.Helper()
	for name, way := range ways {
		var got, want []string
		last := ""
		eventually(t, patience(20*time.Second), when+": "+name+" to see what find shows", func() bool {
			got, want = way()
			if diff := firstDifference(got, want); diff != "" {
				if diff != last {
					t.Logf("%s: %s: %d paths, find has %d; first difference: %s", when, name, len(got), len(want), diff)
				}
				last = diff
				return false
			}
			return true
		})
		all += len(want)
	}
	return all
}

// askedBy is a server that users ask.
type askedBy struct {
	t           *testing.T
	env         []string // of commands, with nothing of the test's own
	url, socket string
}

// pathsIn are the paths that find printed, but for the root's.
func pathsIn(r result) []string {
	if r.code != 0 {
		return []string{fmt.Sprint("exit code ", r.code, ": ", r.stderr)}
	}
	var paths []string
	for line := range strings.Lines(r.stdout) {
		if path := strings.TrimSuffix(line, "\n"); path != "/" {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func (a *askedBy) atSocket(c caller, args ...string) result {
	return finish(a.t, append(slices.Clone(a.env), "FUSTOR_SOCKET="+a.socket), c.credential, args...)
}

// sumsAtSocket are the user's sums, as caller.sums has them.
func (a *askedBy) sumsAtSocket(c caller) []string {
	root := a.atSocket(c, "stat", "/", "--json")
	below := a.atSocket(c, "report", "largest", "/", "--directories", "--limit", "1000")
	if root.code != 0 || below.code != 0 {
		return []string{fmt.Sprint("exit codes ", root.code, " and ", below.code, ": ", root.stderr, below.stderr)}
	}
	var e struct {
		Subtree struct {
			Bytes int64 `json:"bytes"`
		} `json:"subtree"`
	}
	if err := json.Unmarshal([]byte(root.stdout), &e); err != nil {
		a.t.Fatal(err)
	}
	sums := []string{fmt.Sprint("/ ", e.Subtree.Bytes)}
	for line := range strings.Lines(below.stdout) { // bytes, mtime, uid, path
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		sums = append(sums, fields[3]+" "+fields[0])
	}
	slices.Sort(sums)
	return sums
}

func (a *askedBy) withKey(key string, more ...string) []string {
	return pathsIn(finish(a.t, a.env, nil, append([]string{"find", "/", "--url", a.url, "--api-key", key}, more...)...))
}

// ways are those by the socket, with a key of the user, and as an administrator with a key asks for the user; find looks at tree.
func (a *askedBy) ways(st store.Store, c caller, admin, tree string) map[string]way {
	a.t.Helper()
	key := access.GenerateKey()
	if err := access.Register(a.t.Context(), st, key, access.Record{Name: "user", Roles: []access.Role{access.Query}, Views: access.AllViews, As: c.numbers()}); err != nil {
		a.t.Fatal(err)
	}
	who := fmt.Sprint("uid ", c.credential.Uid)
	return map[string]way{
		who + " at the socket":            func() ([]string, []string) { return pathsIn(a.atSocket(c, "find", "/")), c.find(a.t, tree) },
		"the sums of " + who:              func() ([]string, []string) { return a.sumsAtSocket(c), c.sums(a.t, tree) },
		who + " with a key":               func() ([]string, []string) { return a.withKey(key), c.find(a.t, tree) },
		who + " as an administrator asks": func() ([]string, []string) { return a.withKey(admin, "--as", c.numbers()), c.find(a.t, tree) },
	}
}

// TestCallersSeeWhatFindShows has a user ask by the socket, with a key, with a token of an OpenID provider and through a reverse proxy, and
// compares with find(1) as that user; and again after rights changed.
func TestCallersSeeWhatFindShows(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have files of many users and to be each of them")
	}
	_, noACLs := exec.LookPath("setfacl")
	if noACLs != nil {
		t.Log("SKIPPED ACLs: setfacl is not installed")
	}
	t.Parallel()
	dir := inMemory(t)
	data, run := t.TempDir(), filepath.Join(dir, "run")
	tree := filepath.Join(dir, "tree")
	for _, d := range []string{run, tree} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(run, "q.sock")
	g := newGuarded(t, tree, noACLs == nil)

	config := viewconfig.Default("default")
	config.OpenTo = []string{viewconfig.OpenToSocket, viewconfig.OpenToOIDC, viewconfig.OpenToProxy}
	st := openStore(t, "file://"+filepath.Join(data, "store"))
	if err := viewconfig.Save(t.Context(), st, config); err != nil {
		t.Fatal(err)
	}
	provider := issuer.New(t)
	u := &up{dir: tree, data: data, server: server{"--data", data}}
	u.process = start(t, nil, "up", tree, "--data", data, "--listen", "127.0.0.1:0", "--socket", socket,
		"--oidc-issuer", provider.URL(), "--oidc-audience", "fustor", "--user-header", "X-Remote-User", "--trusted-proxy", "127.0.0.1")
	u.serves()
	var said struct {
		URL string `json:"url"`
	}
	b, err := os.ReadFile(filepath.Join(data, "up.json"))
	if err != nil || json.Unmarshal(b, &said) != nil {
		t.Fatal(err)
	}
	ask := &askedBy{t: t, url: said.URL, socket: socket, env: []string{"HOME=" + run, "XDG_DATA_HOME=" + run, "XDG_CONFIG_HOME=" + run}} // where everybody may look, and nothing is

	throughProxy := func(user string) []string {
		r, err := http.NewRequest("GET", said.URL+"/api/v1/views/default/search?"+url.Values{"pattern": {"*"}}.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Remote-User", user)
		r.Header.Set("Accept", "application/x-ndjson")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return []string{fmt.Sprint(resp.StatusCode, string(body), err)}
		}
		var paths []string
		for line := range bytes.Lines(body) {
			var e struct {
				Path string `json:"path"`
			}
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			if e.Path != "/" {
				paths = append(paths, e.Path)
			}
		}
		slices.Sort(paths)
		return paths
	}
	admin, err := os.ReadFile(filepath.Join(data, "api-key"))
	if err != nil {
		t.Fatal(err)
	}
	callers, ways := g.callers(), map[string]way{}
	for _, c := range callers {
		maps.Copy(ways, ask.ways(st, c, strings.TrimSpace(string(admin)), tree))
	}
	daemon := callers[0]
	ways["daemon with a token"] = func() ([]string, []string) {
		return ask.withKey(provider.Token("fustor", "daemon", nil)), daemon.find(t, tree)
	}
	ways["daemon through the proxy"] = func() ([]string, []string) { return throughProxy("daemon"), daemon.find(t, tree) }
	root := caller{"root", &syscall.Credential{}}
	ways["root at the socket"] = func() ([]string, []string) { return pathsIn(ask.atSocket(root, "find", "/")), root.find(t, tree) }
	all := agree(t, ways, "at first")
	for round := range shortOr(2, 30) {
		g.change(round)
		all += agree(t, ways, fmt.Sprint("after round ", round))
	}
	if all == 0 {
		t.Error("nobody saw anything")
	}

	// What is refused.
	said401 := finish(t, ask.env, nil, "find", "/", "--url", said.URL, "--api-key", provider.Token("other", "daemon", nil))
	if said401.code == 0 || !strings.Contains(said401.stderr, "not accepted") {
		t.Errorf("a token for another service: %d %s", said401.code, said401.stderr)
	}
	if r := ask.atSocket(callers[1], "find", "/", "--as", "root"); r.code == 0 || !strings.Contains(r.stderr, "may ask as a user") {
		t.Errorf("a user who asks as root: %d %s", r.code, r.stderr)
	}
	if err := os.Chmod(run, 0o777); err != nil {
		t.Fatal(err)
	}
	if r := ask.atSocket(callers[1], "find", "/"); r.code == 0 || !strings.Contains(r.stderr, "is not safe") || strings.Contains(r.stdout, "/d") {
		t.Errorf("a socket that others could replace: %d %s", r.code, r.stderr)
	}
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	// A server that was killed leaves its socket; the next one takes its place.
	u.Kill()
	u.Restart()
	u.serves()
	if got, want := pathsIn(ask.atSocket(callers[1], "find", "/")), callers[1].find(t, tree); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
}

// TestCallersOfAnotherMount has users ask of a view whose store is MinIO and whose agent watches one mount of a directory, and compares with what
// find shows them on another mount, through which the rights change.
func TestCallersOfAnotherMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have files of many users and to be each of them")
	}
	if _, err := exec.LookPath("bindfs"); err != nil {
		t.Skip("no bindfs: install it to test two mounts of one directory")
	}
	t.Parallel()
	disk, run := inMemory(t), inMemory(t)
	for _, dir := range []string{disk, run} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	one, other := mount(t, disk, "A"), mount(t, disk, "B")
	for dir := filepath.Dir(other.dir); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // so that users get to the mount at all
			t.Fatal(err)
		}
	}
	g := newGuarded(t, other.dir, false) // of a mount that knows no ACLs, find would not show what they grant

	h := &hosts{}
	url := s3test.MinIO(t).URL("minio", "callers")
	h.configure(t, url, viewID, time.Second, hostsStaleness)
	st := openStore(t, url)
	config, err := viewconfig.NewLoader(st, time.Now).Load(t.Context(), viewID)
	if err != nil {
		t.Fatal(err)
	}
	config.OpenTo = []string{viewconfig.OpenToSocket}
	if err := viewconfig.Save(t.Context(), st, config); err != nil {
		t.Fatal(err)
	}
	p := startParts(t, url)
	p.startAgent(one.dir, "a", url)
	socket := filepath.Join(run, "q.sock")
	q := start(t, p.env, "query", "--store", url, "--listen", "127.0.0.1:0", "--socket", socket)
	ask := &askedBy{t: t, url: q.says(readyURL, 0), socket: socket, env: []string{"HOME=" + run, "XDG_DATA_HOME=" + run, "XDG_CONFIG_HOME=" + run, "FUSTOR_VIEW=" + viewID}}
	ways := map[string]way{}
	for _, c := range g.callers() {
		maps.Copy(ways, ask.ways(st, c, apiKey, other.dir))
	}
	all := agree(t, ways, "at first")
	for round := range shortOr(1, 20) {
		g.change(round)
		all += agree(t, ways, fmt.Sprint("after round ", round))
	}
	if all == 0 {
		t.Error("nobody saw anything")
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return "lacks " + want[i]
		case i >= len(want) || got[i] < want[i]:
			return "has " + got[i]
		case got[i] > want[i]:
			return "lacks " + want[i]
		}
	}
	return ""
}

// hostUser is a user of this host with all groups, as its name service has it.
func hostUser(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	line, err := exec.Command("getent", "passwd", name).Output()
	fields := strings.Split(string(line), ":")
	groups, bad := exec.Command("getent", "initgroups", name).Output()
	if err != nil || bad != nil || len(fields) < 4 {
		t.Skip("getent, or its user " + name + ", is missing")
	}
	id := func(text string) uint32 {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	c := &syscall.Credential{Uid: id(fields[2]), Gid: id(fields[3])}
	for _, g := range strings.Fields(string(groups))[1:] {
		c.Groups = append(c.Groups, id(g))
	}
	return c
}
