package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/permission"
)

// TestRecordsAreChecked: a record needs a name, known roles and views; one for what a user may see is for reading alone.
func TestRecordsAreChecked(t *testing.T) {
	views := Views{Names: []string{"v"}}
	for i, c := range []struct {
		record Record
		fine   bool
	}{
		{Record{Name: "n", Roles: []Role{Ingest}, Views: views}, true},
		{Record{Name: "n", Roles: []Role{Query}, Views: AllViews}, true},
		{Record{Name: "n", Roles: []Role{Admin, Query, Ingest}, Views: views}, true},
		{Record{Name: "n", Roles: []Role{Query}, Views: views, As: "alice"}, true},
		{Record{Roles: []Role{Query}, Views: views}, false},
		{Record{Name: "n", Views: views}, false},
		{Record{Name: "n", Roles: []Role{Query, "reader"}, Views: views}, false},
		{Record{Name: "n", Roles: []Role{Query}}, false},
		{Record{Name: "n", Roles: []Role{Query}, Views: Views{Names: []string{"No View"}}}, false},
		{Record{Name: "n", Roles: []Role{Ingest}, Views: views, As: "alice"}, false},
		{Record{Name: "n", Roles: []Role{Query, Admin}, Views: views, As: "alice"}, false},
		{Record{Name: "n", Roles: []Role{Query}, Views: views, As: "-alice"}, false},
	} {
		if err := c.record.Check(); (err == nil) != c.fine {
			t.Errorf("case %d: %v", i, err)
		}
	}
	reader, admin := Record{Roles: []Role{Query}}, Record{Roles: []Role{Admin}}
	restricted := Record{Roles: []Role{Query}, As: "alice"}
	if !reader.Allows(Query) || reader.Allows(Ingest) || reader.Allows(Admin) || !admin.Allows(Query) || !admin.Allows(Ingest) || restricted.Allows(Query) || !restricted.Reads() {
		t.Error("roles allow what they should not, or the other way round")
	}
	for _, c := range []struct {
		views Views
		want  string
	}{{Views{Names: []string{"v"}}, "v"}, {Views{Names: []string{"v", "w"}}, ""}, {Views{}, ""}, {AllViews, ""}, {Views{All: true, Names: []string{"v"}}, ""}} {
		if got, ok := c.views.Single(); got != c.want || ok != (c.want != "") {
			t.Errorf("%+v: %q, %t", c.views, got, ok)
		}
	}
}

// TestNamesAreChecked before anybody is asked for them.
func TestNamesAreChecked(t *testing.T) {
	for name, fine := range map[string]bool{"alice": true, "a.b@c": true, `LAB\alice`: true, "1000:100": true, "1000:100,7": true, "1000": true, "": false, "-alice": false, "a:b": false, "a\nb": false,
		"4294967296:1": false, strings.Repeat("a", 255): true, strings.Repeat("a", 256): false} {
		if err := CheckUser(name); (err == nil) != fine {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	u := names{"passwd 7": "7:x:7:7::/:\n", "initgroups 7": "7\n"}.users(time.Now)
	if who, err := u.Named(t.Context(), "7"); !errors.Is(err, ErrNoUser) {
		t.Errorf("a user whose name is a number is named by others: %+v, %v", who, err)
	}
}

// TestUnknownNamesAreRemembered, as those that are known are.
func TestUnknownNamesAreRemembered(t *testing.T) {
	asked := 0
	u := NewUsers(time.Now)
	u.ask = func(ctx context.Context, args ...string) (string, error) {
		asked++
		return "", ErrNoUser
	}
	for range 3 {
		if _, err := u.Named(t.Context(), "nobody-here"); !errors.Is(err, ErrNoUser) {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// TestGetent: users are those that the host's getent knows, in whatever language it speaks. One that does not end its answer is a failure.
func TestGetent(t *testing.T) {
	dir := t.TempDir()
	const program = `#!/bin/sh
[ "$LC_ALL" = C ] || exit 1
case "$*" in
"passwd alice") echo alice:x:1001:100:Alice:/home/alice:/bin/sh ;;
"initgroups alice") echo "alice 100 4711" ;;
"passwd broken") echo "the directory is away" >&2; exit 3 ;;
"passwd held") echo held:x:1:1::/:; sleep 600 & echo $! >"$0.pid" ;;
*) exit 2 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Cleanup(func() {
		text, _ := os.ReadFile(filepath.Join(dir, "getent.pid"))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	})
	u := NewUsers(time.Now)
	if who, err := u.Named(t.Context(), "alice"); err != nil || who.Key() != permission.NewIdentity(1001, 100, 4711).Key() {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := u.Named(t.Context(), "nobody-here"); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
	if _, err := u.Named(t.Context(), "broken"); err == nil || errors.Is(err, ErrNoUser) || !strings.Contains(err.Error(), "the directory is away") {
		t.Error(err)
	}
	if _, err := u.Named(t.Context(), "held"); !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("a program of which something goes on: %v", err)
	}
}

// TestKeysOfTheLongestKind: a key may be as long as is said, and no longer; each request knows its key apart from others.
func TestKeysOfTheLongestKind(t *testing.T) {
	record := Record{Name: "n", Roles: []Role{Query}, Views: AllViews}
	longest := strings.Repeat("x", maxKey)
	f := newFixture(t, Static{Key: longest, Record: record}, Static{Key: "other", Record: record})
	one, err := f.keys.Authenticate(t.Context(), longest)
	if err != nil || one.ID == "" {
		t.Errorf("%+v, %v", one, err)
	}
	if two, err := f.keys.Authenticate(t.Context(), "other"); err != nil || two.ID == one.ID {
		t.Errorf("%+v, %v", two, err)
	}
	for _, key := range []string{"", longest + "x"} {
		if _, err := New(Options{Static: []Static{{Key: key, Record: record}}}); err == nil {
			t.Errorf("a static key of %d bytes", len(key))
		}
	}
}

// TestAnswersThatLast are checked again: they end where a key is gone or no longer allowed, and go on where the store does not answer.
func TestAnswersThatLast(t *testing.T) {
	if err := CheckAgain(t.Context(), "v"); err != nil {
		t.Errorf("without a key: %v", err)
	}
	for name, c := range map[string]struct {
		record Record
		err    error
		fine   bool
	}{
		"as before":    {Record{Views: AllViews}, nil, true},
		"other views":  {Record{Views: Views{Names: []string{"w"}}}, nil, false},
		"gone":         {Record{}, fmt.Errorf("look: %w", &httpapi.Error{Status: http.StatusUnauthorized}), false},
		"not allowed":  {Record{}, &httpapi.Error{Status: http.StatusForbidden}, false},
		"unavailable":  {Record{}, &httpapi.Error{Status: http.StatusServiceUnavailable}, true},
		"store's fail": {Record{}, errors.New("no answer"), true},
	} {
		ctx := context.WithValue(t.Context(), againKey{}, func(context.Context) (Record, error) { return c.record, c.err })
		if err := CheckAgain(ctx, "v"); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
}
