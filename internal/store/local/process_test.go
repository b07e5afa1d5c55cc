//go:build unix

package local_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// TestMain makes the test binary a writer when it is started as one.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LOCAL_WRITER_DIR"); dir != "" {
		if err := writer(context.Background(), dir, os.Getenv("LOCAL_WRITER_NAME")); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writer writes for as long as it lives, and says on its standard output what the store has acknowledged: entries
// appended to one object (log), objects of its own (segment), and objects it has deleted again (gone).
func writer(ctx context.Context, dir, name string) error {
	s, err := local.Open(dir)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		entry := fmt.Sprintf("%s.%d", name, n)
		switch err := appendEntry(ctx, s, entry); {
		case err == nil:
			fmt.Println("log", entry)
		case !errors.Is(err, store.ErrLost):
			return err
		}
		key := "segments/" + name + "/" + entry
		if _, err := s.Create(ctx, key, content(entry)); err != nil {
			return err
		}
		fmt.Println("segment", key)
		if n%2 == 0 {
			continue
		}
		if err := s.Delete(ctx, key); err != nil {
			return err
		}
		fmt.Println("gone", key)
	}
}

func appendEntry(ctx context.Context, s store.Store, entry string) error {
	object, err := s.Get(ctx, "log")
	if errors.Is(err, store.ErrNotFound) {
		_, err = store.Swap(ctx, s, "log", []byte(entry+"\n"), "")
		return err
	}
	if err != nil {
		return err
	}
	_, err = store.Swap(ctx, s, "log", append(object.Body, entry+"\n"...), object.ETag)
	return err
}

// content is what a segment must have: long enough to be torn, and with a sum of itself.
func content(entry string) []byte {
	body := []byte(strings.Repeat(entry+" ", 3000))
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func intact(body []byte) bool {
	cut := len(body) - sha256.Size
	return cut >= 0 && sha256.Sum256(body[:cut]) == [sha256.Size]byte(body[cut:])
}

// acknowledged is what the writers have said, those that were killed included.
type acknowledged struct {
	mu   sync.Mutex
	said []string
	news chan struct{} // one word for any number of news
}

func (a *acknowledged) add(line string) {
	a.mu.Lock()
	a.said = append(a.said, line)
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// TestKilledWriters lets four processes write to one store, and kills one after the other at any instant. Nothing that
// was acknowledged may be lost, and nothing that is there may be torn.
func TestKilledWriters(t *testing.T) {
	dir := t.TempDir()
	acks := &acknowledged{news: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	writers := make([]*exec.Cmd, 4)
	var reading sync.WaitGroup
	for i := range writers {
		writers[i] = startWriter(t, dir, fmt.Sprintf("w%d-0", i), acks, &reading)
	}
	for kill := 1; kill <= 40; kill++ {
		for range 1 + rand.IntN(4) { // at some instant after some more acknowledgements
			select {
			case <-acks.news:
			case <-ctx.Done():
				t.Fatal("no acknowledgement within a minute")
			}
		}
		<-time.After(rand.N(3 * time.Millisecond))
		i := kill % len(writers)
		stop(writers[i])
		writers[i] = startWriter(t, dir, fmt.Sprintf("w%d-%d", i, kill), acks, &reading)
	}
	for _, w := range writers {
		stop(w)
	}
	reading.Wait()
	check(t, dir, acks.said)
}

func startWriter(t *testing.T, dir, name string, acks *acknowledged, reading *sync.WaitGroup) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOCAL_WRITER_DIR="+dir, "LOCAL_WRITER_NAME="+name)
	out, in, err := os.Pipe() // ours, so that what a killed writer has said is read to the end
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	reading.Go(func() {
		defer out.Close()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			acks.add(lines.Text())
		}
	})
	return cmd
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func check(t *testing.T, dir string, said []string) {
	t.Helper()
	s, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	object, err := s.Get(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]int{}
	for entry := range strings.Lines(string(object.Body)) {
		entries[strings.TrimSuffix(entry, "\n")]++
	}
	present := map[string]bool{}
	for after, more := "", true; more; {
		page, err := s.List(t.Context(), "", after, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			object, err := s.Get(t.Context(), item.Key)
			if err != nil || item.Key != "log" && !intact(object.Body) {
				t.Errorf("%s of %d bytes is torn (%v)", item.Key, item.Size, err)
			}
			present[item.Key], after = true, item.Key
		}
		more = page.More
	}
	counts := map[string]int{}
	gone := map[string]bool{}
	for _, line := range said {
		if kind, what, _ := strings.Cut(line, " "); kind == "gone" {
			gone[what] = true
		}
	}
	for _, line := range said {
		kind, what, _ := strings.Cut(line, " ")
		counts[kind]++
		switch {
		case kind == "log" && entries[what] != 1:
			t.Errorf("the acknowledged entry %s is there %d times", what, entries[what])
		case kind == "gone" && present[what]:
			t.Errorf("the deleted %s is there", what)
		case kind == "segment" && !present[what] && !gone[what] && !maybeGone(what):
			t.Errorf("the acknowledged %s is not there", what)
		case kind == "error":
			t.Error(line)
		}
	}
	t.Logf("acknowledged: %v; %d entries, %d objects", counts, len(entries), len(present))
	if counts["log"] < 40 || counts["segment"] < 40 {
		t.Error("too little was written to mean anything")
	}
}

// maybeGone: a writer deletes every second of its segments, and may be killed before it says so.
func maybeGone(key string) bool {
	return strings.HasSuffix(key, "1") || strings.HasSuffix(key, "3") || strings.HasSuffix(key, "5") ||
		strings.HasSuffix(key, "7") || strings.HasSuffix(key, "9")
}
