package layer_test

import (
	"context"
	"fmt"
	"os"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/store/local"
)

// A layer is written in key order and published; a view of layers then answers for a path, a directory or a subtree.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "fustor-example-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	st, err := local.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}

	w := layer.NewWriter(layer.WriterOptions{ID: "01JEXAMPLE0000000000000000"})
	for _, row := range []evidence.Row{
		{Parent: "", Name: "", Type: event.Directory, ObservedAt: 1, Evidence: event.Snapshot},
		{Parent: "/", Name: "data", Type: event.Directory, ObservedAt: 1, Evidence: event.Snapshot},
		{Parent: "/data/", Name: "a.csv", Type: event.File, Size: 10, MtimeNs: 5, ObservedAt: 1, Evidence: event.Snapshot},
		{Parent: "/data/", Name: "b.csv", Type: event.File, Size: 20, MtimeNs: 6, ObservedAt: 1, Evidence: event.Snapshot},
	} {
		if err := w.Append(&row); err != nil {
			fmt.Println(err)
			return
		}
	}
	built, err := w.Finish()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := layer.Publish(ctx, st, "research", built); err != nil {
		fmt.Println(err)
		return
	}

	view, err := layer.OpenView(st, "research", []layer.Info{built.Info}, nil, layer.NewCache(1<<20))
	if err != nil {
		fmt.Println(err)
		return
	}
	var row evidence.Row
	found, err := view.Get(ctx, layer.KeyOf("/data/b.csv"), &row)
	fmt.Println("get", found, row.Path(), row.Size, err)

	c := view.Cursor(ctx).Until(layer.Key{Parent: "/data/\x00"}) // the end of the directory's own entries
	for ok := c.Seek(layer.Key{Parent: "/data/"}); ok; ok = c.Next() {
		if err := c.Row(&row); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("in /data:", row.Name)
	}
	if err := c.Err(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// get true /data/b.csv 20 <nil>
	// in /data: a.csv
	// in /data: b.csv
}
