package tree

import "testing"

// TestWithoutOpenat2 runs what matters as on a kernel before 5.6.
func TestWithoutOpenat2(t *testing.T) {
	noOpenat2.Store(true)
	defer noOpenat2.Store(false)
	t.Run("links", TestNothingBelowTheRootFollowsALink)
	t.Run("names", TestNamesAreInByteOrder)
}
