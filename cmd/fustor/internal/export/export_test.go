package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/store/flock"
)

// tree is a tree in the order of the API: every directory's entries, then those of the directories in it. Each directory has some
// files, and names that sort before and behind the slash, or are not UTF-8.
func tree(levels int) (all []*client.Node) {
	var list func(prefix string, level int)
	list = func(prefix string, level int) {
		names := []string{"a", "a-b", "a.b", "b\xff", "q\"\\\n", "z"}
		for i, name := range names {
			n := &client.Node{Path: prefix + name, Type: "directory", Size: 4096, Mode: 0o755, MtimeNs: -1, Links: 2, Allocated: 4096}
			if level == levels || i == 1 {
				n.Type, n.Size, n.Subtree = "file", int64(len(prefix)), nil
			}
			all = append(all, n)
		}
		if level == levels {
			return
		}
		below := []string{}
		for i, name := range names {
			if i != 1 {
				below = append(below, name+"/")
			}
		}
		slices.Sort(below)
		for _, name := range below {
			list(prefix+name, level+1)
		}
	}
	all = append(all, &client.Node{Path: "/", Type: "directory", Size: 4096, Subtree: &client.Subtree{Files: 7, Directories: 7}})
	list("/", 1)
	return all
}

// pages reads a tree in pages of seven. From call broken on it fails in the middle of the page.
func pages(all []*client.Node, broken int) func(context.Context, string, client.Each) (string, error) {
	calls := 0
	return func(_ context.Context, cursor string, each client.Each) (string, error) {
		calls++
		from, _ := strconv.Atoi(cursor)
		page := all[from:min(len(all), from+7)]
		for i, n := range page {
			if calls > broken && i == 3 {
				return "", errBroken
			}
			if err := each(n); err != nil {
				return "", err
			}
		}
		if from+7 >= len(all) {
			return "", nil
		}
		return strconv.Itoa(from + 7), nil
	}
}

var errBroken = errors.New("broken")

// formats are all formats, with checkpoints that come soon.
func formats() map[string]Format {
	return map[string]Format{
		"csv":     Text([]string{"path", "size"}, func(n *client.Node) []any { return []any{n.Path, n.Size} }, 0),
		"ndjson":  Text(nil, nil, 0),
		"ncdu":    NCDU("/", "1", 2, 0),
		"parquet": Parquet("1", 20),
	}
}

// TestResume cuts an export off again and again, at every page, until it is whole: the file is the one of an export at a stroke.
func TestResume(t *testing.T) {
	all := tree(3)
	for name, format := range formats() {
		t.Run(name, func(t *testing.T) {
			var want bytes.Buffer
			job := Job{Read: pages(all, len(all)), Format: format, Count: func(*client.Node, int64, int64) {}}
			if _, err := job.Run(t.Context(), Stream{&want}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "out")
			asked := Question{Asked: json.RawMessage(`"x"`), MomentNs: 5, AsOf: "7"}
			resumed, runs := 0, 0
			for {
				f, partial, err := OpenFile(path, asked, true)
				if err != nil {
					t.Fatal(err)
				}
				if f.Resumes() {
					resumed++
					if !partial || f.Question().MomentNs != 5 || f.Question().AsOf != "7" {
						t.Fatalf("it goes on as %+v", f.Question())
					}
					asked.MomentNs, asked.AsOf = 6, "" // a later run; the file's own count
				}
				if _, _, err := OpenFile(path, asked, true); !errors.Is(err, flock.ErrLocked) {
					t.Fatalf("a second export at the same time: %v", err)
				}
				runs++
				job.Read = pages(all, 4) // another checkpoint or more, and then the end
				at, err := job.Run(t.Context(), f)
				if err == nil {
					if at.Rows != int64(len(all)) {
						t.Errorf("%d rows, want %d", at.Rows, len(all))
					}
					break
				}
				if !errors.Is(err, errBroken) || runs > len(all) {
					t.Fatal(err)
				}
				f.Abort()
				if _, err := os.Stat(path); err == nil {
					t.Fatal("a file that is not whole has its name")
				}
				if p, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_APPEND, 0); err != nil { // what is behind the checkpoint does not count
					t.Fatal(err)
				} else {
					p.WriteString("rubbish")
					p.Close()
				}
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want.Bytes()) {
				t.Errorf("%d bytes after %d runs, %v; at a stroke %d", len(got), runs, err, want.Len())
			}
			if resumed < 5 {
				t.Errorf("it went on only %d times", resumed)
			}
			if left, _ := filepath.Glob(path + ".*"); left != nil {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// TestAbortLeavesNothing: an export that fails before its first checkpoint leaves no file, and one of other flags does not go on.
func TestAbortLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	all, asked := tree(3), Question{Asked: json.RawMessage(`"x"`)}
	run := func(broken int) {
		f, _, err := OpenFile(path, asked, false)
		if err != nil {
			t.Fatal(err)
		}
		job := Job{Read: pages(all, broken), Format: formats()["csv"], Count: func(*client.Node, int64, int64) {}}
		if _, err := job.Run(t.Context(), f); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		f.Abort()
	}
	run(0)
	if left, _ := filepath.Glob(path + "*"); left != nil {
		t.Errorf("%v are left", left)
	}
	run(9)
	asked.Asked = json.RawMessage(`"y"`)
	if _, _, err := OpenFile(path, asked, true); !errors.Is(err, ErrOther) {
		t.Errorf("another export goes on: %v", err)
	}
	// A machine that lost power may have the checkpoint and not the bytes.
	asked.Asked = json.RawMessage(`"x"`)
	if err := os.Truncate(path+".part", 5); err != nil {
		t.Fatal(err)
	}
	f, partial, err := OpenFile(path, asked, true)
	if err != nil || !partial || f.Resumes() {
		t.Errorf("it goes on behind bytes that are not there: %v", err)
	}
}

// TestNCDU: the nested tree has every entry once, in its place, and directories that nothing is known of where only what is in them
// was asked for.
func TestNCDU(t *testing.T) {
	all := tree(3)
	deep := slices.DeleteFunc(slices.Clone(all), func(n *client.Node) bool { return n.Type == "directory" })
	for name, c := range map[string]struct {
		root  string
		nodes []*client.Node
		extra bool // directories that were not asked for
	}{
		"everything": {"/", all, false}, "files": {"/", deep, true}, "nothing": {"/a", nil, true},
		"below": {"/a/a", slices.DeleteFunc(slices.Clone(all), func(n *client.Node) bool {
			return n.Path != "/a/a" && !bytes.HasPrefix([]byte(n.Path), []byte("/a/a/"))
		}), false},
		"one file": {"/a/a-b", []*client.Node{{Path: "/a/a-b", Type: "file"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			job := Job{Read: pages(c.nodes, 1000), Format: NCDU(c.root, "1", 2, 1), Count: func(*client.Node, int64, int64) {}}
			if _, err := job.Run(t.Context(), Stream{&out}); err != nil {
				t.Fatal(err)
			}
			var file []json.RawMessage
			text := bytes.ReplaceAll(out.Bytes(), []byte("\xff"), []byte(`\u00ff`)) // ncdu has bytes where JSON has text
			if err := json.Unmarshal(text, &file); err != nil || len(file) != 4 {
				t.Fatalf("%v in %s", err, text)
			}
			got := map[string]bool{} // path: is a directory
			var walk func(at string, raw json.RawMessage)
			walk = func(at string, raw json.RawMessage) {
				var inside []json.RawMessage
				directory := json.Unmarshal(raw, &inside) == nil
				object := raw
				if directory {
					object = inside[0]
				}
				var n struct {
					Name  string
					Asize *int64
				}
				if err := json.Unmarshal(object, &n); err != nil {
					t.Fatal(err)
				}
				path := at + n.Name
				if _, twice := got[path]; twice {
					t.Errorf("%q is there twice", path)
				}
				if n.Asize != nil {
					got[path] = directory
				} else if !c.extra {
					t.Errorf("%q was not asked for", path)
				}
				if directory {
					for _, x := range inside[1:] {
						walk(path+map[bool]string{true: "", false: "/"}[path == "/"], x)
					}
				}
			}
			walk("", file[3])
			want := map[string]bool{}
			for _, n := range c.nodes {
				want[string(bytes.ReplaceAll([]byte(n.Path), []byte("\xff"), []byte("ÿ")))] = n.Type == "directory"
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

// TestParquet reads an export back: every row group, what is not known, and names that are not UTF-8.
func TestParquet(t *testing.T) {
	all := append(tree(2), &client.Node{Path: "/z/link.TAR", Type: "symlink", Target: "x\xfe", Inode: "18446744073709551615", Links: 3, BirthNs: -1e9, AtimeDay: "1969-12-31", MtimeNs: -1500},
		&client.Node{Path: "/z/x.TAR", Type: "file", ACL: "none", Owner: "ada"})
	var out bytes.Buffer
	job := Job{Read: pages(all, 1000), Format: Parquet("1", 7), Count: func(*client.Node, int64, int64) {}}
	if _, err := job.Run(t.Context(), Stream{&out}); err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(file.RowGroups()); n < 4 || file.NumRows() != int64(len(all)) {
		t.Errorf("%d row groups, %d rows of %d", n, file.NumRows(), len(all))
	}
	rows, err := parquet.Read[row](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		bytes := string(r.PathBytes)
		if r.PathBytes == nil {
			bytes = r.Path
		}
		if bytes != all[i].Path {
			t.Errorf("row %d is %q, want %q", i, bytes, all[i].Path)
		}
	}
	if r := rows[0]; r.Path != "/" || r.Parent != "" || r.Depth != 0 || *r.SubtreeFiles != 7 || r.Allocated != nil || r.Atime != nil || r.Target != nil {
		t.Errorf("the root is %+v", r)
	}
	r := rows[len(rows)-2]
	if r.Extension != nil || *r.Target != "x\ufffd" || string(r.TargetBytes) != "x\xfe" || *r.Inode != -1 || *r.Atime != -1 || *r.Birth != -1e6 || r.Mtime != -2 || r.Parent != "/z/" || r.Depth != 2 {
		t.Errorf("the link is %+v", r)
	}
	if r := rows[len(rows)-1]; *r.Extension != "tar" || *r.ACL != "none" || r.Links != nil || r.Inode != nil || r.Owner != "ada" {
		t.Errorf("the file is %+v", r)
	}
	for _, group := range file.Metadata().RowGroups {
		for i := range group.Columns {
			if path := group.Columns[i].MetaData.PathInSchema; len(path) != 1 || path[0] != file.Metadata().Schema[i+1].Name {
				t.Fatalf("column %d of row group %d has the path %q", i, group.Ordinal, path)
			}
		}
	}
	for i, f := range file.Metadata().Schema[1:] {
		if f.FieldID != int32(i+1) {
			t.Errorf("%s has the field id %d, want %d", f.Name, f.FieldID, i+1)
		}
	}
}

// TestUploadFails: what goes wrong with an upload is the export's error, and a failed export ends the upload with an error.
func TestUploadFails(t *testing.T) {
	u := NewUpload(func(io.Reader) error { return errBroken })
	job := Job{Read: pages(tree(3), 1000), Format: formats()["csv"], Count: func(*client.Node, int64, int64) {}}
	if _, err := job.Run(t.Context(), u); !errors.Is(err, errBroken) {
		t.Errorf("the export ends with %v", err)
	}
	u.Abort() // it ends, whatever the upload has done
	read := make(chan error, 1)
	u = NewUpload(func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		read <- err
		return err
	})
	job.Read = pages(tree(3), 2)
	if _, err := job.Run(t.Context(), u); !errors.Is(err, errBroken) {
		t.Errorf("the export ends with %v", err)
	}
	u.Abort()
	if err := <-read; err == nil {
		t.Error("the upload of an export that failed ends well")
	}
}
