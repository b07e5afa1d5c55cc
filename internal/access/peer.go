package access

import (
	"context"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/permission"
)

type peerKey struct{}

// peerOf is who a request's connection is of, as the kernel says it.
func peerOf(ctx context.Context) (Reader, bool) {
	r, ok := ctx.Value(peerKey{}).(Reader)
	return r, ok
}

// nameOf is an identity in numbers, as CheckUser has it.
func nameOf(i permission.Identity) string {
	groups := make([]string, len(i.Groups))
	for at, g := range i.Groups {
		groups[at] = strconv.FormatUint(uint64(g), 10)
	}
	return strconv.FormatUint(uint64(i.UID), 10) + ":" + strings.Join(groups, ",")
}
