package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// mutated is a package with its mutants.
type mutated struct {
	dir, name string
	sources   map[string][]byte // by path from the root of the repository
	mutants   []*mutant
}

// load reads a package, with its types, and finds its mutants.
func load(dir string) (*mutated, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Name,GoFiles,DepOnly", "./"+dir).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var own struct {
		ImportPath, Export, Name string
		GoFiles                  []string
		DepOnly                  bool
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := own
		p.GoFiles, p.DepOnly = nil, false
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			own = p
		}
	}
	p := &mutated{dir: dir, name: own.Name, sources: map[string][]byte{}}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range own.GoFiles {
		path := filepath.Join(dir, name)
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.sources[path], files = source, append(files, file)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Implicits: map[ast.Node]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	pkg, err := config.Check(own.ImportPath, fset, files, info)
	if err != nil {
		return nil, err
	}
	next := 0
	for _, file := range files {
		path := fset.Position(file.Package).Filename
		f := &finder{file: path, source: p.sources[path], fset: fset, info: info, pkg: pkg, next: &next}
		f.find(file)
		p.mutants = append(p.mutants, f.found...)
	}
	return p, nil
}

// switches is what mutated source calls. With FUSTOR_MUTANT_SEEN it marks in that file which mutants are reached, as child processes do, too.
const switches = `package %s

import (
	"os"
	"strconv"
	"syscall"
)

var mutantActive, mutantSeen = mutantStart()

func mutantStart() (active int, seen []byte) {
	active, _ = strconv.Atoi(os.Getenv("FUSTOR_MUTANT"))
	if path := os.Getenv("FUSTOR_MUTANT_SEEN"); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			panic(err)
		}
		if seen, err = syscall.Mmap(int(f.Fd()), 0, %d, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
			panic(err)
		}
		f.Close()
	}
	return active, seen
}

func mutantIs(id int) bool {
	if mutantSeen != nil {
		mutantSeen[id] = 1
	}
	return mutantActive == id
}

func mutantPlus[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr](id int) T {
	if mutantIs(id) {
		return 1
	}
	return 0
}

func mutantZero[T any](id int, v T) (value T) {
	if mutantIs(id) {
		return value
	}
	return v
}
`

var complaint = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: `)

// build writes the mutated source, and an overlay for go build that puts it in the place of the package's. Mutants that do not compile are left out:
// as they all stand in one build, a line that the compiler complains of loses all of its mutants.
func (p *mutated) build(work string) (overlay string, err error) {
	overlay = filepath.Join(work, "overlay.json")
	for range 20 {
		replace := map[string]string{}
		byFile := map[string]map[int][]*mutant{}
		write := func(path string, content []byte) error {
			full, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			replace[full] = filepath.Join(work, filepath.Base(path))
			return os.WriteFile(replace[full], content, 0o644)
		}
		for path, source := range p.sources {
			var own []*mutant
			for _, m := range p.mutants {
				if m.file == path {
					own = append(own, m)
				}
			}
			out, lines := render(source, own)
			byFile[filepath.Base(path)] = lines
			if err := write(path, out); err != nil {
				return "", err
			}
		}
		if err := write(filepath.Join(p.dir, "mutant_switches.go"), fmt.Appendf(nil, switches, p.name, len(p.mutants)+1)); err != nil {
			return "", err
		}
		b, err := json.Marshal(map[string]any{"Replace": replace})
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(overlay, b, 0o644); err != nil {
			return "", err
		}
		out, err := exec.Command("go", "build", "-gcflags=-e", "-overlay", overlay, "./"+p.dir).CombinedOutput()
		if err == nil {
			return overlay, nil
		}
		less := false
		for _, c := range complaint.FindAllSubmatch(out, -1) {
			line, _ := strconv.Atoi(string(c[2]))
			for _, m := range byFile[filepath.Base(string(c[1]))][line] {
				less, m.broken = true, true
			}
		}
		if !less {
			return "", fmt.Errorf("build the mutants: %w\n%s", err, out)
		}
	}
	return "", errors.New("some mutants do not compile, whichever are left out")
}
