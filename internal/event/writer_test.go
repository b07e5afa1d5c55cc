package event

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/wait"
)

// held is a writer that takes nothing until it is let go.
type held struct {
	bytes.Buffer
	letGo chan struct{}
}

func (h *held) Write(p []byte) (int, error) {
	<-h.letGo
	return h.Buffer.Write(p)
}

// longListing has texts that a compressor cannot keep back: its first block comes out as soon as it is written.
func longListing(entries int) *Event {
	ev := hugeListing(entries)
	random := "abcdefghijklmnopqrstuvwxyz0123456789"
	for i := range ev.Entries {
		var name strings.Builder
		for j := range 60 {
			_ = name.WriteByte(random[(i*31+j*j*17+i*j*7)%len(random)])
		}
		ev.Entries[i].Name += name.String()
	}
	return ev
}

// TestWriterDoesNotWait: while a block is compressed and written, events still go into the next one.
func TestWriterDoesNotWait(t *testing.T) {
	out := &held{letGo: make(chan struct{})}
	w, err := NewWriter(out, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1)
	go func() {
		err := w.Add(longListing(blockRows))
		for err == nil && w.block.rows < blockRows/2 {
			err = w.Add(longListing(100))
		}
		added <- err
	}()
	wait.For(t, time.Second, "events are added while the block before is held up", func() bool { return len(added) > 0 })
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	if !w.busy || len(w.done) > 0 {
		t.Fatal("no block is held up, so this proves nothing")
	}
	close(out.letGo)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, got, err := decode(out.Bytes())
	if err != nil || len(got) != w.Events() {
		t.Fatalf("%d of %d events, %v", len(got), w.Events(), err)
	}
}

// TestWriterIsDeterministic: what Size says, and the bytes, do not depend on how fast blocks are written.
func TestWriterIsDeterministic(t *testing.T) {
	events := tree(50_000)
	write := func(between func(*Writer)) (sizes []int, object []byte) {
		var out bytes.Buffer
		w, err := NewWriter(&out, testHeader)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if err := w.Add(ev); err != nil {
				t.Fatal(err)
			}
			between(w)
			sizes = append(sizes, w.Size())
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return sizes, out.Bytes()
	}
	sizes, object := write(func(*Writer) {})
	sizesAtOnce, objectAtOnce := write(func(w *Writer) {
		for w.busy && len(w.done) == 0 {
			runtime.Gosched()
		}
	})
	if !bytes.Equal(object, objectAtOnce) {
		t.Error("the bytes differ")
	}
	if !slices.Equal(sizes, sizesAtOnce) {
		t.Error("the sizes differ")
	}
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("no such disk") }

// TestWriterHandsPanicsOn to those who add, as others contain them there; the next segment is sound.
func TestWriterHandsPanicsOn(t *testing.T) {
	w, err := NewWriter(panics{}, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	caught := func() (caught any) {
		defer func() { caught = recover() }()
		for {
			if err := w.Add(longListing(blockRows)); err != nil {
				t.Fatal(err)
			}
		}
	}()
	if text, _ := caught.(string); !strings.Contains(text, "no such disk") || !strings.Contains(text, "records.go") {
		t.Fatalf("panic: %v", caught)
	}
	if err := w.Add(hugeListing(1)); err == nil {
		t.Fatal("a segment that is broken took an event")
	}
	var out bytes.Buffer
	if err := w.Reset(&out, testHeader); err != nil {
		t.Fatal(err)
	}
	events := tree(20_000)
	for _, ev := range events {
		if err := w.Add(ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), encode(t, testHeader, events)) {
		t.Fatal("the segment after a panic has other bytes than the first one of a writer")
	}
}
