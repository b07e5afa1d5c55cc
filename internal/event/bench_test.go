package event

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sort"
	"testing"
)

// tree makes listings of a realistic tree: directories of very different sizes, names as packages, photos and builds
// have them, mtimes in bursts, few owners. It is the same on every run.
func tree(entries int) []*Event {
	random := rand.New(rand.NewPCG(1, 2))
	stems := []string{"lib", "IMG_", "index", "test_", "module-", "README", "frame.", "sample_R1_", "_", "x86_64-linux-gnu-"}
	endings := []string{".so", ".jpg", ".html", "_test.go", ".py", ".md", ".fastq.gz", ".h", ".json", ""}
	var events []*Event
	now := int64(1_700_000_000_000_000_000)
	dir := "/data"
	for n := 0; n < entries; {
		dir = nextDir(random, dir)
		count := 1 + int(random.ExpFloat64()*25)
		if random.IntN(50) == 0 {
			count *= 40
		}
		stem, ending := stems[random.IntN(len(stems))], endings[random.IntN(len(endings))]
		burst := now - random.Int64N(3e16)
		day := int32(burst / 86_400_000_000_000)
		seen := map[string]bool{}
		var list []Entry
		for i := range count {
			e := Entry{
				Name: fmt.Sprintf("%s%04x%s", stem, i*7+random.IntN(7), ending), Type: File, Mode: 0o644, UID: 1000, GID: 1000,
				Size: int64(random.ExpFloat64() * 50_000), MtimeNs: burst + random.Int64N(1e10), AtimeDay: day + random.Int32N(3),
			}
			switch random.IntN(30) {
			case 0:
				e.Type, e.Mode, e.Size = Directory, 0o755, 4096
			case 1:
				e.Type, e.Mode, e.Target = Symlink, 0o777, "../"+e.Name
			case 2:
				e.Mode, e.UID = 0o755, 0
			}
			if !seen[e.Name] {
				seen[e.Name] = true
				list = append(list, e)
			}
		}
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
		_, name := Split(dir)
		events = append(events, &Event{
			Kind: Listing, Evidence: Snapshot, ObservedAt: now + int64(n)*1000, Path: dir,
			Entry:   Entry{Name: name, Type: Directory, Mode: 0o755, UID: 1000, GID: 1000, Size: 4096, MtimeNs: burst, AtimeDay: day},
			Entries: list,
		})
		n += len(list)
	}
	return events
}

func nextDir(random *rand.Rand, dir string) string {
	for len(dir) > 60 || (dir != "/data" && random.IntN(2) == 0) {
		parent, _ := Split(dir)
		dir = parent[:len(parent)-1]
	}
	return Join(dir, fmt.Sprintf("%c%d", 'a'+random.IntN(26), random.IntN(1000)))
}

// puts makes realtime events for the entries of a tree.
func puts(entries int) []*Event {
	var events []*Event
	for _, listing := range tree(entries) {
		for _, e := range listing.Entries {
			events = append(events, &Event{
				Kind: Put, Evidence: Realtime, ObservedAt: listing.ObservedAt, Path: Join(listing.Path, e.Name), Atomic: true, Entry: e,
			})
		}
	}
	return events
}

func countRows(events []*Event) (n int) {
	for _, ev := range events {
		n += max(1, len(ev.Entries))
	}
	return n
}

func benchmarkEncode(b *testing.B, events []*Event) {
	rows := countRows(events)
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := w.Reset(&out, Header{View: "v", Session: "s"}); err != nil {
			b.Fatal(err)
		}
		for _, ev := range events {
			if err := w.Add(ev); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
	b.ReportMetric(float64(out.Len())/float64(rows), "bytes/row")
	b.ReportMetric(float64(w.written.raw)/float64(rows), "raw-bytes/row")
}

func benchmarkDecode(b *testing.B, events []*Event) {
	rows := countRows(events)
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{})
	if err != nil {
		b.Fatal(err)
	}
	for _, ev := range events {
		if err := w.Add(ev); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	r, err := NewReader("bench", bytes.NewReader(out.Bytes()), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Reset("bench", bytes.NewReader(out.Bytes()), Limits{}); err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

func BenchmarkEncodeListings(b *testing.B) { benchmarkEncode(b, tree(500_000)) }
func BenchmarkDecodeListings(b *testing.B) { benchmarkDecode(b, tree(500_000)) }
func BenchmarkEncodePuts(b *testing.B)     { benchmarkEncode(b, puts(200_000)) }
func BenchmarkDecodePuts(b *testing.B)     { benchmarkDecode(b, puts(200_000)) }

func BenchmarkEncodeSmall(b *testing.B) { benchmarkEncode(b, puts(200)[:20]) }
func BenchmarkDecodeSmall(b *testing.B) { benchmarkDecode(b, puts(200)[:20]) }
