package viewconfig

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What Config.OpenTo names: each admits people of its own, so that several admit more. A user who is admitted sees what file permissions
// allow.
const (
	OpenToSocket = "socket" // everybody who asks over the query server's Unix socket
	OpenToOIDC   = "oidc"   // everybody whom the OpenID provider of the query server knows
	OpenToProxy  = "proxy"  // everybody whom the reverse proxy of the query server names
	OpenToGroup  = "group:" // followed by a group's name or gid: its members, by whichever of these ways
)

// maxOpenTo bounds OpenTo.
const maxOpenTo = 100

// groupName is what groups look like; a minus at the beginning would be an option of getent.
var groupName = regexp.MustCompile(`^[A-Za-z0-9_.][-A-Za-z0-9_.@\\$ ]{0,254}$`)

// CheckOpenTo says what is wrong with an OpenTo.
func CheckOpenTo(open []string) error {
	if len(open) > maxOpenTo {
		return fmt.Errorf("open_to has more than %d entries", maxOpenTo)
	}
	for i, to := range open {
		group, isGroup := strings.CutPrefix(to, OpenToGroup)
		switch {
		case isGroup && !groupName.MatchString(group), !isGroup && to != OpenToSocket && to != OpenToOIDC && to != OpenToProxy:
			return fmt.Errorf("open_to: %q is none of socket, oidc, proxy and group:NAME", to)
		case slices.Contains(open[:i], to):
			return fmt.Errorf("open_to: %q is named twice", to)
		}
	}
	return nil
}
