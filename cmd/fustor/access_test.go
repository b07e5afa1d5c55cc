//go:build !reading

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

func TestAccessInWords(t *testing.T) {
	root := client.DirectoryAccess{Path: "/", Mode: 0o755, Owner: "root", Group: "root", Read: true, Search: true, By: "other::r-x"}
	lab := client.DirectoryAccess{Path: "/lab", Mode: 0o750, Owner: "carol", Group: "g", By: "other::---"}
	open := client.DirectoryAccess{Path: "/lab", Mode: 0o751, Owner: "carol", Group: "g", Search: true, By: "other::--x"}
	alice := client.Access{User: "alice", UID: 1001, Groups: []uint32{100, 4711}}
	for _, c := range []struct {
		of   client.Access
		want []string
	}{
		{client.Access{Path: "/lab/x", DeniedAt: "/lab", Directories: []client.DirectoryAccess{root, lab}},
			[]string{"/     drwxr-xr-x  root:root  r-x  other::r-x", "/lab  drwxr-x---  carol:g    ---  other::---", "",
				"alice (uid 1001, groups 100,4711) does not see /lab/x: it may not be reached through /lab"}},
		{client.Access{Path: "/lab/x", Visible: true, Directories: []client.DirectoryAccess{root, open}},
			[]string{"/     drwxr-xr-x  root:root  r-x  other::r-x", "/lab  drwxr-x--x  carol:g    --x  other::--x", "",
				"alice (uid 1001, groups 100,4711) sees /lab/x", "find shows it only to who names it, or a directory below the last one that may not be read."}},
		{client.Access{Path: "/lab", Visible: true, Listed: true, Directories: []client.DirectoryAccess{root, open}, Today: []client.DirectoryAccess{root}},
			[]string{"/     drwxr-xr-x  root:root  r-x  other::r-x", "/lab  drwxr-x--x  carol:g    --x  other::--x", "", "today:",
				"/  drwxr-xr-x  root:root  r-x  other::r-x", "", "alice (uid 1001, groups 100,4711) sees /lab, and may not list what is in it"}},
	} {
		var b bytes.Buffer
		c.of.User, c.of.UID, c.of.Groups = alice.User, alice.UID, alice.Groups
		out := show.NewOutput(&b, true, false)
		printAccess(out, &c.of)
		out.Flush()
		if got := strings.TrimSuffix(b.String(), "\n"); got != strings.Join(c.want, "\n") {
			t.Errorf("it prints\n%s\nnot\n%s", got, strings.Join(c.want, "\n"))
		}
	}
}
