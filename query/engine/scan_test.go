package engine

import "testing"

// TestGlancesFollowWhatIsFound: where row groups have hits, names are decoded at once; where they have none, for a moment.
func TestGlancesFollowWhatIsFound(t *testing.T) {
	var g glances
	if !g.worth() {
		t.Error("a scan does not begin with a glance")
	}
	for range 100 {
		g.saw(true)
	}
	if g.worth() {
		t.Error("it glances at what has a hit")
	}
	for range 4 {
		g.saw(false)
	}
	if !g.worth() {
		t.Error("it does not glance after four row groups without a hit")
	}
}
