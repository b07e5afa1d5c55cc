//go:build unix

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// newcomer is somebody who follows the link that fustor up prints, and uses the mouse alone.
type newcomer struct {
	t      *testing.T
	tab    func(expression string) string // what an expression in the page is
	click  func(x, y float64)
	clicks int
}

// point clicks what a selector names and, unless that is empty, says this.
func (n *newcomer) point(selector, text string) {
	n.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(x => x.offsetParent && (%q === "" || x.innerText === %[2]q))`, selector, text)
	n.until(find + `.length === 1`)
	at := strings.Fields(n.tab(find + `.map(x => (x.scrollIntoView({block: "nearest"}), x.getBoundingClientRect())).map(r => (r.left + r.width / 2) + " " + (r.top + r.height / 2))[0]`))
	x, _ := strconv.ParseFloat(at[0], 64)
	y, _ := strconv.ParseFloat(at[1], 64)
	n.click(x, y)
	n.clicks++
}

func (n *newcomer) until(condition string) {
	n.t.Helper()
	eventually(n.t, patience(10*time.Second), condition, func() bool { return n.tab("Boolean("+condition+")") == "true" })
}

// TestNewcomer: from what fustor up prints, in how many clicks and how soon a newcomer knows the largest directory, the newest file, and the
// owner of the most bytes. FUSTOR_NEWCOMER=/usr asks it of that tree.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	dir := os.Getenv("FUSTOR_NEWCOMER")
	if dir == "" {
		dir = laboratory(t)
	}
	disk := indexed(gnuFind(t, dir))

	began := time.Now()
	p := startProcess(t, &process{t: t, name: "up", args: []string{"up", dir, "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, only: true, env: os.Environ()})
	link := p.says(regexp.MustCompile(`(?m)^  open  (http://\S+)$`), 0)
	ctx, stop := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true)))
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience(time.Minute))
	defer cancel()
	do := func(a chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	n := &newcomer{t: t, click: func(x, y float64) { do(chromedp.MouseClickXY(x, y)) }, tab: func(expression string) string {
		t.Helper()
		v, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		return v
	}}
	do(chromedp.EmulateViewport(1280, 800))
	do(chromedp.Navigate(link))
	n.until(`document.querySelector("#app table.entries [data-row]") && document.querySelector("#app .facts")`)
	t.Logf("the first list after %v, %d paths", time.Since(began).Round(10*time.Millisecond), len(disk))
	start := n.tab("location.href")

	bytes, owners, newest := map[string]int64{}, map[uint32]int64{}, int64(0)
	for name, e := range disk {
		if e.kind != 'f' {
			continue
		}
		owners[e.uid] += e.size
		newest = max(newest, e.mtimeNs)
		for d := path.Dir(name); d != "/"; d = path.Dir(d) {
			bytes[d] += e.size
		}
	}
	first := `document.querySelector(".insight table.entries tbody tr")`
	named := func(report string) string { // the path of the first entry of a report
		t.Helper()
		n.until(`document.querySelector(".insight section")?.getAttribute("aria-label") === "` + report + `" && ` + first)
		_, at, _ := strings.Cut(n.tab(`new URL(`+first+`.querySelector("[data-row]").href).pathname`), "/browse/")
		_, at, _ = strings.Cut(at, "/")
		at = "/" + at
		at, err := url.PathUnescape(at)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, q := range []struct {
		what   string
		clicks int
		ask    func() string // what is wrong with the answer
	}{
		{"the largest directory", 2, func() string {
			n.point("nav.tabs a", "Insight")
			n.point("nav.side a", "Largest directories")
			found, most := named("Largest directories"), mostOf(bytes)
			return differs(bytes[found], bytes[most], found, most)
		}},
		{"the newest file", 1, func() string {
			n.point(`.facts a[title^="The newest"]`, "")
			found := named("Newest files")
			return differs(disk[found].mtimeNs, newest, found, "the newest")
		}},
		{"the owner of the most bytes", 1, func() string {
			n.point("nav.tabs a", "Insight")
			n.until(`document.querySelector(".insight section")?.getAttribute("aria-label") === "Owners" && ` + first)
			most := mostOf(owners)
			name := strconv.Itoa(int(most))
			if u, err := user.LookupId(name); err == nil {
				name = u.Username
			}
			if found := n.tab(first + `.querySelector("td").innerText`); found != name {
				return found + ", and not " + name
			}
			return ""
		}},
	} {
		do(chromedp.Navigate(start))
		n.until(`document.querySelector("#app table.entries [data-row]") && document.querySelector("#app .facts")`)
		n.clicks = 0
		asked := time.Now()
		wrong := q.ask()
		t.Logf("%s: %d clicks, %v", q.what, n.clicks, time.Since(asked).Round(10*time.Millisecond))
		if wrong != "" {
			t.Errorf("%s: %s", q.what, wrong)
		}
		if n.clicks > q.clicks {
			t.Errorf("%s takes %d clicks, not %d", q.what, n.clicks, q.clicks)
		}
	}
	p.Stop()
}

func differs(got, want int64, found, wanted string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s with %d, and not %s with %d", found, got, wanted, want)
}

// mostOf is the key of the greatest value.
func mostOf[K cmp.Ordered](of map[K]int64) (most K) {
	best := int64(-1)
	for k, v := range of {
		if v > best || v == best && k < most {
			most, best = k, v
		}
	}
	return most
}

// laboratory is a small tree of several owners, if the test may make them. Its newest file is months old, and its largest is not in its largest
// directory.
func laboratory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	long := time.Now().Add(-100 * 24 * time.Hour)
	for i, f := range []struct {
		path  string
		size  int64
		count int
		uid   int
	}{{"instrument/raw/run%02d.h5", 40_000, 40, 2001}, {"home/alice/paper/figure%d.png", 9_000, 9, 2002}, {"home/bob/image%d.iso", 900_000, 1, 2003}, {"shared/readme%d.txt", 120, 1, 0}} {
		for k := range f.count {
			file := filepath.Join(dir, fmt.Sprintf(f.path, k))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, make([]byte, f.size), 0o644); err != nil {
				t.Fatal(err)
			}
			if os.Getuid() == 0 {
				if err := os.Chown(file, f.uid, f.uid); err != nil {
					t.Fatal(err)
				}
			}
			at := long.Add(time.Duration(i*k) * time.Minute)
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
