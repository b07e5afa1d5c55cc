package query

import (
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/testkit/cases"
)

// TestTrendByOwner: the shares in each point of a trend, which come from what differs between the versions, are those that the report on
// usage counts in that version; and each member of a forest has its trend there.
func TestTrendByOwner(t *testing.T) {
	for seed := range uint64(cases.Of(2)) {
		p := newPast(t, 300+seed)
		p.owners = true
		p.live()
		shares := p.checkTrends(queryKey)
		if shares < 2 {
			t.Error("nothing is shared")
		}
		p.trendOfForest()
	}
}

// TestTrendByOwnerForReaders: a user's shares are what reports on usage in those versions count for that user, though rights changed.
func TestTrendByOwnerForReaders(t *testing.T) {
	shares, closed := 0, 0
	for seed := range uint64(cases.Of(3)) {
		p := newPast(t, 400+seed)
		p.owners, p.modes = true, []uint32{0o755, 0o744, 0o711, 0o750}
		p.live()
		key := p.userKey(permission.NewIdentity(1001, 100))
		shares = max(shares, p.checkTrends(key))
		for n := uint64(1); n <= p.last[testView].Version; n++ {
			if p.as(key, "reports/usage", "path", "/data", "version", fmt.Sprint(n)).status == http.StatusForbidden {
				closed++
			}
		}
	}
	if shares < 2 || closed == 0 {
		t.Errorf("at most %d shares, and %d versions in which /data may not be listed", shares, closed)
	}
}

// checkTrends compares the shares in each point of trends with the report on usage in that version, as a key is answered. It returns how
// many owners share a point at most.
func (p *past) checkTrends(key string) (shares int) {
	t := p.t
	for _, path := range []string{"/", "/data"} {
		for _, by := range []string{"owner", "group"} {
			a := p.as(key, "reports/trend", "path", path, "every", "1s", "limit", "1000", "by", by).is(200).object()
			list := a["entries"].([]any)
			for _, e := range list {
				e := e.(map[string]any)
				version := fmt.Sprint(int(e["version"].(float64)))
				got, want := map[string]string{}, map[string]string{}
				list, _ := e["shares"].([]any)
				for _, share := range list {
					share := share.(map[string]any)
					got[fmt.Sprint(share["uid"], share["gid"], share["owner"], share["group"])] = fmt.Sprint(share["files"], share["directories"], share["bytes"], share["allocated"], share["unmeasured"])
				}
				node := p.as(key, "metadata", "path", path, "version", version).is(200).object()
				var usage []any // of a directory that may not be listed: none
				if a := p.as(key, "reports/usage", "path", path, "by", by, "version", version); a.status != http.StatusForbidden {
					usage = a.is(200).object()["entries"].([]any)
				}
				for _, u := range usage {
					u := u.(map[string]any)
					sums := u["totals"].(map[string]any)
					if u["uid"] == node["uid"] || u["gid"] == node["gid"] { // the report is of what is below the path
						sums["directories"] = sums["directories"].(float64) + 1
						if n, measured := node["allocated"].(float64); measured {
							sums["allocated"] = sums["allocated"].(float64) + n
						} else {
							sums["unmeasured"] = sums["unmeasured"].(float64) + 1
						}
					}
					want[fmt.Sprint(u["uid"], u["gid"], u["owner"], u["group"])] = fmt.Sprint(sums["files"], sums["directories"], sums["bytes"], sums["allocated"], sums["unmeasured"])
				}
				who := fmt.Sprint(node["uid"], nil, node["owner"], nil)
				if by == "group" {
					who = fmt.Sprint(nil, node["gid"], nil, node["group"])
				}
				if want[who] == "" {
					delete(got, who) // it has nothing but the directory itself
				}
				if !maps.Equal(got, want) {
					t.Errorf("shares by %s of %s in version %s: %v, want %v", by, path, version, got, want)
				}
				shares = max(shares, len(got))
			}
			if len(list) < 5 {
				t.Fatalf("a trend of %d versions", len(list))
			}
		}
	}
	return shares
}

// trendOfForest compares the trend of the forest with those of its members.
func (p *past) trendOfForest() {
	p.t.Helper()
	want := map[string][]string{}
	for _, member := range []string{"other", testView} {
		for _, e := range p.of(member, "reports/trend", "path", "/data", "by", "group").is(200).object()["entries"].([]any) {
			want[member] = append(want[member], fmt.Sprint(e))
		}
	}
	got, last := map[string][]string{}, 0.0
	a := p.of("all", "reports/trend", "path", "/data", "by", "group").is(200).object()
	for _, e := range a["entries"].([]any) {
		e := e.(map[string]any)
		member, at := e["member"].(string), e["published_at"].(float64)
		if delete(e, "member"); at < last {
			p.t.Errorf("version %v of %s comes late", e["version"], member)
		}
		last = at
		got[member] = append(got[member], fmt.Sprint(e))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || a["complete"] != true {
		p.t.Errorf("the trend of the forest is %v, want %v; complete: %v", got, want, a["complete"])
	}
	p.of("all", "reports/trend", "path", "/none").problem(404, "/none")
}
