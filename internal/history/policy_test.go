package history

import (
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/manifest"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func chainOf(times ...string) (chain []manifest.Published) {
	for i, t := range times {
		chain = append(chain, manifest.Published{Version: uint64(i + 1), At: at(t)})
	}
	return chain
}

// TestPolicy: what was current at the end of an hour, day, week, month or year is kept, for as many of them as the policy says.
func TestPolicy(t *testing.T) {
	chain := chainOf("2023-12-30 10:00", "2024-01-31 23:59", "2024-02-01 00:00", "2024-02-03 08:10", "2024-02-03 08:50", "2024-02-03 11:30", "2024-02-05 09:00", "2024-02-05 09:10")
	head := &manifest.Manifest{Version: 8, FirstReady: 1}
	for _, c := range []struct {
		name   string
		policy Policy
		now    string
		kept   []uint64
	}{
		{"nothing", Policy{}, "2024-02-05 09:20", []uint64{8}},
		{"all", Policy{Within: Unlimited}, "2034-02-05 09:20", []uint64{1, 2, 3, 4, 5, 6, 7, 8}},
		// Version 6 was current until 20 minutes ago.
		{"an hour", Policy{Within: time.Hour}, "2024-02-05 09:20", []uint64{6, 7, 8}},
		{"an hour, later", Policy{Within: time.Hour}, "2024-02-05 10:05", []uint64{7, 8}},
		{"46 hours", Policy{Hourly: 46}, "2024-02-05 09:20", []uint64{6, 7, 8}},
		{"50 hours", Policy{Hourly: 50}, "2024-02-05 09:20", []uint64{3, 5, 6, 7, 8}}, // from 3 February 08:00 to 5 February 09:00
		{"3 days", Policy{Daily: 3}, "2024-02-05 09:20", []uint64{3, 6, 8}},
		{"the last day", Policy{Daily: 1}, "2024-02-05 09:20", []uint64{6, 8}},
		{"2 weeks", Policy{Weekly: 2}, "2024-02-05 09:20", []uint64{1, 6, 8}},
		// What begins on the boundary is what was current there.
		{"months", Policy{Monthly: 2}, "2024-02-05 09:20", []uint64{1, 3, 8}},
		{"years", Policy{Yearly: Unlimited}, "2094-02-05 09:20", []uint64{1, 8}},
	} {
		kept, gone := c.policy.Split(chain, head, nil, at(c.now))
		var numbers []uint64
		var left []manifest.Published
		for _, k := range kept {
			numbers = append(numbers, k.Version)
			left = append(left, k.Published)
		}
		if !slices.Equal(numbers, c.kept) || len(kept)+len(gone) != len(chain) {
			t.Errorf("%s: %v, want %v", c.name, numbers, c.kept)
		}
		if _, more := c.policy.Split(left, head, nil, at(c.now)); len(more) > 0 {
			t.Errorf("%s: thinned again, %v go", c.name, more)
		}
		for _, k := range kept {
			if k.Until.Equal(Forever) {
				continue
			}
			for _, now := range []time.Time{k.Until.Add(-time.Nanosecond), k.Until} {
				_, gone := c.policy.Split(chain, head, nil, now)
				is := slices.ContainsFunc(gone, func(g Kept) bool { return g.Version == k.Version })
				if is != (now == k.Until) {
					t.Errorf("%s: version %d is kept until %s, but at %s it goes: %t", c.name, k.Version, k.Until, now, is)
				}
			}
		}
	}
}

// TestPolicyBeginsWithTheFirstCompleteVersion and pins hold whatever the policy says.
func TestPolicyBeginsWithTheFirstCompleteVersion(t *testing.T) {
	chain := chainOf("2024-01-01 10:00", "2024-01-02 10:00", "2024-01-03 10:00", "2024-01-04 10:00", "2024-01-05 10:00")
	pins := Pins{"b": {Version: 2}, "a": {Version: 2}}
	kept, _ := Policy{Daily: Unlimited}.Split(chain, &manifest.Manifest{Version: 5, FirstReady: 4}, pins, at("2024-01-10 00:00"))
	if len(kept) != 3 || kept[0].Version != 2 || !slices.Equal(kept[0].Pins, []string{"a", "b"}) || kept[1].Version != 4 || !slices.Equal(kept[1].Why, []string{Daily}) {
		t.Errorf("%+v", kept)
	}
}

// TestUnits: hours, days, weeks, months and years begin on the boundary to the nanosecond, in UTC, and a week on Monday.
func TestUnits(t *testing.T) {
	moment := time.Date(2024, 2, 29, 23, 59, 58, 7, time.UTC) // a Thursday
	for _, c := range []struct {
		unit         unit
		begin, after string // three units later
	}{
		{hour, "2024-02-29 23:00", "2024-03-01 02:00"},
		{day, "2024-02-29 00:00", "2024-03-03 00:00"},
		{week, "2024-02-26 00:00", "2024-03-18 00:00"},
		{month, "2024-02-01 00:00", "2024-05-01 00:00"},
		{year, "2024-01-01 00:00", "2027-01-01 00:00"},
	} {
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -8*3600)} {
			if got := c.unit.begin(moment.In(zone)); !got.Equal(at(c.begin)) {
				t.Errorf("the unit %d of %v begins at %v, want %s", c.unit, moment.In(zone), got, c.begin)
			}
		}
		if got := c.unit.begin(at(c.begin)); !got.Equal(at(c.begin)) {
			t.Errorf("the unit %d that begins at %s begins at %v", c.unit, c.begin, got)
		}
		if got := c.unit.after(at(c.begin), 3); !got.Equal(at(c.after)) {
			t.Errorf("three units %d after %s is %v, want %s", c.unit, c.begin, got, c.after)
		}
	}
	for day, monday := range map[string]string{"2024-02-25 12:00": "2024-02-19 00:00", "2024-02-26 00:00": "2024-02-26 00:00", "2024-03-03 23:59": "2024-02-26 00:00"} {
		if got := week.begin(at(day)); !got.Equal(at(monday)) {
			t.Errorf("the week of %s begins at %v, want %s", day, got, monday)
		}
	}
}

// TestReasonsOfVersions: the current version is kept for ever as such, the last of a part of the chain as a recent one; each other by what the
// policy says, and until the last of its reasons ends.
func TestReasonsOfVersions(t *testing.T) {
	chain := chainOf("2024-01-01 10:10", "2024-01-01 10:50", "2024-01-01 12:10")
	now := at("2024-01-01 12:20")
	p := Policy{Within: 4 * time.Hour, Hourly: 2}
	all := p.All(chain, &manifest.Manifest{Version: 3, FirstReady: 1}, Pins{"p": {Version: 1}}, now)
	for i, want := range []Kept{
		{Why: []string{Recent}, Until: Forever, Pins: []string{"p"}},
		{Why: []string{Recent, Hourly}, Until: at("2024-01-01 16:10")}, // of two hours after 12:00, and four after 12:10, the later
		{Why: []string{Current}, Until: Forever},
	} {
		if got := all[i]; got.Version != chain[i].Version || !slices.Equal(got.Why, want.Why) || !slices.Equal(got.Pins, want.Pins) || !got.Until.Equal(want.Until) {
			t.Errorf("version %d: %+v, want %+v", i+1, got, want)
		}
	}
	if got := p.All(chain[:2], &manifest.Manifest{Version: 3, FirstReady: 1}, nil, now)[1]; !slices.Equal(got.Why, []string{Recent}) || !got.Until.Equal(Forever) {
		t.Errorf("the last of a part of the chain: %+v", got)
	}
	if got := p.All(chain, &manifest.Manifest{Version: 3}, nil, now)[1]; !slices.Equal(got.Why, []string{Recent}) {
		t.Errorf("of a view that was never complete: %+v", got)
	}
	for _, c := range []struct {
		kept Kept
		want bool
	}{{Kept{}, false}, {Kept{Why: []string{Recent}}, false}, {Kept{Why: []string{Recent, Weekly}}, true}, {Kept{Why: []string{Current}}, true}, {Kept{Why: []string{Recent}, Pins: []string{"p"}}, true}} {
		if c.kept.Lasting() != c.want {
			t.Errorf("%+v is lasting: %t", c.kept, !c.want)
		}
	}
	for within, want := range map[time.Duration]time.Duration{0: Shortest, Shortest + 1: Shortest + 1, Unlimited: Unlimited} {
		if got := (Policy{Within: within, Daily: 3}).Least(); got != (Policy{Within: want, Daily: 3}) {
			t.Errorf("%v becomes %+v", within, got)
		}
	}
}
