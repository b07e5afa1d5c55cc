package event

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

// The two compound columns of a block, both ways: front-coded texts, and runs of entries.

// entriesEncoder fills the columns of a run of entries.
type entriesEncoder struct {
	pb       segmentpb.Entries
	mtimeNs  int64
	atimeDay int32
	targets  textEncoder
	inodes   segmentpb.Inodes
	births   []uint64 // of inodes, if any tells of its birth
}

func (x *entriesEncoder) reset() {
	x.mtimeNs, x.atimeDay = 0, 0
	x.pb.Attributes = x.pb.Attributes[:0]
	x.pb.Sizes = x.pb.Sizes[:0]
	x.pb.MtimeNsDeltas = x.pb.MtimeNsDeltas[:0]
	x.pb.AtimeDayDeltas = x.pb.AtimeDayDeltas[:0]
	x.targets.reset()
	n := &x.inodes
	n.Links, n.Excesses, n.CtimeNsAfterMtime, n.Ids = n.Links[:0], n.Excesses[:0], n.CtimeNsAfterMtime[:0], n.Ids[:0]
	n.Births, x.births = nil, x.births[:0]
	x.pb.Inodes = nil
}

func (x *entriesEncoder) add(e *Entry, attributes uint32) {
	x.pb.Attributes = append(x.pb.Attributes, attributes)
	x.pb.Sizes = append(x.pb.Sizes, uint64(e.Size))
	x.pb.MtimeNsDeltas = append(x.pb.MtimeNsDeltas, e.MtimeNs-x.mtimeNs)
	x.pb.AtimeDayDeltas = append(x.pb.AtimeDayDeltas, e.AtimeDay-x.atimeDay)
	x.mtimeNs, x.atimeDay = e.MtimeNs, e.AtimeDay
	if e.Type == Symlink {
		x.targets.add(e.Target)
	}
	x.addInode(e)
}

// addInode adds to the columns of inodes, which are left out of a run of entries that tell nothing of theirs.
func (x *entriesEncoder) addInode(e *Entry) {
	n := &x.inodes
	if !e.Measured() {
		n.Links, n.Excesses, n.CtimeNsAfterMtime = append(n.Links, 0), append(n.Excesses, 0), append(n.CtimeNsAfterMtime, 0)
		x.addBirth(0)
		return
	}
	x.pb.Inodes = n
	n.Links = append(n.Links, e.Links)
	n.Excesses = append(n.Excesses, e.Allocated-Rounded(e.Size))
	n.CtimeNsAfterMtime = append(n.CtimeNsAfterMtime, e.CtimeNs-e.MtimeNs)
	if e.hasID() {
		n.Ids = append(n.Ids, e.ID)
	}
	x.addBirth(birthCode(&e.Inode))
}

// addBirth adds to the column of births, which is left out of a run of entries that tell none.
func (x *entriesEncoder) addBirth(code uint64) {
	if x.births = append(x.births, code); code != 0 || x.inodes.Births != nil {
		x.inodes.Births = x.births
	}
}

// birthCode is an inode's birth as the column has it: 0 if it is not known, otherwise one more than the zigzag of BirthBefore.
func birthCode(i *Inode) uint64 {
	if i.BirthS == 0 {
		return 0
	}
	before := i.BirthBefore()
	return uint64(before<<1^before>>63) + 1
}

func (i *Inode) setBirthCode(code uint64) {
	if code != 0 {
		code--
		i.SetBirthBefore(int64(code>>1) ^ -int64(code&1))
	}
}

// hasID reports whether the entry is one of several names of a file.
func (e *Entry) hasID() bool { return e.Links > 1 && e.Type != Directory }

// textEncoder fills a front-coded column.
type textEncoder struct {
	pb       segmentpb.Texts
	previous string
}

func (t *textEncoder) reset() {
	t.previous = ""
	t.pb.PrefixLengths = t.pb.PrefixLengths[:0]
	t.pb.SuffixLengths = t.pb.SuffixLengths[:0]
	t.pb.Suffixes = t.pb.Suffixes[:0]
}

func (t *textEncoder) add(s string) {
	n := commonPrefix(s, t.previous)
	t.pb.PrefixLengths = append(t.pb.PrefixLengths, uint32(n))
	t.pb.SuffixLengths = append(t.pb.SuffixLengths, uint32(len(s)-n))
	t.pb.Suffixes = append(t.pb.Suffixes, s[n:]...)
	t.previous = s
}

// commonPrefix is how many bytes two strings begin with alike.
func commonPrefix(a, b string) (n int) {
	limit := min(len(a), len(b))
	for ; n+8 <= limit; n += 8 {
		if x := eightBytes(a, n) ^ eightBytes(b, n); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < limit && a[n] == b[n] {
		n++
	}
	return n
}

// eightBytes is the bytes from the i-th on as a little-endian number. Compilers make one load of it.
func eightBytes(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// restore undoes the front-coding of a column. The strings go into into, which is emptied first.
func (d *blockDecoder) restore(into []string, column *segmentpb.Texts) ([]string, error) {
	into = into[:0]
	prefixes, suffixes, rest := column.GetPrefixLengths(), column.GetSuffixLengths(), column.GetSuffixes()
	if len(prefixes) != len(suffixes) {
		return into, fmt.Errorf("%d lengths of prefixes, %d of suffixes", len(prefixes), len(suffixes))
	}
	var total, own uint64
	for i, n := range suffixes {
		own += uint64(n)
		total += uint64(n) + uint64(prefixes[i])
	}
	if own != uint64(len(rest)) {
		return into, fmt.Errorf("%d bytes of suffixes where their lengths say %d", len(rest), own)
	}
	if total > uint64(d.maxText-d.restored) {
		return into, fmt.Errorf("more text than a block may have, once its prefixes are restored")
	}
	d.restored += int(total)
	var all strings.Builder
	all.Grow(int(total)) // so that the strings cut from it below stay valid and none is copied
	previous := ""
	for i, n := range suffixes {
		if int(prefixes[i]) > len(previous) {
			return into, fmt.Errorf("text %d shares %d bytes with one of %d", i, prefixes[i], len(previous))
		}
		start := all.Len()
		all.WriteString(previous[:prefixes[i]])
		all.Write(rest[:n])
		rest = rest[n:]
		previous = all.String()[start:]
		into = append(into, previous)
	}
	return into, nil
}

// entries makes entries, without names, of their columns. They go into into, which is emptied first.
func (d *blockDecoder) entries(into []Entry, column *segmentpb.Entries) ([]Entry, error) {
	into = into[:0]
	var err error
	if d.targets, err = d.restore(d.targets, column.GetTargets()); err != nil {
		return into, fmt.Errorf("targets: %w", err)
	}
	a := d.block.GetAttributes()
	types, modes, uids, gids := a.GetTypes(), a.GetModes(), a.GetUids(), a.GetGids()
	if len(modes) != len(types) || len(uids) != len(types) || len(gids) != len(types) {
		return into, fmt.Errorf("%d types, %d modes, %d uids, %d gids in the attributes", len(types), len(modes), len(uids), len(gids))
	}
	indexes, sizes := column.GetAttributes(), column.GetSizes()
	mtimes, atimes := column.GetMtimeNsDeltas(), column.GetAtimeDayDeltas()
	n := len(indexes)
	if len(sizes) != n || len(mtimes) != n || len(atimes) != n {
		return into, fmt.Errorf("%d attributes, %d sizes, %d mtimes, %d atimes", n, len(sizes), len(mtimes), len(atimes))
	}
	if n := len(a.GetAcls()); n != 0 && n != len(types) {
		return into, fmt.Errorf("%d types, %d ACLs in the attributes", len(types), n)
	}
	targets := d.targets
	var mtimeNs int64
	var atimeDay int32
	for i, index := range indexes {
		if uint64(index) >= uint64(len(types)) {
			return into, fmt.Errorf("entry %d has attributes %d of %d", i, index, len(types))
		}
		mtimeNs += mtimes[i]
		atimeDay += atimes[i]
		into = append(into, Entry{
			Type: entryType(types[index]), Mode: modes[index], UID: uids[index], GID: gids[index],
			Size: int64(sizes[i]), MtimeNs: mtimeNs, AtimeDay: atimeDay,
		})
		if types[index] == segmentpb.Type_TYPE_SYMLINK {
			if len(targets) == 0 {
				return into, fmt.Errorf("more symlinks than targets")
			}
			into[i].Target, targets = targets[0], targets[1:]
		}
	}
	if len(targets) > 0 {
		return into, fmt.Errorf("more targets than symlinks")
	}
	if err := addInodes(into, column.GetInodes()); err != nil {
		return into, err
	}
	d.addACLs(into, indexes)
	return into, nil
}

// addACLs gives entries the ACLs of their attributes.
func (d *blockDecoder) addACLs(entries []Entry, attributes []uint32) {
	encoded := d.block.GetAttributes().GetAcls()
	if len(encoded) == 0 {
		return
	}
	acls := make([]ACL, len(encoded))
	for i, b := range encoded {
		if acls[i] = NoACL; string(b) != string(NoACL) {
			acls[i] = ACL(b)
		}
	}
	for i, index := range attributes {
		entries[i].ACL = acls[index]
	}
}

// addInodes gives entries what is told of their inodes; columns that are empty tell nothing.
func addInodes(entries []Entry, column *segmentpb.Inodes) error {
	links, excesses, ctimes, ids := column.GetLinks(), column.GetExcesses(), column.GetCtimeNsAfterMtime(), column.GetIds()
	n := len(links)
	if n != 0 && n != len(entries) || len(excesses) != n || len(ctimes) != n {
		return fmt.Errorf("%d links, %d excesses, %d ctimes of %d inodes", n, len(excesses), len(ctimes), len(entries))
	}
	births := column.GetBirths()
	if b := len(births); b != 0 && b != n {
		return fmt.Errorf("%d links, %d births of inodes", n, b)
	}
	for i, count := range links {
		if count == 0 {
			continue
		}
		e := &entries[i]
		e.Links, e.CtimeNs = count, e.MtimeNs+ctimes[i]
		e.Allocated = Rounded(e.Size) + excesses[i]
		if len(births) > 0 {
			e.setBirthCode(births[i])
		}
		if e.hasID() {
			if len(ids) == 0 {
				return fmt.Errorf("more files with several names than identities of them")
			}
			e.ID, ids = ids[0], ids[1:]
		}
	}
	if len(ids) > 0 {
		return fmt.Errorf("more identities of inodes than files with several names")
	}
	return nil
}

// entryType is the type, or 0 where there is no such: check refuses that.
func entryType(t segmentpb.Type) Type {
	if t < 0 || t > segmentpb.Type_TYPE_OTHER {
		return 0
	}
	return Type(t)
}

func resetTexts(t *segmentpb.Texts) {
	if t != nil {
		t.PrefixLengths, t.SuffixLengths, t.Suffixes = t.PrefixLengths[:0], t.SuffixLengths[:0], nil
	}
}

func resetEntries(e *segmentpb.Entries) {
	if e != nil {
		e.Attributes, e.Sizes = e.Attributes[:0], e.Sizes[:0]
		e.MtimeNsDeltas, e.AtimeDayDeltas = e.MtimeNsDeltas[:0], e.AtimeDayDeltas[:0]
		resetTexts(e.Targets)
		if n := e.Inodes; n != nil {
			n.Links, n.Excesses, n.CtimeNsAfterMtime, n.Ids = n.Links[:0], n.Excesses[:0], n.CtimeNsAfterMtime[:0], n.Ids[:0]
			n.Births = n.Births[:0]
		}
	}
}
