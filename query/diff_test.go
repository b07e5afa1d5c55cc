package query

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// inodes are the files of a state: which file each path is. A path that was moved is the file that it was.
type inodes map[string]int

// diffState is one version of a history in memory.
type diffState struct {
	version uint64
	rows    map[string]evidence.Row
	files   inodes
}

// diffHistory makes a view whose versions it also keeps in memory. Its layers are what folds and merges make: deltas over base
// partitions of which a merge rewrites those that changed.
type diffHistory struct {
	*fixture
	rng    *rand.Rand
	states []diffState
	deltas []layer.Info // the newest first; deltas[0] made the last state
	merged map[string]evidence.Row
	base   []layer.Info
	parts  [][]evidence.Row // the rows of base
	rows   map[string]evidence.Row
	files  inodes
	made   int
}

func newDiffHistory(t *testing.T, rng *rand.Rand) *diffHistory {
	h := &diffHistory{fixture: newFixture(t), rng: rng, rows: map[string]evidence.Row{}, files: inodes{}}
	h.inLeaves(rng.IntN(2) == 0)
	for _, r := range randomTree(rng, 60+rng.IntN(200)) {
		h.put(r)
	}
	h.settle()
	h.rebase()
	h.publish()
	return h
}

func (h *diffHistory) put(r evidence.Row) {
	h.made++
	h.rows[r.Path()], h.files[r.Path()] = r, h.made
}

// settle gives directories that are missing, and the sums of all.
func (h *diffHistory) settle() {
	for _, r := range treeOf(slices.Collect(maps.Values(h.rows))...) {
		if _, known := h.rows[r.Path()]; !known {
			h.put(r)
		}
		h.rows[r.Path()] = r
	}
}

func (h *diffHistory) sorted(rows map[string]evidence.Row) []evidence.Row {
	out := slices.Collect(maps.Values(rows))
	sortRows(out)
	return out
}

// rebase writes those partitions anew in which rows have changed.
func (h *diffHistory) rebase() {
	all := h.sorted(h.rows)
	if h.base == nil {
		for len(all) > 0 {
			n := min(len(all), 20+h.rng.IntN(60))
			h.base, h.parts = append(h.base, h.layer(testView, all[:n])), append(h.parts, all[:n])
			all = all[n:]
		}
		h.merged, h.deltas = maps.Clone(h.rows), nil
		return
	}
	var base []layer.Info
	var parts [][]evidence.Row
	for i := range h.base {
		end := len(all)
		if i+1 < len(h.base) {
			end, _ = slices.BinarySearchFunc(all, h.parts[i+1][0], func(a, b evidence.Row) int {
				return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Name, b.Name))
			})
		}
		part := all[:end]
		all = all[end:]
		switch {
		case slices.Equal(part, h.parts[i]):
			base, parts = append(base, h.base[i]), append(parts, part)
		case len(part) > 0:
			base, parts = append(base, h.layer(testView, part)), append(parts, part)
		}
	}
	h.base, h.parts, h.merged, h.deltas = base, parts, maps.Clone(h.rows), nil
}

func (h *diffHistory) publish() {
	m := h.commit(testView, func(m *manifest.Manifest) {
		m.Base, m.Deltas = slices.Clone(h.base), slices.Clone(h.deltas)
		m.Totals = h.rows["/"].Sub
	})
	h.states = append(h.states, diffState{m.Version, maps.Clone(h.rows), maps.Clone(h.files)})
}

// step makes a version: a fold of some changes, or a merge.
func (h *diffHistory) step() {
	if h.rng.IntN(4) == 0 {
		h.rebase()
		h.publish()
		return
	}
	before := maps.Clone(h.rows)
	for range 1 + h.rng.IntN(6) {
		h.mutate()
	}
	h.settle()
	rows := change(h.sorted(before), h.sorted(h.rows))
	if len(rows) == 0 {
		return
	}
	if len(h.deltas) == 5 {
		h.rebase()
	} else {
		h.deltas = append([]layer.Info{h.layer(testView, rows)}, h.deltas...)
	}
	h.publish()
}

// pick is a random path but the root; empty if there is none.
func (h *diffHistory) pick(kind event.Type) string {
	var all []string
	for path, r := range h.rows {
		if path != "/" && (kind == 0 || r.Type == kind) {
			all = append(all, path)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return all[h.rng.IntN(len(all))]
}

func (h *diffHistory) remove(path string) {
	for p := range h.rows {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(h.rows, p)
			delete(h.files, p)
		}
	}
}

// mtime is one that no other has, or one that many have.
func (h *diffHistory) mtime() int64 {
	h.made++
	if h.rng.IntN(4) == 0 {
		return observed - h.rng.Int64N(2)*1e9
	}
	return observed - int64(h.made)*1000 - 1
}

func (h *diffHistory) mutate() {
	path := h.pick(0)
	r := h.rows[path]
	switch op := h.rng.IntN(12); {
	case path == "" || op < 2: // add
		dir := strings.TrimSuffix(h.pick(event.Directory), "/")
		added := file(dir+"/"+[]string{"new", "b\xff", "log", "x\n", "a-"}[h.rng.IntN(5)], h.rng.Int64N(3)*1000)
		added.MtimeNs = h.mtime()
		if old := h.rows[added.Path()]; old.Type != event.Directory {
			h.put(added)
		}
	case op == 2: // what is no change of the file
		r.ObservedAt++
		r.Agent, r.AgentMissing, r.AtimeDay = "agent-2", !r.AgentMissing, r.AtimeDay+1
		h.rows[path] = r
	case op == 3:
		h.remove(path)
	case op < 6:
		r.Size, r.MtimeNs = r.Size+h.rng.Int64N(100), h.mtime()
		h.rows[path] = r
	case op == 6:
		r.Mode, r.UID, r.GID = r.Mode^0o11, r.UID^1, r.GID^1
		h.rows[path] = r
	case op == 7: // the inode becomes known, or changes
		r.Inode = event.Inode{Links: r.Links + 1, Allocated: event.Rounded(r.Size) + 4096*h.rng.Int64N(2), CtimeNs: r.MtimeNs + h.rng.Int64N(2),
			BirthS: 1_600_000_000 + int64(h.files[path]%5), ACL: []event.ACL{"", event.NoACL}[h.rng.IntN(2)]}
		if h.rng.IntN(8) == 0 {
			r.BirthS, r.ACL = 0, "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff"
		}
		if r.Type == event.File && r.Links > 1 {
			r.ID = uint64(h.files[path])
		}
		h.rows[path] = r
	case op == 8: // another type
		h.remove(path)
		kind := []event.Type{event.File, event.Symlink, event.Other}[h.rng.IntN(3)]
		changed := entry(path, kind, 7)
		if kind == event.Symlink {
			changed.Target = fmt.Sprintf("to\xff%d", h.rng.IntN(3))
		}
		h.put(changed)
	default:
		h.move(path)
	}
}

// move renames a path, with everything below it, into a directory outside of it, mostly under its own name.
func (h *diffHistory) move(path string) {
	dir := h.pick(event.Directory)
	if h.rng.IntN(3) == 0 || dir == "" {
		dir = ""
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	if h.rng.IntN(4) == 0 {
		name += "2"
	}
	to := dir + "/" + name
	if _, there := h.rows[to]; there || to == path || strings.HasPrefix(to, path+"/") {
		return
	}
	moved, files := map[string]evidence.Row{}, inodes{}
	for p, r := range h.rows {
		if p == path || strings.HasPrefix(p, path+"/") {
			r.Parent, r.Name = event.Split(to + strings.TrimPrefix(p, path))
			moved[r.Path()], files[r.Path()] = r, h.files[p]
		}
	}
	h.remove(path)
	maps.Copy(h.rows, moved)
	maps.Copy(h.files, files)
}

// modelFields is what differs between two rows of a path.
func modelFields(a, b evidence.Row) (words []string) {
	both := a.Links > 0 && b.Links > 0
	for _, f := range []struct {
		word    string
		differs bool
	}{
		{"type", a.Type != b.Type}, {"size", a.Size != b.Size}, {"mtime", a.MtimeNs != b.MtimeNs}, {"mode", a.Mode != b.Mode},
		{"uid", a.UID != b.UID}, {"gid", a.GID != b.GID}, {"target", a.Target != b.Target}, {"allocated", both && a.Allocated != b.Allocated},
		{"links", both && a.Links != b.Links}, {"ctime", both && a.CtimeNs != b.CtimeNs}, {"inode", both && a.ID != b.ID && a.ID*b.ID != 0},
		{"birth", both && a.BirthS != b.BirthS && a.BirthS*b.BirthS != 0}, {"acl", both && a.ACL != b.ACL && a.ACL != "" && b.ACL != ""},
	} {
		if f.differs {
			words = append(words, f.word)
		}
	}
	return words
}

// within reports whether a path lies at or below another.
func within(path, root string) bool {
	return root == "/" || path == root || strings.HasPrefix(path, root+"/")
}

// model is the diff of two states as lines of text, in key order: the kind, the path, and what differs.
func (a diffState) model(b diffState, root string, wanted func(*evidence.Row) bool) (out []string) {
	type line struct {
		key  layer.Key
		text string
	}
	var lines []line
	for path := range maps.Keys(union(a.rows, b.rows)) {
		was, old := a.rows[path]
		is, now := b.rows[path]
		if !within(path, root) || !(old && wanted(&was) || now && wanted(&is)) {
			continue
		}
		text := ""
		switch {
		case !old:
			text = fmt.Sprintf("added %q %d", path, is.Size)
		case !now:
			text = fmt.Sprintf("removed %q %d", path, was.Size)
		default:
			if fields := modelFields(was, is); fields != nil {
				text = fmt.Sprintf("changed %q %v %d %d", path, fields, was.Size, is.Size)
			}
		}
		if text != "" {
			lines = append(lines, line{layer.KeyOf(path), text})
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return a.key.Compare(b.key) })
	for _, l := range lines {
		out = append(out, l.text)
	}
	return out
}

func union(a, b map[string]evidence.Row) map[string]evidence.Row {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// changeLine is an entry of an answer as a line of model.
func changeLine(t testing.TB, e map[string]any) string {
	state := func(name string) int64 { return int64(e[name].(map[string]any)["size"].(float64)) }
	switch path := pathOf(t, e); e["change"] {
	case "added":
		return fmt.Sprintf("added %q %d", path, state("after"))
	case "removed":
		return fmt.Sprintf("removed %q %d", path, state("before"))
	default:
		var fields []string
		for _, f := range e["fields"].([]any) {
			fields = append(fields, f.(string))
		}
		return fmt.Sprintf("changed %q %v %d %d", path, fields, state("before"), state("after"))
	}
}

func number(v uint64) string { return strconv.FormatUint(v, 10) }

// diff asks for a diff as a stream.
func (h *diffHistory) diff(a, b diffState, root string, params ...string) []map[string]any {
	h.t.Helper()
	params = append(pathParam(root, "from", number(a.version), "to", number(b.version)), params...)
	return h.get(viewURL("diff", params...), "Accept", ndjson).is(200).lines()
}

func linesOf(t testing.TB, entries []map[string]any) (out []string) {
	for _, e := range entries {
		out = append(out, changeLine(t, e))
	}
	return out
}

// TestDiffAgainstModel: whatever the layers of two versions have in common, their diff is that of all their rows, whole and in pages of
// every size, forwards and backwards, with and without a filter, and so are its sums.
func TestDiffAgainstModel(t *testing.T) {
	moved := 0
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 21))
			h := newDiffHistory(t, rng)
			for len(h.states) < 14 {
				h.step()
			}
			for range 12 {
				a, b := h.states[rng.IntN(len(h.states))], h.states[rng.IntN(len(h.states))]
				root := "/"
				if rng.IntN(2) == 0 {
					if root = h.pick(0); a.rows[root].Parent == "" && b.rows[root].Parent == "" {
						continue
					}
				}
				everything := func(*evidence.Row) bool { return true }
				entries := h.diff(a, b, root)
				equal(t, "diff", linesOf(t, entries), a.model(b, root, everything))
				moved += h.checkMoves(a, b, entries)
				h.checkPages(a, b, root, entries, 1+rng.IntN(6))
				h.checkSums(a, b, root)
				atLeast := rng.Int64N(900)
				equal(t, "large files", linesOf(t, h.diff(a, b, root, "type", "f", "min_size", strconv.FormatInt(atLeast, 10))),
					a.model(b, root, func(r *evidence.Row) bool { return r.Type == event.File && r.Size >= atLeast }))
				equal(t, "by name", linesOf(t, h.diff(a, b, root, "pattern", "*log*", "accessed_after", "2022-01-08")),
					a.model(b, root, func(r *evidence.Row) bool { return strings.Contains(r.Name, "log") && r.AtimeDay > 18999 }))
			}
			h.checkComposition()
		})
	}
	if moved < 10 {
		t.Errorf("%d moves recognised in all", moved)
	}
}

// checkMoves checks that what is marked as moved is the same file at both places, and returns how many are.
func (h *diffHistory) checkMoves(a, b diffState, entries []map[string]any) (n int) {
	named := func(e map[string]any, name string) string {
		if b64, ok := e[name+"_b64"]; ok {
			return pathOf(h.t, map[string]any{"path_b64": b64})
		}
		path, _ := e[name].(string)
		return path
	}
	to, from := map[string]string{}, map[string]string{}
	for _, e := range entries {
		path := pathOf(h.t, e)
		if other := named(e, "moved_to"); other != "" {
			if to[path] = other; e["change"] != "removed" || a.files[path] != b.files[other] {
				h.t.Fatalf("%s moved to %s: they are not one file", path, other)
			}
		}
		if other := named(e, "moved_from"); other != "" {
			if from[other] = path; e["change"] != "added" {
				h.t.Fatalf("%v has moved_from", e)
			}
		}
	}
	if !maps.Equal(to, from) {
		h.t.Fatalf("moved to %q, moved from %q", to, from)
	}
	return len(to)
}

// checkPages checks that pages make the whole.
func (h *diffHistory) checkPages(a, b diffState, root string, whole []map[string]any, size int) {
	h.t.Helper()
	var all []map[string]any
	params := pathParam(root, "from", number(a.version), "to", number(b.version), "limit", strconv.Itoa(size))
	for cursor := ""; ; {
		asked := params
		if cursor != "" {
			asked = append(slices.Clone(params), "cursor", cursor)
		}
		page := h.call("diff", asked...).is(200).object()
		entries := page["entries"].([]any)
		for _, e := range entries {
			all = append(all, e.(map[string]any))
		}
		if page["from_version"] != float64(a.version) || page["version"] != float64(b.version) || page["moves"] != "recognised" {
			h.t.Fatalf("a page from %v to %v, moves %v", page["from_version"], page["version"], page["moves"])
		}
		if cursor, _ = page["next_cursor"].(string); cursor == "" {
			break
		}
		if len(entries) != size {
			h.t.Fatalf("a page of %d with a cursor", len(entries))
		}
	}
	got, _ := json.Marshal(all)
	want, _ := json.Marshal(whole)
	if string(got) != string(want) {
		h.t.Fatalf("pages of %d from %d to %d:\n%s\nnot\n%s", size, a.version, b.version, got, want)
	}
}

// netSums is how much more there is, by a diff's sums.
type netSums struct{ files, directories, others, bytes int64 }

func (n *netSums) add(of any, sign int64) {
	sums := of.(map[string]any)
	n.files += sign * int64(sums["files"].(float64))
	n.directories += sign * int64(sums["directories"].(float64))
	n.others += sign * int64(sums["others"].(float64))
	n.bytes += sign * int64(sums["bytes"].(float64))
}

func netOf(e map[string]any) (n netSums) {
	n.add(e["added"], 1)
	n.add(e["removed"], -1)
	n.bytes += int64(e["changed"].(map[string]any)["bytes"].(float64))
	return n
}

// sumsOf asks for the sums of a diff, by directory.
func (h *diffHistory) sumsOf(a, b diffState, root string, depth int) map[string]netSums {
	h.t.Helper()
	params := pathParam(root, "from", number(a.version), "to", number(b.version), "summary", "true", "depth", strconv.Itoa(depth))
	out := map[string]netSums{}
	for _, e := range h.call("diff", params...).is(200).object()["entries"].([]any) {
		out[pathOf(h.t, e.(map[string]any))] = netOf(e.(map[string]any))
	}
	return out
}

// checkSums checks that a directory has grown by what its sums say.
func (h *diffHistory) checkSums(a, b diffState, root string) {
	h.t.Helper()
	const depth = 3
	got := h.sumsOf(a, b, root, depth)
	changed := map[string]bool{root: true}
	for path := range union(a.rows, b.rows) {
		was, old := a.rows[path]
		is, now := b.rows[path]
		if !within(path, root) || old == now && modelFields(was, is) == nil {
			continue
		}
		for dir := path; within(dir, root) && dir != root && dir != ""; dir = dir[:strings.LastIndexByte(dir, '/')] {
			level := strings.Count(dir, "/") - strings.Count(strings.TrimSuffix(root, "/"), "/")
			if level <= depth && (a.rows[dir].Type == event.Directory || b.rows[dir].Type == event.Directory) {
				changed[dir] = true
			}
		}
	}
	for dir := range changed {
		want, of := netSums{}, func(s diffState, sign int64) (n netSums) {
			r, there := s.rows[dir]
			if !there {
				return n
			}
			t := r.Sub
			if r.Type != event.Directory {
				t = r.Own()
			}
			return netSums{sign * t.Files, sign * t.Directories, sign * t.Others, sign * t.Bytes}
		}
		before, after := of(a, 1), of(b, 1)
		want = netSums{after.files - before.files, after.directories - before.directories, after.others - before.others, after.bytes - before.bytes}
		if sums, there := got[dir]; !there || sums != want {
			h.t.Fatalf("from %d to %d, sums of %q: %v %v, not %v", a.version, b.version, dir, sums, there, want)
		}
	}
	if len(got) != len(changed) {
		h.t.Fatalf("sums of %d directories, not %d: %v, %v", len(got), len(changed), got, changed)
	}
}

// checkComposition: the sums of the diffs from each version to the next add up to those from the first to the last.
func (h *diffHistory) checkComposition() {
	h.t.Helper()
	sum := map[string]netSums{}
	for i := range h.states[1:] {
		for dir, n := range h.sumsOf(h.states[i], h.states[i+1], "/", 100) {
			was := sum[dir]
			sum[dir] = netSums{was.files + n.files, was.directories + n.directories, was.others + n.others, was.bytes + n.bytes}
		}
	}
	whole := h.sumsOf(h.states[0], h.states[len(h.states)-1], "/", 100)
	for dir, n := range sum {
		if slices.ContainsFunc(h.states, func(s diffState) bool { r, there := s.rows[dir]; return there && r.Type != event.Directory }) {
			continue // only directories have sums
		}
		if whole[dir] != n { // where all is as it was at first, the whole has no sums, and these are zero
			h.t.Fatalf("%q: %v in steps, %v at once", dir, n, whole[dir])
		}
	}
	for dir := range whole {
		if _, there := sum[dir]; !there {
			h.t.Fatalf("%q differs at once and not in steps", dir)
		}
	}
}

// TestDiffAnswers: what a diff of versions, times and forms answers, and what it refuses.
func TestDiffAnswers(t *testing.T) {
	f := newFixture(t)
	first := f.base(testView, treeOf(file("/a/one", 5), file("/a/two", 7)))
	second := f.delta(testView, change(treeOf(file("/a/one", 5), file("/a/two", 7)), treeOf(file("/a/one", 6), file("/a/three", 7))))

	answer := f.call("diff").is(200)
	if tag := answer.header.Get("ETag"); tag == "" || f.call("diff", "to", "2").header.Get("ETag") != tag {
		t.Errorf("ETag %q", tag)
	} else if f.get(viewURL("diff"), "If-None-Match", tag).status != 304 || f.get(viewURL("diff", "from", "2"), "If-None-Match", tag).status != 200 {
		t.Error("the ETag is not of the two versions")
	}
	if h := answer.header; h.Get("Fustor-Version") != "2" || h.Get("Fustor-From-Version") != "1" || h.Get("Fustor-Moves") != "recognised" {
		t.Errorf("headers %v", h)
	}
	if f.call("diff", "newer_than", "7d").is(200).header.Get("ETag") != "" {
		t.Error("an answer to an age has an ETag")
	}
	lines := f.get(viewURL("diff", "explain", "true"), "Accept", ndjsonEnd).is(200)
	if !strings.Contains(string(lines.body), `"explain":{`) || !strings.HasSuffix(string(lines.body), "{\"end\":true,\"count\":3}\n") {
		t.Errorf("stream %s", lines.body)
	}
	if n := f.call("diff", "from", "2").is(200).object()["count"]; n != float64(0) {
		t.Errorf("%v differ from version 2 to 2", n)
	}
	f.call("diff", "path", "/none").problem(404, "/none")
	f.call("diff", "path", "/a/two").is(200) // it was there
	f.call("diff", "from", "soon").problem(400, `"from"`)
	f.call("diff", "to", "").problem(400, `"to"`)
	f.call("diff", "depth", "2").problem(400, "depth")
	f.call("diff", "summary", "true", "limit", "2").problem(400, "pages")
	f.call("diff", "owner", "nobody-knows").problem(400, "nobody-knows")
	f.call("diff", "from", "7").problem(410, "version 7")
	f.call("diff", "from", "10y").problem(410, "not kept")
	cursor := f.call("diff", "limit", "1").object()["next_cursor"].(string)
	f.call("diff", "limit", "2", "cursor", cursor).is(200)
	f.call("diff", "limit", "2", "from", "1", "cursor", cursor).problem(400, "cursor")
	f.call("search", "pattern", "*", "cursor", cursor).problem(400, "cursor")

	if err := f.st.Delete(t.Context(), layout.Manifest(testView, first.Version, first.Nonce)); err != nil {
		t.Fatal(err)
	}
	fresh := serve(t, f.st) // which has not read it yet
	fresh.call("diff", "from", "1").problem(410, "version 1")
	fresh.call("diff", "limit", "2", "cursor", cursor).problem(410, "version 1")
	if second.Version != 2 {
		t.Error("the second version is not 2")
	}
}

// TestDiffOfForest: a diff is of one view, and says so.
func TestDiffOfForest(t *testing.T) {
	f := newFixture(t)
	f.base("nfs1", treeOf(file("/a", 1)))
	f.forest("all", "nfs1")
	f.of("all", "diff").problem(409, "forest")
}

// TestDiffReadsWhatDiffers: what two versions have in common is not read, whether a fold or a merge made the later one.
func TestDiffReadsWhatDiffers(t *testing.T) {
	f := newFixture(t)
	var all []evidence.Row
	for i := range 2000 {
		all = append(all, file(fmt.Sprintf("/d%03d/f%02d", i/20, i%20), int64(i)))
	}
	all = treeOf(all...)
	changed := slices.Clone(all)
	for i := range changed {
		if strings.HasPrefix(changed[i].Parent, "/d05") && changed[i].Type == event.File {
			changed[i].Size++
		}
	}
	first := f.base(testView, all)
	f.delta(testView, change(all, changed))
	f.base(testView, changed) // a merge: most of its row groups are those of before
	groups := int64(len(all)/16 + 1)
	for to, most := range map[string]int64{"2": 60, "3": 60} {
		fresh := serve(t, f.st)
		a := fresh.call("diff", "from", number(first.Version), "to", to, "explain", "true", "limit", "1000").is(200).object()
		if read := int64(a["explain"].(map[string]any)["groups_read"].(float64)); a["count"] != float64(200) || read > most || read < 12 {
			t.Errorf("version 1 to %s: %v differ, %d row groups read of %d", to, a["count"], read, groups)
		}
	}
}
