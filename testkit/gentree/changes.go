package gentree

import (
	"iter"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// Changes yields what happened to about one row in every, in key order, as a delta layer would hold it: seven in ten
// files rewritten, one and a half removed, one and a half new. Directories stay. The same seed changes the same rows.
// Subtree totals are not adjusted. The row is reused.
func (t *Tree) Changes(seed uint64, every int) iter.Seq[*evidence.Row] {
	return func(yield func(*evidence.Row) bool) {
		var out evidence.Row
		parent, name := "", "" // of a file to be followed by a new one
		at := int64(ScanStart + scanDuration)
		n := uint64(0)
		for r := range t.Rows() {
			n++
			if parent == r.Parent && name != "" && name < r.Name {
				out = *r
				out.Name, out.Type, out.Target, out.Sub, out.Open = name, event.File, "", evidence.Totals{}, false
				touch(&out, at)
				if !yield(&out) {
					return
				}
			}
			parent, name = "", ""
			h := mix(seed+2, n)
			if h%uint64(every) != 0 || r.Type == event.Directory {
				continue
			}
			at += int64(h >> 40)
			out = *r
			touch(&out, at)
			switch kind := h >> 20 % 20; {
			case kind < 3:
				out.Removed, out.Watermark = true, at-1e9
			case kind < 6:
				parent, name = r.Parent, r.Name+".new"
				continue
			}
			if !yield(&out) {
				return
			}
		}
	}
}

func touch(r *evidence.Row, at int64) {
	r.Evidence, r.ObservedAt, r.MtimeNs, r.Size = event.Realtime, at, at-3e6, r.Size+r.Size/8
	r.CtimeNs, r.Allocated = r.MtimeNs, event.Rounded(r.Size)
}
