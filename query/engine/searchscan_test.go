package engine

import "testing"

// TestGlancesFollowWhatIsFound: where row groups have hits, names are decoded at once; where they have none, for a moment.
func TestGlancesFollowWhatIsFound(t *testing.T) {
	var g nameFilter
	if !g.worthwhile() {
		t.Error("a scan does not begin with a glance")
	}
	for range 100 {
		g.note(true)
	}
	if g.worthwhile() {
		t.Error("it glances at what has a hit")
	}
	for range 4 {
		g.note(false)
	}
	if !g.worthwhile() {
		t.Error("it does not glance after four row groups without a hit")
	}
}
