package tree

import "testing"

// withoutGetxattrat has ACLs read as on kernels without getxattrat(2) until the test ends.
func withoutGetxattrat(t *testing.T) {
	was := noGetxattrat.Load()
	noGetxattrat.Store(true)
	t.Cleanup(func() { noGetxattrat.Store(was) })
}
