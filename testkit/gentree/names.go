package gentree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// file is an entry that is no directory.
type file struct {
	name, target string
	kind         event.Type
	mode         uint32
	size, mtime  int64
	atimeDay     int32
	inode        event.Inode
}

func (f *file) set(r *evidence.Row) {
	r.Name, r.Target, r.Type, r.Mode, r.Size, r.MtimeNs, r.AtimeDay = f.name, f.target, f.kind, f.mode, f.size, f.mtime, f.atimeDay
	r.Inode = f.inode
}

func (f *file) totals() evidence.Totals {
	t := evidence.Totals{Others: 1, LatestMtimeNs: evidence.NoMtime, Allocated: f.inode.Allocated}
	if f.kind == event.File {
		t.Files, t.Others, t.Bytes, t.LatestMtimeNs = 1, 0, f.size, f.mtime
	}
	if f.inode.Links > 1 {
		t.LinkedAllocated = f.inode.Allocated
	}
	return t
}

var words = strings.Fields(`alpha analysis annotation archive assay backup baseline batch brain calibration cell chunk
	cohort config control corpus data debug default demo deployment docs draft embedding eval event export feature figure
	final frame gene genome graph group image index input job label lidar log manual map mask matrix merged meta metrics
	model montage mouse notebook old output panel paper patient phase pilot pipeline plate plot probe project protein
	public radar raw recording reference release report result review run sample scan scratch script sensor sequence
	session shard sim site slide source spectra split stack stage study subject summary table task temp test thesis tile
	timeline token trace train user v1 v2 validation vendor video volume weights window`)

// styles are the ways in which a directory's files are named: the prefix, the extension and their sizes (log-normal).
var styles = []struct {
	name   func(*rand.Rand, string, int) string
	suffix string
	mu     float64 // of the natural logarithm of the size in bytes
	sigma  float64
}{
	{numbered, ".png", 12.5, 0.6},
	{numbered, ".jpg", 13.8, 0.5},
	{numbered, ".npy", 14.2, 0.3},
	{numbered, ".dcm", 13.2, 0.1},
	{numbered, ".json", 7.5, 1.0},
	{camera, ".jpg", 14.7, 0.4},
	{camera, ".mp4", 18.2, 1.2},
	{sample, ".fastq.gz", 20.0, 1.5},
	{sample, ".bam", 21.0, 1.3},
	{sample, ".bam.bai", 13.5, 1.0},
	{part, ".snappy.parquet", 17.0, 0.8},
	{prose, ".csv", 10.0, 2.5},
	{prose, ".txt", 8.0, 2.2},
	{prose, ".py", 8.2, 1.4},
	{prose, ".h5", 18.0, 2.0},
	{hashed, ".pt", 16.0, 2.0},
}

func numbered(_ *rand.Rand, stem string, i int) string { return fmt.Sprintf("%s_%06d", stem, i) }

func camera(rng *rand.Rand, _ string, i int) string {
	s := i*7 + rng.IntN(7)
	return fmt.Sprintf("IMG_202406%02d_%02d%02d%02d", 1+s/86400%30, s/3600%24, s/60%60, s%60)
}

func sample(rng *rand.Rand, stem string, i int) string {
	return fmt.Sprintf("%s-S%04d_L%03d_R%d_001", strings.ToUpper(stem), i/4, 1+i/2%2, 1+i%2)
}

func part(rng *rand.Rand, _ string, i int) string {
	return fmt.Sprintf("part-%05d-%08x-%04x", i, rng.Uint32(), rng.Uint32()&0xffff)
}

func prose(rng *rand.Rand, _ string, i int) string {
	s := word(rng) + "_" + word(rng)
	if rng.IntN(3) > 0 {
		s += "-" + strconv.Itoa(2015+rng.IntN(11)) + strconv.Itoa(10+rng.IntN(3)) + strconv.Itoa(10+rng.IntN(18))
	}
	if i > 200 || rng.IntN(4) == 0 {
		s += "_" + strconv.Itoa(rng.IntN(1000+i))
	}
	return s
}

func hashed(rng *rand.Rand, _ string, _ int) string { return fmt.Sprintf("%016x", rng.Uint64()) }

func word(rng *rand.Rand) string { return words[rng.IntN(len(words))] }

// directoryName never has a dot, and file names always have one, so that the two never meet. Sibling n is unique by n.
func directoryName(rng *rand.Rand, n int) string {
	switch rng.IntN(4) {
	case 0:
		return fmt.Sprintf("%s_%03d", word(rng), n)
	case 1:
		return fmt.Sprintf("%s-%s%d", word(rng), word(rng), n)
	case 2:
		return fmt.Sprintf("202%d-%02d-%02d-%d", rng.IntN(6), 1+rng.IntN(12), 1+rng.IntN(28), n)
	}
	return word(rng) + strconv.Itoa(n)
}

// filesOf appends the files of directory i in name order.
func (t *Tree) filesOf(i int, to []file) []file {
	d := &t.dirs[i]
	rng := rand.New(rand.NewPCG(t.o.Seed, mix(t.o.Seed+1, uint64(i))))
	style := &styles[d.style]
	stem := word(rng)
	for n := range int(d.files) {
		to = append(to, file{name: style.name(rng, stem, n) + style.suffix})
	}
	slices.SortFunc(to, func(a, b file) int { return strings.Compare(a.name, b.name) })
	at := d.bornS*1e9 + rng.Int64N(1e9)
	gap := math.Exp(16 + 5*rng.Float64()) // between files, ns: from 10 ms to seconds
	day := scanDay - int32(rng.IntN(900))
	wholeSeconds := rng.IntN(5) == 0 // unpacked from an archive
	for n := range to {
		f := &to[n]
		if n > 0 && f.name <= to[n-1].name {
			f.name = to[n-1].name + "." + strconv.Itoa(n)
		}
		at = min(at+int64(gap*rng.ExpFloat64()), ScanStart-1)
		f.kind, f.mode, f.mtime, f.atimeDay = event.File, 0o644, at, day
		if rng.IntN(6) == 0 {
			f.atimeDay += int32(rng.IntN(100))
		}
		if wholeSeconds {
			f.mtime -= f.mtime % 1e9
		}
		f.size = int64(math.Exp(style.mu + style.sigma*rng.NormFloat64()))
		if rng.IntN(200) == 0 {
			f.kind, f.mode, f.size = event.Symlink, 0o777, 0
			f.target = "../" + word(rng) + "/" + f.name
			f.size = int64(len(f.target))
		}
	}
	t.inodesOf(i, to)
	return to
}

// inodesOf gives the files of directory i what their inodes tell: half of the directories were written where they are, so that the
// ctimes are the mtimes; others were copied, unpacked or given away later, one file soon after the other. A few are on a file system
// that compresses, are backups whose files have several names, or hold sparse files.
func (t *Tree) inodesOf(i int, files []file) {
	d := &t.dirs[i]
	rng := rand.New(rand.NewPCG(t.o.Seed, mix(t.o.Seed+2, uint64(i))))
	inPlace, compressed, linked, sparse := rng.IntN(2) == 0, rng.IntN(20) == 0, rng.IntN(50) == 0, rng.IntN(20) == 0
	const tick = 4e6 // ns, of the clock that file systems take times from
	changed := max(d.bornS*1e9, ScanStart-rng.Int64N(400*86400e9))
	number := rng.Uint64() >> 24
	appended := rng.IntN(50) == 0 // files are logs, or are edited
	for n := range files {
		f := &files[n]
		f.inode = event.Inode{Links: 1, Allocated: event.Rounded(f.size), CtimeNs: f.mtime}
		if f.kind == event.Symlink {
			f.inode.Allocated = 0
		}
		if changed += tick * rng.Int64N(8); !inPlace {
			f.inode.CtimeNs = max(f.mtime, changed)
		}
		f.inode.BirthS = f.born(inPlace) / 1e9
		if appended {
			f.inode.BirthS -= int64(mix(t.o.Seed+3, uint64(n)) % (30 * 86400))
		}
		if compressed {
			f.inode.Allocated = int64(float64(f.inode.Allocated)*(0.3+0.6*rng.Float64())) &^ 511
		}
		if sparse && rng.IntN(4) == 0 {
			f.inode.Allocated = min(f.inode.Allocated, 4096*rng.Int64N(256))
		}
		if linked {
			f.inode.Links, f.inode.ID = 2, number+uint64(n)
		}
	}
}

// born is when a file came to be, ns: it was written where it is at 100 MB/s until its mtime, or copied at 1 GB/s until its ctime. In
// a module cache 96 of 100 ctimes are in the second of the birth.
func (f *file) born(inPlace bool) int64 {
	if inPlace {
		return f.mtime - f.size*10
	}
	return f.inode.CtimeNs - f.size
}

// mix is splitmix64 of both.
func mix(a, b uint64) uint64 {
	z := a*0x9e3779b97f4a7c15 + b + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
