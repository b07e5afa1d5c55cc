package event_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/fustor/fustor/internal/event"
)

// A segment is written event by event and is complete once Close succeeds. Read it to io.EOF before any of it counts: only
// then is the checksum known to be right.
func Example() {
	var segment bytes.Buffer
	w, err := event.NewWriter(&segment, event.Header{
		View: "research", Session: "s1", Agent: "host-a", Source: "fs://host-a/data", Seq: 0, Term: 1, CreatedAt: 1, Nonce: "n1",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, ev := range []event.Event{
		{
			Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: 100, Path: "/data",
			Entry:   event.Entry{Name: "data", Type: event.Directory, MtimeNs: 40},
			Entries: []event.Entry{{Name: "a.csv", Type: event.File, Size: 10, MtimeNs: 30}, {Name: "b.csv", Type: event.File, Size: 20, MtimeNs: 40}},
		},
		{
			Kind: event.Put, Evidence: event.Realtime, ObservedAt: 200, Path: "/data/c.csv", Atomic: true,
			Entry: event.Entry{Name: "c.csv", Type: event.File, Size: 30, MtimeNs: 199},
		},
		{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: 300, Path: "/data/a.csv"},
	} {
		if err := w.Add(&ev); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
		return
	}

	r, err := event.NewReader("the segment's key, for errors", &segment, event.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Header().View, r.Header().Session, r.Header().Seq)
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(ev.ObservedAt, ev.Evidence, ev.Kind, ev.Path, len(ev.Entries))
	}
	// Output:
	// research s1 0
	// 100 snapshot listing /data 2
	// 200 realtime put /data/c.csv 0
	// 300 realtime delete /data/a.csv 0
}
