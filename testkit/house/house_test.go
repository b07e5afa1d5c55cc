// Package house holds the law that the repository's packages keep, as a test: who may import whom.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fustor/fustor/"

// rooms are the top-level directories, each with those that its packages may import beside packages of their own room.
// What a test imports counts like the rest: tests of a part get at another part through testkit alone.
var rooms = map[string]struct{ product, tests []string }{
	"internal":  {product: nil, tests: []string{"testkit"}},
	"agent":     {product: []string{"internal"}, tests: []string{"internal", "testkit"}},
	"ingest":    {product: []string{"internal"}, tests: []string{"internal", "testkit"}},
	"compactor": {product: []string{"internal"}, tests: []string{"internal", "testkit"}},
	"query":     {product: []string{"internal"}, tests: []string{"internal", "testkit"}},
	"cmd":       {product: []string{"internal", "agent", "ingest", "compactor", "query"}, tests: []string{"internal", "agent", "ingest", "compactor", "query", "testkit"}},
	"testkit":   {product: []string{"internal", "agent", "ingest", "compactor", "query"}, tests: []string{"internal", "agent", "ingest", "compactor", "query", "cmd", "tools"}},
	"tools":     {product: []string{"internal", "agent", "ingest", "compactor", "query", "testkit"}, tests: []string{"internal", "agent", "ingest", "compactor", "query", "testkit"}},
}

// unaware are packages that must not know some others, their own subpackages included: the reading engine knows no HTTP and no page,
// so that whatever serves it (calls, pages, a command) says the same.
var unaware = map[string][]string{
	"query/engine": {"net/http", "html/template", module + "internal/httpapi", module + "query/page", module + "query/problem", module + "query"},
	"query/v2":     {module + "query/engine", module + "query/forest", module + "query/page", module + "query/problem", module + "query"},
	"query/forest": {"net/http", "html/template", module + "internal/httpapi", module + "query/page", module + "query/problem", module + "query"},
	"query/report": {"net/http", "html/template", module + "internal/httpapi", module + "query/page", module + "query/problem", module + "query"},
}

// listed is what go list says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestNoPartImportsAnother(t *testing.T) {
	for _, p := range packages(t) {
		for _, broken := range brokenBy(p) {
			t.Error(broken)
		}
	}
}

// TestTheLawCatches breaks each clause of the law.
func TestTheLawCatches(t *testing.T) {
	for _, p := range []listed{
		{ImportPath: module + "agent", Imports: []string{module + "ingest"}},
		{ImportPath: module + "agent/watch", TestImports: []string{module + "query"}},
		{ImportPath: module + "query", XTestImports: []string{module + "compactor"}},
		{ImportPath: module + "internal/store", Imports: []string{module + "query/report"}},
		{ImportPath: module + "internal/store", TestImports: []string{module + "agent"}},
		{ImportPath: module + "internal/store", Imports: []string{module + "testkit/fault"}},
		{ImportPath: module + "query", Imports: []string{module + "testkit/fault"}},
		{ImportPath: module + "cmd/fustor", Imports: []string{module + "testkit/sim"}},
		{ImportPath: module + "elsewhere"},
		{ImportPath: module + "query/engine", Imports: []string{"net/http"}},
		{ImportPath: module + "query/forest", Imports: []string{module + "internal/httpapi"}},
		{ImportPath: module + "query/engine/cache", Imports: []string{module + "internal/httpapi"}},
	} {
		if got := brokenBy(p); len(got) != 1 {
			t.Errorf("%+v: %q", p, got)
		}
	}
	allowed := listed{ImportPath: module + "query", Imports: []string{"fmt", module + "internal/store", module + "query/report"}, XTestImports: []string{module + "testkit/fault"}}
	if got := brokenBy(allowed); len(got) != 0 {
		t.Errorf("%+v: %q", allowed, got)
	}
}

// brokenBy names each import of p that the law forbids.
func brokenBy(p listed) (broken []string) {
	room := roomOf(p.ImportPath)
	law, known := rooms[room]
	if !known {
		return []string{p.ImportPath + ": no rule for the directory " + room + ": add one to rooms"}
	}
	check := func(imports []string, allowed []string, what string) {
		for _, imported := range imports {
			if strings.HasPrefix(imported, module) && roomOf(imported) != room && !slices.Contains(allowed, roomOf(imported)) {
				broken = append(broken, p.ImportPath+" imports "+imported+what)
			}
		}
	}
	check(p.Imports, law.product, "")
	for name, forbidden := range unaware {
		if p.ImportPath == module+name || strings.HasPrefix(p.ImportPath, module+name+"/") {
			for _, imported := range p.Imports {
				if slices.Contains(forbidden, imported) {
					broken = append(broken, p.ImportPath+" must not know "+imported)
				}
			}
		}
	}
	check(p.TestImports, law.tests, " in a test")
	check(p.XTestImports, law.tests, " in a test")
	return broken
}

// roomOf is the top-level directory of a package.
func roomOf(importPath string) string {
	room, _, _ := strings.Cut(strings.TrimPrefix(importPath, module), "/")
	return room
}

// see looks at every Go file: go test does not know what go list reads, and would take an old result for one of today.
func see(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func packages(t *testing.T) (all []listed) {
	t.Helper()
	see(t)
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(all) < 50 {
				t.Fatalf("go list names %d packages", len(all))
			}
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
