//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/wait"
)

// tools are what the view is compared with. Those of ACLs are not everywhere.
var tools = []string{"find", "du", "stat", "xargs"}

// needTools skips the test if a tool is missing. acls: those of ACLs are there, too, and the file system has ACLs.
func needTools(t *testing.T) (acls bool) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s(1) to compare with", tool)
		}
	}
	for _, tool := range []string{"getfacl", "setfacl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("SKIPPED ACLs: there is no %s(1) to compare with", tool)
			return false
		}
	}
	if out, err := exec.Command("setfacl", "-m", "u:7:r", t.TempDir()).CombinedOutput(); err != nil {
		t.Logf("SKIPPED ACLs: setfacl: %s", out)
		return false
	}
	return true
}

// detail is all that find -printf '%s %b %n %i %C@ %U %G %u %g %T@ %m', stat -c %W and getfacl say of an entry. The inode is told of
// files with several names only.
type detail struct {
	size, allocated, links int64
	inode                  string
	ctimeNs, mtimeNs       int64
	uid, gid, mode         int64
	owner, group           string
	birthNs                int64  // whole seconds; 0: not known
	acl                    string // none: there is none; empty: the view does not tell it
	directory, file        bool   // of toolsDetails, until the ACLs are known
}

func (d detail) String() string {
	return fmt.Sprintf("size %d allocated %d links %d inode %q ctime %d mtime %d owner %d:%d %q:%q mode %04o birth %d ACL %q",
		d.size, d.allocated, d.links, d.inode, d.ctimeNs, d.mtimeNs, d.uid, d.gid, d.owner, d.group, d.mode, d.birthNs, d.acl)
}

// toolsDetails is a tree as the tools say, by path. An entry that goes away meanwhile is in none or a part of them.
func toolsDetails(t *testing.T, dir string, acls bool) map[string]detail {
	t.Helper()
	found, births := findDetails(t, dir), birthsOf(t, dir)
	var extended map[string]string
	if acls {
		extended = aclsOf(t, dir)
	}
	for path, d := range found {
		d.birthNs = births[path]
		_, above := extended[filepath.Dir(path)]
		if tells := d.directory || d.file && above; tells && acls {
			if d.acl = extended[path]; d.acl == "" {
				d.acl = "none"
			}
		}
		d.directory, d.file = false, false
		found[path] = d
	}
	return found
}

// birthsOf are the births of a tree's entries as stat(1) says, ns.
func birthsOf(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	// Names must not break the format: stat has no %P, so each line is a number and a path that ends with a NUL.
	out, _ := exec.Command("sh", "-c", `find "$0" -xdev -print0 | xargs -0 stat --printf '%W %n\0'`, dir).Output() // entries may go away
	births := map[string]int64{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if seconds, path, ok := strings.Cut(entry, " "); ok {
			n, err := strconv.ParseInt(seconds, 10, 64)
			if err != nil {
				t.Fatalf("stat prints %q", entry)
			}
			births["/"+strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")] = n * 1e9
		}
	}
	return births
}

// octal is how getfacl writes the bytes of names that it does not print.
var octal = regexp.MustCompile(`\\[0-7]{3}|\\\\`)

// aclsOf are the access ACLs of a tree's entries that have one, as getfacl says, in one line each.
func aclsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out, _ := exec.Command("getfacl", "-R", "-P", "--access", "--absolute-names", "--numeric", "--no-effective", "--skip-base", dir).Output() // entries may go away
	acls := map[string]string{}
	for block := range strings.SplitSeq(string(out), "\n\n") {
		path := ""
		var entries []string
		for line := range strings.SplitSeq(block, "\n") {
			if name, ok := strings.CutPrefix(line, "# file: "); ok {
				path = octal.ReplaceAllStringFunc(name, func(s string) string {
					if n, err := strconv.ParseUint(s[1:], 8, 8); err == nil {
						return string([]byte{byte(n)})
					}
					return s[1:]
				})
			} else if line != "" && line[0] != '#' {
				entries = append(entries, line)
			}
		}
		if path != "" {
			acls["/"+strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")] = strings.Join(entries, ",")
		}
	}
	return acls
}

// findDetails is a tree as find(1) says, by path, but for the mount points in it.
func findDetails(t *testing.T, dir string) map[string]detail {
	t.Helper()
	const format = `%P\0%y\0%s\0%b\0%n\0%i\0%C@\0%U\0%G\0%T@\0%m\0%u\0%g\0`
	const n = 13
	out, err := exec.Command("find", dir, "-xdev", "-printf", format).Output()
	if err != nil {
		t.Fatalf("find -printf: %v", err)
	}
	fields := strings.Split(string(out), "\x00")
	found := make(map[string]detail, len(fields)/n)
	for ; len(fields) > n; fields = fields[n:] {
		number := func(text string, base int) int64 {
			v, err := strconv.ParseInt(text, base, 64)
			if err != nil {
				t.Fatalf("find -printf gives %q: %v", fields[:n], err)
			}
			return v
		}
		nanoseconds := func(text string) int64 { // the nearest that 64 bits hold, as the view has it
			seconds, fraction, _ := strings.Cut(text, ".")
			if s := number(seconds, 10); s < math.MaxInt64/1_000_000_000 {
				return s*1e9 + number(fmt.Sprintf("%.9s", fraction), 10)
			}
			return math.MaxInt64
		}
		d := detail{
			size: number(fields[2], 10), allocated: 512 * number(fields[3], 10), links: number(fields[4], 10),
			ctimeNs: nanoseconds(fields[6]), uid: number(fields[7], 10), gid: number(fields[8], 10), mtimeNs: nanoseconds(fields[9]),
			mode: number(fields[10], 8), owner: fields[11], group: fields[12], directory: fields[1] == "d", file: fields[1] == "f",
		}
		if fields[1] != "d" && d.links > 1 {
			d.inode = fields[5]
		}
		found["/"+fields[0]] = d
	}
	return found
}

// duOf is du's sum of a tree, bytes.
func duOf(t *testing.T, dir string, flags ...string) int64 {
	t.Helper()
	out, err := exec.Command("du", append(slices.Concat([]string{"-s", "-B1"}, flags), dir)...).Output()
	if err != nil {
		t.Fatalf("du: %v", err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatalf("du prints %q", out)
	}
	return n
}

// viewDetails is the view as find --json has it, and the line of each path.
func (s server) viewDetails(t *testing.T) (map[string]detail, error) {
	t.Helper()
	r := s.ask(t, "find", "/", "--json")
	if r.code != 0 {
		return nil, fmt.Errorf("find: %d %s", r.code, r.stderr)
	}
	found := map[string]detail{}
	for line := range strings.Lines(r.stdout) {
		path, d, err := detailOf(line)
		if err != nil {
			return nil, err
		}
		found[path] = d
	}
	return found, nil
}

func detailOf(line string) (string, detail, error) {
	path, e, err := parseEntry([]byte(line))
	var n struct {
		inode
		Owner string `json:"owner"`
		Group string `json:"group"`
	}
	if err = errors.Join(err, json.Unmarshal([]byte(line), &n)); err != nil {
		return "", detail{}, fmt.Errorf("%q: %w", line, err)
	}
	return path, detail{
		size: e.size, allocated: n.Allocated, links: int64(n.Links), inode: n.Inode, ctimeNs: n.CtimeNs, mtimeNs: e.mtimeNs,
		uid: int64(e.uid), gid: int64(e.gid), mode: int64(e.mode),
		owner: n.Owner, group: n.Group, birthNs: n.BirthNs, acl: n.ACL,
	}, nil
}

// comparison is of a tree with a view of it.
type comparison struct {
	dir  string
	acls bool // the tools and the file system have them
	// mayLag, unless nil, is whether the view need not know an entry yet as it is.
	mayLag func(path string, have, want detail) bool
}

// unlikeTools says in what way find, du and stat of the view differ from find(1), du(1), stat(1) and getfacl(1).
func (s server) unlikeTools(t *testing.T, c comparison) string {
	t.Helper()
	dir, mayLag := c.dir, c.mayLag
	want := toolsDetails(t, dir, c.acls)
	have, err := s.viewDetails(t)
	if err != nil {
		return err.Error()
	}
	if !c.acls { // what the view says of them is right or not, but nothing to compare with
		for path, d := range have {
			d.acl = ""
			have[path] = d
		}
	}
	var lines []string
	lagging := false
	for _, path := range slices.Sorted(maps.Keys(want)) {
		d, there := have[path]
		switch {
		case d == want[path]:
		case there && mayLag != nil && mayLag(path, d, want[path]):
			lagging = true
		default:
			lines = append(lines, fmt.Sprintf("%q\n    tools: %v\n    view:  %v", path, want[path], d))
		}
	}
	for path, d := range have {
		if _, there := want[path]; !there {
			lines = append(lines, fmt.Sprintf("%q is gone, and in the view %v", path, d))
		}
	}
	if len(lines) == 0 && !lagging {
		lines = append(s.unlikeDu(t, dir), s.unlikeStat(t, want, c.acls)...)
	}
	return strings.Join(lines[:min(len(lines), 8)], "\n")
}

// unlikeDu compares du --json with du(1), which counts a file for each of its names by -l.
func (s server) unlikeDu(t *testing.T, dir string) (lines []string) {
	t.Helper()
	var sum struct {
		Allocated int64 `json:"allocated"`
		Bytes     int64 `json:"bytes"`
	}
	if r := s.ask(t, "du", "/", "--json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &sum) != nil {
		return []string{fmt.Sprintf("du: %d %s", r.code, r.stderr)}
	}
	if disk := duOf(t, dir, "-l"); sum.Allocated != disk {
		lines = append(lines, fmt.Sprintf("du -B1 -l says %d, the view %d", disk, sum.Allocated))
	}
	// The view's bytes are those of files. du adds the sizes of links, and some versions those of directories and fifos.
	tree, others := onDisk(t, dir), int64(0)
	countsDirectories := duOf(t, t.TempDir(), "--apparent-size") > 0
	for _, e := range tree {
		if e.kind == 'l' || e.kind == 'd' && countsDirectories {
			others += e.size
		}
	}
	if disk := duOf(t, dir, "-l", "--apparent-size"); sum.Bytes+others != disk {
		lines = append(lines, fmt.Sprintf("du -B1 -l --apparent-size says %d, the view %d and %d for what is no file", disk, sum.Bytes, others))
	}
	return lines
}

// unlikeStat compares some paths with stat --json, some with an ACL among them.
func (s server) unlikeStat(t *testing.T, want map[string]detail, acls bool) (lines []string) {
	t.Helper()
	const some = 8
	shared := 0
	for i, path := range slices.Sorted(maps.Keys(want)) {
		if strings.Contains(want[path].acl, ":") && shared < some {
			shared++
		} else if i%(len(want)/some+1) != 0 {
			continue
		}
		r := s.ask(t, "stat", path, "--json")
		_, d, err := detailOf(strings.TrimSpace(r.stdout))
		if !acls {
			d.acl = ""
		}
		if err != nil || d != want[path] {
			lines = append(lines, fmt.Sprintf("stat %q\n    tools: %v\n    view:  %v (%v)", path, want[path], d, err))
		}
	}
	return lines
}

// awaitTools waits until the view is as the tools say.
func (s server) awaitTools(t *testing.T, c comparison, when string, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(wait.Limit(within))
	for d := s.unlikeTools(t, c); d != ""; d = s.unlikeTools(t, c) {
		if time.Now().After(deadline) {
			t.Fatalf("%s:\n%s", when, d)
		}
		awaitPause(100 * time.Millisecond)
	}
}
