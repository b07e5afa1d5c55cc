//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/issuer"
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

// TestCallersSeeWhatFindShows has a user ask by the socket, with a key, with a token of an OpenID provider and through a reverse proxy, and
// compares with find(1) as that user; and again after rights changed.
func TestCallersSeeWhatFindShows(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have files of many users and to be each of them")
	}
	_, noACLs := exec.LookPath("setfacl")
	if noACLs != nil {
		t.Log("setfacl is missing: no ACLs")
	}
	t.Parallel()
	daemon := caller{"daemon", hostUser(t, "daemon")}
	callers := []caller{daemon, {"", &syscall.Credential{Uid: 4321, Gid: 4322, Groups: []uint32{daemon.credential.Gid, 4323}}}}

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
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dirs := []string{tree}
	grant := func(path string) {
		t.Helper()
		ids := []int{0, 1, int(daemon.credential.Uid), 4321, 4399}
		gids := []int{0, int(daemon.credential.Gid), 4322, 4323, 4399}
		mode := os.FileMode(random.IntN(0o1000))
		if random.IntN(2) == 0 {
			mode = []os.FileMode{0o755, 0o750, 0o711, 0o700, 0o744, 0o770, 0o705}[random.IntN(7)]
		}
		if err := errors.Join(os.Chown(path, ids[random.IntN(len(ids))], gids[random.IntN(len(gids))]), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if noACLs == nil && random.IntN(4) == 0 {
			rights := []string{"---", "r--", "r-x", "rwx", "--x"}
			entry := fmt.Sprintf("u:%d:%s,g:%d:%s,m::%s", ids[random.IntN(len(ids))], rights[random.IntN(5)], gids[random.IntN(len(gids))], rights[random.IntN(5)], rights[random.IntN(5)])
			if out, err := exec.Command("setfacl", "-m", entry, path).CombinedOutput(); err != nil {
				t.Fatalf("setfacl %s: %v: %s", entry, err, out)
			}
		}
	}
	for n := range 60 {
		parent := dirs[random.IntN(len(dirs))]
		d := filepath.Join(parent, fmt.Sprint("d", n))
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, d)
		for k := range random.IntN(3) {
			if err := os.WriteFile(filepath.Join(d, fmt.Sprint("f", k)), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, d := range dirs[1:] {
		grant(d)
	}

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
	env := []string{"HOME=" + run, "XDG_DATA_HOME=" + run, "XDG_CONFIG_HOME=" + run} // where everybody may look, and nothing is

	// The ways to ask, each as lines of paths; what went wrong comes with them.
	lines := func(r result) []string {
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
	atSocket := func(c caller) []string {
		return lines(finish(t, append(env, "FUSTOR_SOCKET="+socket), c.credential, "find", "/"))
	}
	sumsAtSocket := func(c caller) []string {
		root := finish(t, append(env, "FUSTOR_SOCKET="+socket), c.credential, "stat", "/", "--json")
		below := finish(t, append(env, "FUSTOR_SOCKET="+socket), c.credential, "report", "largest", "/", "--directories", "--limit", "1000")
		if root.code != 0 || below.code != 0 {
			return []string{fmt.Sprint("exit codes ", root.code, " and ", below.code, ": ", root.stderr, below.stderr)}
		}
		var e struct {
			Subtree struct {
				Bytes int64 `json:"bytes"`
			} `json:"subtree"`
		}
		if err := json.Unmarshal([]byte(root.stdout), &e); err != nil {
			t.Fatal(err)
		}
		sums := []string{fmt.Sprint("/ ", e.Subtree.Bytes)}
		for line := range strings.Lines(below.stdout) { // bytes, mtime, uid, path
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			sums = append(sums, fields[3]+" "+fields[0])
		}
		slices.Sort(sums)
		return sums
	}
	withKey := func(key string, more ...string) []string {
		return lines(finish(t, env, nil, append([]string{"find", "/", "--url", said.URL, "--api-key", key}, more...)...))
	}
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
	ways := map[string]func() (got, want []string){}
	for _, c := range callers {
		key := access.GenerateKey()
		if err := access.Register(t.Context(), st, key, access.Record{Name: "user", Roles: []access.Role{access.Query}, Views: access.AllViews, As: c.numbers()}); err != nil {
			t.Fatal(err)
		}
		who := fmt.Sprint("uid ", c.credential.Uid)
		ways[who+" at the socket"] = func() ([]string, []string) { return atSocket(c), c.find(t, tree) }
		ways["the sums of "+who] = func() ([]string, []string) { return sumsAtSocket(c), c.sums(t, tree) }
		ways[who+" with a key"] = func() ([]string, []string) { return withKey(key), c.find(t, tree) }
		ways[who+" as an administrator asks"] = func() ([]string, []string) {
			return withKey(strings.TrimSpace(string(admin)), "--as", c.numbers()), c.find(t, tree)
		}
	}
	ways["daemon with a token"] = func() ([]string, []string) {
		return withKey(provider.Token("fustor", "daemon", nil)), daemon.find(t, tree)
	}
	ways["daemon through the proxy"] = func() ([]string, []string) { return throughProxy("daemon"), daemon.find(t, tree) }
	root := caller{"root", &syscall.Credential{}}
	ways["root at the socket"] = func() ([]string, []string) { return atSocket(root), root.find(t, tree) }
	all := 0
	same := func(when string) {
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
	}
	same("at first")
	for round := range shortOr(2, 30) {
		for range 8 {
			i := 1 + random.IntN(len(dirs)-1)
			if random.IntN(3) == 0 { // a rename takes what is below along, into other rights
				to := filepath.Join(dirs[random.IntN(len(dirs))], fmt.Sprint("moved", round, i))
				if os.Rename(dirs[i], to) == nil {
					from := dirs[i]
					for k, d := range dirs {
						if rest, below := strings.CutPrefix(d+"/", from+"/"); below {
							dirs[k] = strings.TrimSuffix(to+"/"+rest, "/")
						}
					}
				}
				continue
			}
			grant(dirs[i])
		}
		same(fmt.Sprint("after round ", round))
	}
	if all == 0 {
		t.Error("nobody saw anything")
	}

	// What is refused.
	said401 := finish(t, env, nil, "find", "/", "--url", said.URL, "--api-key", provider.Token("other", "daemon", nil))
	if said401.code == 0 || !strings.Contains(said401.stderr, "not accepted") {
		t.Errorf("a token for another service: %d %s", said401.code, said401.stderr)
	}
	if r := finish(t, append(env, "FUSTOR_SOCKET="+socket), callers[1].credential, "find", "/", "--as", "root"); r.code == 0 || !strings.Contains(r.stderr, "may ask as a user") {
		t.Errorf("a user who asks as root: %d %s", r.code, r.stderr)
	}
	if err := os.Chmod(run, 0o777); err != nil {
		t.Fatal(err)
	}
	if r := finish(t, append(env, "FUSTOR_SOCKET="+socket), callers[1].credential, "find", "/"); r.code == 0 || !strings.Contains(r.stderr, "is not safe") || strings.Contains(r.stdout, "/d") {
		t.Errorf("a socket that others could replace: %d %s", r.code, r.stderr)
	}
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	// A server that was killed leaves its socket; the next one takes its place.
	u.Kill()
	u.Restart()
	u.serves()
	if got, want := atSocket(callers[1]), callers[1].find(t, tree); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q, want %q", got, want)
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
