package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/unixsocket"
	"github.com/fustor/fustor/internal/viewconfig"
)

// names is a name service. A text of an error is that of a failure.
type names map[string]string

func (n names) ask(_ context.Context, args ...string) (string, error) {
	text, known := n[strings.Join(args, " ")]
	if why, failed := strings.CutPrefix(text, "error: "); failed {
		return "", errors.New(why)
	}
	if !known {
		return "", ErrNoUser
	}
	return text, nil
}

func (n names) users(now func() time.Time) *Users {
	u := NewUsers(now)
	u.ask = n.ask
	return u
}

var host = names{
	"passwd alice": "alice:x:1001:100:Alice:/home/alice:/bin/sh\n", "initgroups alice": "alice                 100 4711\n",
	"passwd bob": "bob:x:1002:101::/:\n", "initgroups bob": "bob\n",
	"passwd root": "root:x:0:0:root:/root:/bin/sh\n", "initgroups root": "root 0\n", "passwd toor": "toor:x:0:0::/:\n", "initgroups toor": "toor\n",
	"passwd 0": "root:x:0:0:root:/root:/bin/sh\n", "passwd 1001": "alice:x:1001:100:Alice:/home/alice:/bin/sh\n", "initgroups 1001": "1001 100\n",
	"passwd Alice": "alice:x:1001:100:Alice:/home/alice:/bin/sh\n", "initgroups Alice": "Alice 100\n",
	"passwd slow": "error: the directory does not answer", "passwd half": "half:x:1003:100::/:\n", "initgroups half": "error: the directory does not answer",
	"passwd odd": "odd:x:minus:100::/:\n", "initgroups odd": "odd\n", "passwd short": "short\n",
	"passwd two": "two:x:5:5::/:\ntwo:x:0:0::/:\n", "initgroups two": "two\n", "passwd large": "large:x:4294967296:1::/:\n", "initgroups large": "large\n",
	"passwd other": "other:x:7:7::/:\n", "initgroups other": "another 1\n", "passwd mixed": "mixed:x:8:8::/:\n", "initgroups mixed": "mixed 1 x\n",
	"group lab": "lab:x:4711:alice\n", "group broken": "error: the directory does not answer", "group odd": "odd:x:y:\n", "group 4711": "never asked",
	"group oidc": "oidc:x:4711:alice\n", // a group that is called as a way to come is another thing
}

func TestNamesOfOthers(t *testing.T) {
	u := host.users(time.Now)
	alice := permission.NewIdentity(1001, 100, 4711)
	for name, want := range map[string]error{
		"alice": nil, "nobody-here": ErrNoUser, "root": ErrRoot, "toor": ErrRoot, // root by another name
		"0": ErrNoUser, "1001": ErrNoUser, "0:0": ErrNoUser, "1001:100": ErrNoUser, "1001:100,0": ErrNoUser, // numbers are not for others to name
		"Alice": ErrNoUser, "": ErrNoUser, "-alice": ErrNoUser, "alice\nroot": ErrNoUser, "alice:x": ErrNoUser, " alice": ErrNoUser, "../alice": ErrNoUser,
		strings.Repeat("a", 300): ErrNoUser,
	} {
		who, err := u.Named(t.Context(), name)
		if !errors.Is(err, want) || want == nil && who.Key() != alice.Key() {
			t.Errorf("%q: %+v, %v, want %v", name, who, err, want)
		}
	}
	// Whatever is not understood is a failure of the name service, and nobody.
	for _, name := range []string{"slow", "half", "odd", "short", "two", "large", "other", "mixed"} {
		who, err := u.Named(t.Context(), name)
		if err == nil || errors.Is(err, ErrNoUser) || errors.Is(err, ErrRoot) || who.UID != 0 || who.Groups != nil {
			t.Errorf("%q: %+v, %v", name, who, err)
		}
	}
	for name, want := range map[string]uint32{"lab": 4711, "4711": 4711, "0": 0} {
		if gid, err := u.Group(t.Context(), name); err != nil || gid != want {
			t.Errorf("group %q: %d, %v", name, gid, err)
		}
	}
	for name, unknown := range map[string]bool{"nobody-here": true, "-lab": true, "4294967296": true, "broken": false, "odd": false} {
		if gid, err := u.Group(t.Context(), name); err == nil || errors.Is(err, ErrNoUser) != unknown {
			t.Errorf("group %q: %d, %v", name, gid, err)
		}
	}
}

func TestNameServiceIsAskedRarely(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	u := NewUsers(func() time.Time { return now })
	asked, fails := 0, false
	u.ask = func(ctx context.Context, args ...string) (string, error) {
		asked++
		if fails {
			return "", errors.New("away")
		}
		return host.ask(ctx, args...)
	}
	ask := func() error {
		_, err := u.Named(t.Context(), "alice")
		return err
	}
	for range 3 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 { // passwd and initgroups
		t.Errorf("asked %d times", asked)
	}
	fails, now = true, now.Add(usersKnownFor)
	if err := ask(); err == nil {
		t.Error("an answer of before is used for ever while the name service is away")
	}
	fails = false
	if err := ask(); err != nil {
		t.Errorf("a failure is remembered: %v", err)
	}
}

// tokens takes "eyJ.<user>.x" for a token of the user; an empty one is not valid.
type tokens struct{ Tokens }

func (tokens) Verify(_ context.Context, token string) (Vouched, error) {
	user := strings.Split(token, ".")[1]
	if ids, numbers := strings.CutPrefix(user, "ids:"); numbers {
		who, err := ofNumbers(ids)
		return Vouched{"of-the-provider", &who}, err
	}
	if user != "" {
		return Vouched{Name: user}, nil
	}
	return Vouched{}, &httpapi.Error{Status: http.StatusUnauthorized, Detail: "the token is not accepted", Hint: "log in again"}
}

const userHeader = "X-Remote-User"

// callers are a server that answers with who asks: the name and identity of a reader, or "all".
func callers(t *testing.T) (h http.Handler, key, asBob, admin string) {
	t.Helper()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for view, change := range map[string]func(*viewconfig.Config){
		"socket": func(c *viewconfig.Config) { c.OpenTo = []string{"socket"} }, "oidc": func(c *viewconfig.Config) { c.OpenTo = []string{"oidc"} },
		"proxy": func(c *viewconfig.Config) { c.OpenTo = []string{"proxy"} }, "lab": func(c *viewconfig.Config) { c.OpenTo = []string{"group:lab"} },
		"broken": func(c *viewconfig.Config) { c.OpenTo = []string{"group:broken"} }, "nogroup": func(c *viewconfig.Config) { c.OpenTo = []string{"group:nobody-here"} },
		"squash": func(c *viewconfig.Config) { c.RootSquash, c.OpenTo = true, []string{"socket"} }, "closed": func(*viewconfig.Config) {},
		"forest": func(c *viewconfig.Config) { c.Members = []string{"squash"} },
	} {
		c := viewconfig.Default(view)
		change(&c)
		if err := viewconfig.Save(t.Context(), st, c); err != nil {
			t.Fatal(err)
		}
	}
	keys := map[string]string{}
	for name, r := range map[string]Record{
		"all": {Roles: []Role{Query}, Views: AllViews}, "bob": {Roles: []Role{Query}, Views: AllViews, As: "bob"}, "admin": {Roles: []Role{Admin}, Views: AllViews}} {
		r.Name, keys[name] = name, GenerateKey()
		if err := Register(t.Context(), st, keys[name], r); err != nil {
			t.Fatal(err)
		}
	}
	a, err := New(Options{Store: st, Users: host.users(time.Now), Tokens: tokens{},
		Proxy: Proxy{Header: userHeader, From: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}}})
	if err != nil {
		t.Fatal(err)
	}
	answer := httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if err := CheckView(r.Context(), r.PathValue("view_id")); err != nil {
			return err
		}
		if err := CheckAgain(r.Context(), r.PathValue("view_id")); err != nil {
			return err
		}
		who := "all"
		if reader, ok := ReaderFrom(r.Context()); ok {
			who = fmt.Sprint(reader.Identity)
		}
		httpapi.WriteJSON(w, r, 200, who+r.Header.Get(userHeader))
		return nil
	})
	mux := httpapi.NewMux()
	mux.Handle("GET", "/read/{view_id}", a.RequireReader(answer))
	mux.Handle("GET", "/whole/{view_id}", a.Require(answer, Query))
	mux.Handle("GET", "/reset/{view_id}", a.Require(answer, Admin))
	return httpapi.Frame{}.Wrap(a.Wrap(mux)), keys["all"], keys["bob"], keys["admin"]
}

func TestCallersWithoutAKey(t *testing.T) {
	h, all, asBob, admin := callers(t)
	alice, bob := "{1001 [100 4711]}", "{1002 [101]}"
	local := func(uid uint32) *unixsocket.Peer { return &unixsocket.Peer{UID: uid, GID: 100, Groups: []uint32{4711}} }
	const proxy, stranger = "10.1.2.3:5", "10.1.3.3:5"
	for _, tc := range []struct {
		name, path, from string
		peer             *unixsocket.Peer
		header           []string
		status           int
		says             string
	}{
		{"nobody", "/read/socket", stranger, nil, nil, 401, "needs an API key"},
		{"a user at the socket", "/read/socket", "@", local(1001), nil, 200, alice},
		{"of a view that is open to others", "/read/oidc", "@", local(1001), nil, 403, "not open to you"},
		{"of a closed view", "/read/closed", "@", local(1001), nil, 403, "not open to you"},
		{"of no view", "/read/none", "@", local(1001), nil, 403, "not open to you"},
		{"of a group's view, as a member", "/read/lab", "@", local(1001), nil, 200, alice},
		{"of a group's view, as none", "/read/lab", "@", &unixsocket.Peer{UID: 1001, GID: 100}, nil, 403, "not open to you"},
		{"of a group that does not exist", "/read/nogroup", "@", local(1001), nil, 403, "not open to you"},
		{"of a group that nobody can say who is in", "/read/broken", "@", local(1001), nil, 503, "name service"},
		{"a call for those who see everything", "/whole/socket", "@", local(1001), nil, 403, "file permissions"},
		{"an administrator's call", "/reset/socket", "@", local(1001), nil, 403, "file permissions"},
		{"a user who claims to be another", "/read/socket", "@", local(1001), []string{AsHeader, "root"}, 403, "only a key of the role admin"},
		{"a user who claims to be another, elsewhere", "/whole/socket", "@", local(1001), []string{AsHeader, "1001:100"}, 403, "file permissions"},
		{"a user who claims to be the proxy's", "/read/socket", "@", local(1001), []string{userHeader, "bob"}, 403, "from the reverse proxy alone"},
		{"a user at the socket with a key", "/read/closed", "@", local(1001), []string{"X-API-Key", all}, 200, "all"},
		{"a user at the socket with another's key", "/read/closed", "@", local(1001), []string{"X-API-Key", asBob}, 200, bob},
		{"with a wrong key", "/read/socket", "@", local(1001), []string{"X-API-Key", "x"}, 401, "unknown"},
		{"root", "/read/closed", "@", &unixsocket.Peer{}, nil, 200, "all"},
		{"root, for what shows everything", "/whole/closed", "@", &unixsocket.Peer{}, nil, 200, "all"},
		{"root is no administrator of views", "/reset/closed", "@", &unixsocket.Peer{}, nil, 403, "does not allow"},
		{"root where root is squashed", "/read/squash", "@", &unixsocket.Peer{}, nil, 200, "{0 [0]}"}, // the engine makes nobody of it
		{"root where root is squashed, for what shows everything", "/whole/squash", "@", &unixsocket.Peer{}, nil, 403, "file permissions"},
		{"root of a forest", "/read/forest", "@", &unixsocket.Peer{}, nil, 200, "{0 [0]}"},
		{"root as a user", "/read/closed", "@", &unixsocket.Peer{}, []string{AsHeader, "alice"}, 200, alice},
		{"root as nobody known", "/read/closed", "@", &unixsocket.Peer{}, []string{AsHeader, "nobody-here"}, 403, "knows no user"},
		{"an administrator as a user", "/read/closed", stranger, nil, []string{"X-API-Key", admin, AsHeader, "alice"}, 200, alice},
		{"a reader as a user", "/read/closed", stranger, nil, []string{"X-API-Key", all, AsHeader, "alice"}, 403, "only a key of the role admin"},
		{"the key of a user as another", "/read/closed", stranger, nil, []string{"X-API-Key", asBob, AsHeader, "alice"}, 403, "only a key of the role admin"},

		{"the proxy's user", "/read/proxy", proxy, nil, []string{userHeader, "alice"}, 200, alice},
		{"by IPv6", "/read/proxy", "[2001:db8::1]:5", nil, []string{userHeader, "alice"}, 200, alice},
		{"by an IPv4 address in IPv6", "/read/proxy", "[::ffff:10.1.2.3]:5", nil, []string{userHeader, "alice"}, 200, alice},
		{"of a view that is open to the socket", "/read/socket", proxy, nil, []string{userHeader, "alice"}, 403, "not open to you"},
		{"of a group's view", "/read/lab", proxy, nil, []string{userHeader, "alice"}, 200, alice},
		{"a forged header", "/read/proxy", stranger, nil, []string{userHeader, "alice"}, 403, "10.1.3.3 is none"},
		{"a forged header beside a key", "/read/proxy", stranger, nil, []string{userHeader, "alice", "X-API-Key", all}, 403, "10.1.3.3 is none"},
		{"a forged forwarding", "/read/proxy", stranger, nil, []string{userHeader, "alice", "X-Forwarded-For", "10.1.2.3"}, 403, "10.1.3.3 is none"},
		{"two names", "/read/proxy", proxy, nil, []string{userHeader, "alice", userHeader, "bob"}, 403, "came 2 times"},
		{"no name", "/read/proxy", proxy, nil, []string{userHeader, ""}, 401, "needs an API key"},
		{"root's name", "/read/proxy", proxy, nil, []string{userHeader, "root"}, 403, "root is accepted"},
		{"numbers", "/read/proxy", proxy, nil, []string{userHeader, "0:0"}, 403, "knows no user"},
		{"a uid", "/read/proxy", proxy, nil, []string{userHeader, "0"}, 403, "knows no user"},
		{"a name service that is away", "/read/proxy", proxy, nil, []string{userHeader, "slow"}, 503, "name service"},
		{"the proxy's user as another", "/read/proxy", proxy, nil, []string{userHeader, "alice", AsHeader, "bob"}, 403, "only a key of the role admin"},
		{"the proxy's user for what shows everything", "/whole/proxy", proxy, nil, []string{userHeader, "alice"}, 403, "file permissions"},
		{"the proxy's user with a key", "/read/closed", proxy, nil, []string{userHeader, "alice", "X-API-Key", all}, 200, "all"},

		{"a token", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.alice.x"}, 200, alice},
		{"a token as a key", "/read/oidc", stranger, nil, []string{"X-API-Key", "eyJ.alice.x"}, 200, alice},
		{"a token of a view that is open to others", "/read/socket", stranger, nil, []string{"Authorization", "Bearer eyJ.alice.x"}, 403, "not open to you"},
		{"a token of a group's view", "/read/lab", stranger, nil, []string{"Authorization", "Bearer eyJ.alice.x"}, 200, alice},
		{"a token of root", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.root.x"}, 403, "root is accepted"},
		{"a token with uid and groups", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.ids:4000:7,4711.x"}, 200, "{4000 [7 4711]}"},
		{"a token with root's uid", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.ids:0:7.x"}, 403, "root is accepted"},
		{"a token with groups, of a group's view", "/read/lab", stranger, nil, []string{"Authorization", "Bearer eyJ.ids:4000:7,4711.x"}, 200, "{4000 [7 4711]}"},
		{"a token of numbers", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.0:0.x"}, 403, "knows no user"},
		{"a token that is not valid", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ..x"}, 401, "not accepted"},
		{"a token that is not valid, at the socket", "/read/socket", "@", local(1001), []string{"Authorization", "Bearer eyJ..x"}, 401, "not accepted"},
		{"a token as another", "/read/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.alice.x", AsHeader, "bob"}, 403, "only a key of the role admin"},
		{"a token for what shows everything", "/whole/oidc", stranger, nil, []string{"Authorization", "Bearer eyJ.alice.x"}, 403, "file permissions"},
	} {
		r := httptest.NewRequest("GET", tc.path, nil)
		r.RemoteAddr = tc.from
		if tc.peer != nil {
			r = r.WithContext(unixsocket.WithPeer(r.Context(), *tc.peer))
		}
		for i := 0; i < len(tc.header); i += 2 {
			r.Header.Add(tc.header[i], tc.header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		said := w.Body.String()
		if w.Code != tc.status || !strings.Contains(said, tc.says) || tc.status == 200 && strings.TrimSpace(said) != `"`+tc.says+`"` {
			t.Errorf("%s: %d %s, want %d %q", tc.name, w.Code, said, tc.status, tc.says)
		}
		if tc.status != 200 {
			saysWhatToDo(t, tc.name, w.Body.Bytes())
		}
	}
}

// A closed view and one that does not exist are the same to whoever has no key.
func TestClosedIsNonexistent(t *testing.T) {
	h, _, _, _ := callers(t)
	ask := func(view string) string {
		r := httptest.NewRequest("GET", "/read/"+view, nil)
		r = r.WithContext(unixsocket.WithPeer(r.Context(), unixsocket.Peer{UID: 1001, GID: 100}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		w.Header().Del("Request-Id")
		return strings.ReplaceAll(fmt.Sprint(w.Code, w.Header(), w.Body), view, "VIEW")
	}
	if x, y := ask("closed"), ask("nonee1"); x != y {
		t.Errorf("%s\nbut\n%s", x, y)
	}
}
