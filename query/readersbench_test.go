package query

import (
	"hash/fnv"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/testkit/gentree"
)

// homes is a generated tree whose first directory is the home of uid 1000, closed to others and with nothing but its own in it. In the
// others, of uids 1001 and 1002, one directory in four is closed to others, one in eight to its group as well.
type homes struct {
	tree   *gentree.Tree
	rights map[string]evidence.Row // of directories, by Parent of their entries
	home   string                  // the largest directory of the root
	dirs   int
}

func newHomes(rows int) *homes {
	h := &homes{tree: gentree.New(gentree.Options{Seed: 1, Rows: rows}), rights: map[string]evidence.Row{}}
	var all []evidence.Row
	most := int64(0)
	for r := range h.tree.Rows() {
		if r.Type != event.Directory {
			continue
		}
		all = append(all, *r)
		if r.Parent == "/" && r.Sub.Files > most {
			most, h.home = r.Sub.Files, r.Path()
		}
	}
	h.dirs = len(all)
	for i := range all {
		r := &all[i]
		sum := fnv.New64a()
		sum.Write([]byte(r.Path()))
		n := sum.Sum64()
		r.UID, r.GID, r.Mode, r.ACL = 1001+uint32(n%2), 100, 0o755, event.NoACL
		switch {
		case r.Parent == "":
			r.UID = 0
		case r.Path() == h.home:
			r.UID, r.Mode = 1000, 0o700
		case strings.HasPrefix(r.Parent, h.home+"/"):
			r.UID = 1000
		case n>>8%8 == 0:
			r.Mode = 0o700
		case n>>8%4 == 0:
			r.Mode = 0o750
		}
	}
	setOpen(all)
	for _, r := range all {
		h.rights[r.ChildParent()] = r
	}
	return h
}

// set gives a row of the tree its rights.
func (h *homes) set(r *evidence.Row) {
	if r.Type == event.Directory {
		of := h.rights[r.ChildParent()]
		r.UID, r.GID, r.Mode, r.ACL, r.Open = of.UID, of.GID, of.Mode, of.ACL, of.Open
	}
}

// BenchmarkReaders asks as an administrator and as users, side by side: cold is a server that has just started.
func BenchmarkReaders(b *testing.B) {
	f := newFixture(b)
	h := newHomes(*benchRows)
	l := &benchLayers{fixture: f, b: b}
	l.writeBase(h.tree, h.set)
	f.commit(testView, func(next *manifest.Manifest) { next.Base, next.Totals = l.base, h.tree.Totals() })
	b.Logf("%d rows, %d directories, home %s", *benchRows, h.dirs, h.home)
	owner, stranger := f.userKey(permission.NewIdentity(1000, 100)), f.userKey(permission.NewIdentity(5000, 500))
	for _, c := range []struct {
		name, target, accept string
		user                 string
	}{
		{"ls", viewURL("list", "path", h.home), "", owner},
		{"find", viewURL("tree", "path", h.home), ndjson, owner},
		{"find-by-name", viewURL("search", "path", h.home, "pattern", "*.h5", "limit", "10000"), ndjson, owner},
		{"search", viewURL("search", "pattern", "*_00012*", "path", h.home), "", owner},
		{"search-mixed", viewURL("search", "pattern", "*_00012*", "limit", "10000"), ndjson, stranger},
		{"du-home", viewURL("metadata", "path", h.home), "", owner},
		{"du-mixed", viewURL("metadata", "path", "/"), "", stranger},
	} {
		b.Run(c.name, func(b *testing.B) {
			var times [2][2][]time.Duration // of the administrator and the user: cold, warm
			for b.Loop() {
				for i, key := range [2]string{queryKey, c.user} {
					server := benchServer(b, f, f.st, 256<<20)
					for warm := range 2 {
						begin := time.Now()
						req := httptest.NewRequest(http.MethodGet, c.target, nil)
						req.Header.Set("X-API-Key", key)
						req.Header.Set("Accept", c.accept)
						d := &discard{header: http.Header{}, status: 200}
						server.ServeHTTP(d, req)
						if d.status != 200 {
							b.Fatalf("%s: %d", c.target, d.status)
						}
						times[i][warm] = append(times[i][warm], time.Since(begin))
					}
				}
			}
			for i, who := range [2]string{"admin", "user"} {
				for warm, state := range [2]string{"cold", "warm"} {
					slices.Sort(times[i][warm])
					b.ReportMetric(float64(times[i][warm][len(times[i][warm])/2].Microseconds())/1e3, who+"-"+state+"-ms")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
