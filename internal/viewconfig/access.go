package viewconfig

import (
	"fmt"
	"slices"
	"strings"
)

// Readers who come through the socket of a query server need no key. The kernel says who they are, and they are shown what their file
// permissions allow. A view says whether it may be asked so, and by whom: OpenTo has "socket" for everybody, or "socket:GROUP" for the
// members of a group, a name or a number.

// OpenToSocket opens a view to everybody who comes through the socket.
const OpenToSocket = "socket"

// maxOpenTo bounds the entries of OpenTo.
const maxOpenTo = 100

func (c Config) checkOpenTo() error {
	if len(c.OpenTo) > maxOpenTo {
		return fmt.Errorf("open_to has more than %d entries", maxOpenTo)
	}
	for i, to := range c.OpenTo {
		group, ofGroup := strings.CutPrefix(to, OpenToSocket+":")
		if to != OpenToSocket && (!ofGroup || group == "" || strings.ContainsAny(group, ":, \t\n\x00")) {
			return fmt.Errorf("open_to: %q is neither %s nor %s:GROUP", to, OpenToSocket, OpenToSocket)
		}
		if slices.Contains(c.OpenTo[:i], to) {
			return fmt.Errorf("open_to: %q is there twice", to)
		}
	}
	return nil
}

// OpenGroups are the groups whose members may ask through the socket; everybody may if all is true.
func (c Config) OpenGroups() (groups []string, all bool) {
	for _, to := range c.OpenTo {
		if to == OpenToSocket {
			return nil, true
		}
		groups = append(groups, strings.TrimPrefix(to, OpenToSocket+":"))
	}
	return groups, false
}
