package known

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/scan"
)

// FuzzBase: whatever is read of the whole file is written so that the same is read again. The checksum is put right, so that what is
// behind it is reached.
func FuzzBase(f *testing.F) {
	id := Identity{View: "v", Root: "/srv"}
	head := header{Format: baseFormat, Identity: id}
	body := func(file []byte) []byte {
		_, rest, _ := bytes.Cut(file[:len(file)-8], []byte{'\n'})
		return rest
	}
	f.Add(body(encode(head, &scan.Known{Mtime: 5, Dirs: []*scan.Known{{Name: "a", Mtime: 7, Dirs: []*scan.Known{{Name: "b\xff"}}}, {Name: "ab"}}})))
	f.Add(body(encode(head, &scan.Known{})))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 2, 0, 0, 0})
	line, err := json.Marshal(head)
	if err != nil {
		f.Fatal(err)
	}
	read := func(rest []byte) (*scan.Known, error) {
		file := append(append(bytes.Clone(line), '\n'), rest...)
		file = binary.LittleEndian.AppendUint64(file, xxhash.Sum64(file))
		var b builder
		_, err := readBase(file, id, b.add)
		return b.root, err
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		root, err := read(rest)
		if err != nil || root == nil {
			return
		}
		written := body(encode(head, root))
		again, err := read(written)
		if err != nil {
			t.Fatalf("what was read is written so that it cannot be read: %v", err)
		}
		if second := body(encode(head, again)); !bytes.Equal(written, second) {
			t.Fatalf("%x\n%x", written, second)
		}
	})
}

// FuzzLog: whatever a block of the log says is taken in as a tree that can be written, and nothing after a broken block counts.
func FuzzLog(f *testing.F) {
	subs := func(names ...string) func(func(string) bool) {
		return func(yield func(string) bool) {
			for _, n := range names {
				if !yield(n) {
					return
				}
			}
		}
	}
	block := appendSession(nil, "s")
	block = appendListed(block, "", "/a", 5, subs("b", "c"))
	block = appendListed(block, "/a", "/a/b", -7, subs())
	f.Add(block)
	f.Add([]byte{kindListed, 0, 1, '/', 0, 0})
	f.Add([]byte{kindListed, 5})
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, block []byte) {
		file := binary.LittleEndian.AppendUint32(nil, uint32(len(block)))
		file = append(binary.LittleEndian.AppendUint64(file, xxhash.Sum64(block)), block...)
		var b builder
		whole := readLog(append(bytes.Clone(file), "torn"...), func(string) {}, b.add)
		if whole != 0 && whole != len(file) {
			t.Fatalf("%d of %d bytes are whole", whole, len(file))
		}
		if b.root != nil {
			_ = encode(header{Format: baseFormat}, b.root)
		}
	})
}
