package query

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/fault"
)

// restarts is a server that goes away and comes back, as browsers see it through a proxy, or without one.
type restarts struct {
	mu   sync.Mutex
	gone int // 0: it is there; a status: a proxy's answer in its place; -1: the connection ends
	life context.Context
	end  context.CancelFunc
	http.Handler
}

// become has the server be gone, or back. Requests that are under way, such as feeds, end.
func (r *restarts) become(gone int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		r.end()
	}
	r.gone = gone
	r.life, r.end = context.WithCancel(context.Background())
}

func (r *restarts) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	gone, life := r.gone, r.life
	r.mu.Unlock()
	switch {
	case gone < 0:
		panic(http.ErrAbortHandler)
	case gone > 0:
		http.Error(w, "<html>the proxy's own page</html>", gone)
	default:
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		r.Handler.ServeHTTP(w, req.WithContext(ctx))
	}
}

// TestPageInTrouble: what the page says while the server, the store or a proxy does not answer, while the first scan runs, and after a
// login has ended; and that it goes on by itself, at the same place, where that is possible.
func TestPageInTrouble(t *testing.T) {
	inner, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	st := fault.New(inner, nil)
	f := serve(t, st)
	f.base(testView, busyTree())
	f.base("other", treeOf(file("/a", 1)))
	server := &restarts{Handler: f.server.Handler()}
	server.become(0)
	t.Cleanup(func() { server.become(0) })
	b := browseAs(t, server)
	const key = "a-key-that-ends-while-the-page-is-open"
	if err := access.Register(t.Context(), f.st, key, access.Record{Name: "ends", Roles: []access.Role{access.Query}, Views: access.Views{Names: []string{testView, "scanning"}}, ExpiresAt: time.Now().Add(time.Hour).UnixNano()}); err != nil {
		t.Fatal(err)
	}
	b.open("/browse/research/deep?code=" + f.keys.NewCode(key))
	b.until(`document.querySelector("[data-state=live]") && document.querySelectorAll("tbody tr").length === 2`)
	_ = eval[bool](b, `window.loadedOnce = true`)
	visit := func(to string) {
		t.Helper()
		_ = eval[bool](b, `history.pushState(null, "", "`+to+`"), dispatchEvent(new PopStateEvent("popstate")), true`)
	}

	// The server restarts: what is on the page stays, what is asked for meanwhile says why it is not there, and comes by itself.
	for gone, says := range map[int]string{-1: "The server does not answer", http.StatusBadGateway: "The server answers 502"} {
		server.become(gone)
		b.until(`document.querySelector(".live").dataset.state !== "live"`)
		if text := eval[string](b, `document.querySelector("main").innerText`); !strings.Contains(text, "report.txt") {
			t.Errorf("without a server, what was shown is gone: %s", text)
		}
		visit("/browse/research/hostile")
		b.until(`document.querySelector("[role=alert]")?.innerText.includes("` + says + `")`)
		server.become(0)
		b.until(`!document.querySelector("[role=alert]") && document.querySelectorAll("tbody tr").length === ` + strconv.Itoa(len(hostile)))
		visit("/browse/research/deep")
		b.until(`document.querySelectorAll("tbody tr").length === 2 && document.querySelector("[data-state=live]")`)
	}

	// The store is down: what the server still has is shown, what it must read is refused with what to do.
	st.Partition(true)
	visit("/browse/research?show=insight&report=owners")
	b.until(`/object store/i.test(document.querySelector("[role=alert]")?.innerText ?? "")`)
	st.Partition(false)
	b.until(`!document.querySelector("[role=alert]") && document.querySelector(".insight tbody tr")`)

	// The first scan of a view runs, and ends.
	info := f.layer("scanning", treeOf(file("/first.dat", 5)))
	f.commit("scanning", func(m *manifest.Manifest) {
		m.Scan.SnapshotDone, m.Deltas = 0, []layer.Info{info}
		m.Totals = evidence.Totals{Files: 12, Directories: 3, Bytes: 4567}
	})
	visit("/browse/scanning")
	b.until(`document.querySelector("[role=alert]")?.innerText.includes("The first scan is running") && document.querySelector("[role=alert]").innerText.includes("12 files, 3 directories, 4.5 KiB so far")`)
	f.commit("scanning", func(m *manifest.Manifest) {
		m.Scan.SnapshotDone = 1
		m.Totals = evidence.Totals{Files: 1, Directories: 1, Bytes: 5}
	})
	b.until(`!document.querySelector("[role=alert]") && document.body.innerText.includes("first.dat")`)

	// A view that the key may not read.
	visit("/browse/other")
	b.until(`document.querySelector("[role=alert]")?.innerText.includes("You may not see this")`)
	if !eval[bool](b, `window.loadedOnce === true`) {
		t.Error("the page was loaded anew")
	}

	// The key ends: nothing more is shown, and after the login the place is the same.
	visit("/browse/research/deep/er")
	b.until(`document.body.innerText.includes("and") && !document.querySelector("[role=alert]")`)
	f.keysTurned.Store(int64(2 * time.Hour))
	visit("/browse/research/hostile")
	b.until(`document.querySelector("[role=alert]")?.innerText.includes("Your login has ended")`)
	if text := eval[string](b, `document.querySelector("main").innerText`); strings.Contains(text, "evil") || strings.Contains(text, "deeper") {
		t.Errorf("after the login ended: %s", text)
	}
	_ = eval[bool](b, `[...document.querySelectorAll("a.button")].find(x => x.innerText === "Log in again").click(), true`)
	b.until(`document.querySelector("input[name=key]") && document.body.innerText.includes("has expired")`)
	_ = eval[bool](b, `document.querySelector("input[name=key]").focus(), true`)
	for _, letter := range queryKey {
		b.press(string(letter))
	}
	b.press(kb.Enter)
	b.until(`location.pathname === "/browse/research/hostile" && document.querySelectorAll("#app tbody tr").length === ` + strconv.Itoa(len(hostile)))
	for _, refused := range []string{"502", "503", "403", "401", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION"} {
		b.forgiveAny(refused)
	}
	b.clean()
}
