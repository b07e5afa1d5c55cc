package viewconfig

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/layout"
)

// A forest is a view whose settings name members: it is answered from other views, and has no agents and no data of its own. Each
// member is a view's name, or a glob of names ("scratch-*": *, ?, [a-z]) that is resolved whenever the forest is asked.

// maxMembers bounds the members that a configuration names; a glob counts once.
const maxMembers = 1000

// IsForest reports whether the view is answered from members.
func (c Config) IsForest() bool { return len(c.Members) > 0 }

// IsGlob reports whether a member is a glob, not a name.
func IsGlob(member string) bool { return strings.ContainsAny(member, "*?[") }

// MatchesGlob reports whether a view is among those of a glob.
func MatchesGlob(glob, view string) bool {
	ok, _ := path.Match(glob, view) // Check has refused what is malformed
	return ok
}

// checkMembers says what is wrong with the members.
func (c Config) checkMembers() error {
	if len(c.Members) > maxMembers {
		return fmt.Errorf("members names more than %d views; use globs", maxMembers)
	}
	for i, m := range c.Members {
		_, err := path.Match(m, "")
		switch {
		case IsGlob(m) && err == nil && len(m) <= 255:
		case !layout.ValidView(m):
			return fmt.Errorf("member %q is neither a view's name nor a glob of names (*, ?, [a-z])", m)
		}
		if m == c.View {
			return fmt.Errorf("view %q cannot be a member of itself", m)
		}
		if slices.Contains(c.Members[:i], m) {
			return fmt.Errorf("member %q is named twice", m)
		}
	}
	return nil
}
