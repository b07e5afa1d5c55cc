//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOwnersHaveTheHostsNames: the names come from the host's name service, LDAP style with blanks and backslashes, and everything that
// prints or filters owners knows them; a name that no host knows is a wrong question.
func TestOwnersHaveTheHostsNames(t *testing.T) {
	t.Parallel()
	tools, dir, data := t.TempDir(), t.TempDir(), t.TempDir()
	getent := "#!/bin/sh\ndb=$1\nshift\nfor id; do\n" +
		"  if [ $db = passwd ]; then printf '%s\\n' \"LAB\\\\alice smith:x:$id:1::/:/bin/sh\"; else printf '%s\\n' \"LAB\\\\Domain Users:x:$id:\"; fi\ndone\n"
	if err := os.WriteFile(filepath.Join(tools, "getent"), []byte(getent), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	u := &up{dir: dir, data: data, server: server{"--data", data}}
	u.process = start(t, []string{"PATH=" + tools + ":" + os.Getenv("PATH")}, "up", dir, "--data", data, "--listen", "127.0.0.1:0")
	u.serves()
	eventually(t, 2*time.Minute, "the owner to be found by name", func() bool {
		r := u.ask(t, "find", "/", "--owner", `LAB\alice smith`, "--type", "f")
		return r.code == 0 && strings.Contains(r.stdout, "/f")
	})
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"search", "f", "--group", `LAB\Domain Users`}, 0, "/f"},
		{[]string{"report", "usage", "--by", "owner", "--owner", `LAB\alice smith`, "--json"}, 0, `LAB\\alice smith`},
		{[]string{"stat", "/f", "--json"}, 0, `"owner":"LAB\\alice smith"`},
		{[]string{"find", "/", "--owner", "mallory"}, 2, `no host of the view knows a user "mallory"`},
		{[]string{"report", "largest", "--group", "mallory"}, 2, `no host of the view knows a group "mallory"`},
	} {
		if r := u.ask(t, c.args...); r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.says) {
			t.Errorf("%q: exit code %d, want %d\n%s%s", c.args, r.code, c.code, r.stdout, r.stderr)
		}
	}
}
