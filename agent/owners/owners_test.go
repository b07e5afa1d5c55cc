package owners

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGetent puts a getent of that body in front on PATH.
func fakeGetent(t *testing.T, body string) {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh to run a getent with")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestHostAsksGetent(t *testing.T) {
	fakeGetent(t, `
case "$*" in
"passwd 7 12345 99999")
	printf '%s\n' 'LAB\alice smith:x:12345:100:Alice:/home/alice:/bin/sh' '4242:x:7:7::/:/bin/sh' 'eve:x:8:8::/:/bin/sh' 'alias:x:7:7::/:/bin/sh'
	exit 2;;
"group 100")
	printf 'LAB\\Domain Users:*:100:'
	head -c 3000000 /dev/zero | tr '\0' a
	echo;;
*) exit 1;;
esac`)
	ask := Host(slog.New(slog.DiscardHandler))
	users, err := ask(t.Context(), false, []uint32{7, 12345, 99999})
	if want := map[uint32]string{7: "4242", 12345: `LAB\alice smith`}; err != nil || !maps.Equal(users, want) {
		t.Errorf("users: %v, %v; want %v", users, err, want)
	}
	groups, err := ask(t.Context(), true, []uint32{100})
	if want := map[uint32]string{100: `LAB\Domain Users`}; err != nil || !maps.Equal(groups, want) {
		t.Errorf("groups: %v, %v; want %v", groups, err, want)
	}
	if _, err := ask(t.Context(), true, []uint32{1}); err == nil || !strings.Contains(err.Error(), "getent group: exit status 1") {
		t.Errorf("a getent that fails: %v", err)
	}
}

func TestHostWithoutGetent(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var log strings.Builder
	ask := Host(slog.New(slog.NewTextHandler(&log, nil)))
	for range 2 {
		if names, err := ask(t.Context(), false, []uint32{4294967000}); err != nil || len(names) > 0 {
			t.Errorf("%v, %v", names, err)
		}
	}
	if n := strings.Count(log.String(), "there is no getent"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, log.String())
	}
}

func TestHostWhoseNameServiceHangs(t *testing.T) {
	fakeGetent(t, "exec sleep 600")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := Host(slog.New(slog.DiscardHandler))(ctx, false, []uint32{1}); err == nil {
		t.Error("no error")
	}
}

// asked is a question to a name service.
type asked struct {
	groups bool
	ids    []uint32
}

// TestKeeper meets owners, has a name service fail at first, and names change.
func TestKeeper(t *testing.T) {
	questions, found := make(chan asked, 100), make(chan []event.OwnerName, 100)
	answers := make(chan error, 100)
	names := map[uint32]string{1: "alice", 2: "bad\x1b[31m", 3: strings.Repeat("x", 300), 4: "\xff", 5: "d'Arc, Jeanne"}
	k := New(func(_ context.Context, groups bool, ids []uint32) (map[uint32]string, error) {
		questions <- asked{groups, ids}
		if err := <-answers; err != nil {
			return nil, err
		}
		answer := map[uint32]string{}
		for _, id := range ids {
			if name, known := names[id]; known && !groups {
				answer[id] = name
			}
		}
		return answer, nil
	}, func(n []event.OwnerName) { found <- n }, slog.New(slog.DiscardHandler))
	k.retry, k.refresh = time.Millisecond, 50*time.Millisecond
	for _, uid := range []uint32{5, 4, 3, 2, 1, 1, 2} {
		k.Meet(uid, 100)
	}
	k.Meet(event.NoOwner, event.NoOwner)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	expect := func(groups bool, ids ...uint32) {
		t.Helper()
		select {
		case q := <-questions:
			if q.groups != groups || !slices.Equal(q.ids, ids) {
				t.Fatalf("asked for %v, want %v", q, asked{groups, ids})
			}
		case <-time.After(wait.Limit(30 * time.Second)):
			t.Fatal("it asks for nothing")
		}
	}
	answers <- errors.New("the directory service does not answer")
	expect(false, 1, 2, 3, 4, 5)
	answers <- nil
	expect(false, 1, 2, 3, 4, 5)
	answers <- nil
	expect(true, 100)
	first := <-found
	slices.SortFunc(first, func(a, b event.OwnerName) int { return int(a.ID) - int(b.ID) })
	if want := []event.OwnerName{{ID: 1, Name: "alice"}, {ID: 5, Name: "d'Arc, Jeanne"}}; !slices.Equal(first, want) {
		t.Errorf("found %v, want %v", first, want)
	}
	expect(false, 1, 2, 3, 4, 5)
	names[1] = "alicia"
	delete(names, 5) // it is no longer known, so its name stays
	answers <- nil
	expect(true, 100)
	answers <- nil
	if second, want := <-found, []event.OwnerName{{ID: 1, Name: "alicia"}}; !slices.Equal(second, want) {
		t.Errorf("found %v, want %v", second, want)
	}
	cancel()
	close(answers)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestKeeperBounds(t *testing.T) {
	var log strings.Builder
	k := New(nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	for id := range uint32(maxOwners + 10) {
		k.Meet(id, 7)
	}
	if n := len(k.names); n != maxOwners {
		t.Errorf("%d owners", n)
	}
	if n := strings.Count(log.String(), "too many owners"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, log.String())
	}
}
