package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tests are those of one package, built with all mutants of one package.
type tests struct {
	binary, dir string
	all         []test
}

// test is one of them, and what it does without a mutant.
type test struct {
	Name  string
	Took  time.Duration
	Reach []byte // 1 at the number of a mutant that it reaches
}

// Memory that a mutant may take: one that allocates for ever must not take the machine along.
const maxMemoryKiB = 6 << 20

// compile builds the tests of a package, and sees how long each takes without a mutant, and what it reaches.
func compile(of, overlay, work string, mutants int) (*tests, error) {
	t := &tests{binary: filepath.Join(work, strings.ReplaceAll(of, "/", "_")+".test"), dir: of}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", t.binary, "./"+of).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the tests: %w\n%s", err, out)
	}
	known, err := t.knownAs()
	if err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(known); err == nil && json.Unmarshal(b, &t.all) == nil {
		return t, nil
	}
	if err := t.measure(work, mutants); err != nil {
		return nil, err
	}
	b, err := json.Marshal(t.all)
	if err == nil {
		err = os.WriteFile(known, b, 0o644)
	}
	return t, err
}

// knownAs is the file in which what a test binary reaches is kept for the next run of the same binary.
func (t *tests) knownAs() (string, error) {
	f, err := os.Open(t.binary)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	dir := filepath.Join(".cache", "mutants")
	return filepath.Join(dir, hex.EncodeToString(sum.Sum(nil)[:16])+".json"), os.MkdirAll(dir, 0o755)
}

// measure runs each test by itself without a mutant.
func (t *tests) measure(work string, mutants int) error {
	out, err := t.command(context.Background(), 0, "", "-test.list", "^(Test|Fuzz|Example)").Output()
	if err != nil {
		return fmt.Errorf("list the tests: %w", err)
	}
	seen := filepath.Join(work, "seen")
	for name := range strings.FieldsSeq(string(out)) {
		if err := os.WriteFile(seen, make([]byte, mutants+1), 0o644); err != nil {
			return err
		}
		begin := time.Now()
		if out, err := t.command(context.Background(), 0, seen, "-test.run", "^"+name+"$", "-test.timeout", "5m").CombinedOutput(); err != nil {
			fmt.Printf("%s: %s fails without a mutant, and is left out: %v\n%s\n", t.dir, name, err, tail(out))
			continue
		}
		took := time.Since(begin)
		reach, err := os.ReadFile(seen)
		if err != nil {
			return err
		}
		t.all = append(t.all, test{Name: name, Took: took, Reach: reach})
	}
	slices.SortStableFunc(t.all, func(a, b test) int { return cmp.Compare(a.Took, b.Took) })
	return nil
}

// command runs the test binary with one mutant (0: none), in its package's directory. Random cases are those of each run.
func (t *tests) command(ctx context.Context, mutant int, seen string, args ...string) *exec.Cmd {
	line := append([]string{"-c", fmt.Sprintf(`ulimit -v %d; exec "$0" "$@"`, maxMemoryKiB), t.binary}, args...)
	c := exec.CommandContext(ctx, "sh", line...)
	c.Dir = t.dir
	c.Env = append(os.Environ(), "FUSTOR_MUTANT="+strconv.Itoa(mutant), "FUSTOR_MUTANT_SEEN="+seen, "RAPID_NOFAILFILE=true", "RAPID_SEED=1", "RAPID_SHRINKTIME=0s")
	return c
}

// kill runs the tests that reach a mutant, the quickest first, for as long as they would take the budget without it. It names what failed; if
// nothing did, nothing.
func (t *tests) kill(m mutant, budget time.Duration) (by string, err error) {
	steps := []time.Duration{500 * time.Millisecond, 5 * time.Second, time.Hour}
	var names []string
	var took, sum time.Duration
	try := func() (by string, err error) {
		if len(names) == 0 {
			return "", nil
		}
		limit := 10*time.Second + 4*sum
		ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
		defer cancel()
		out, err := t.command(ctx, m.id, "", "-test.failfast", "-test.timeout", limit.String(), "-test.run", "^("+strings.Join(names, "|")+")$").CombinedOutput()
		names, sum = nil, 0
		var failed *exec.ExitError
		switch {
		case err == nil:
			return "", nil
		case errors.As(err, &failed):
			return reason(string(out)), nil
		}
		return "", err
	}
	for _, x := range t.all {
		if x.Reach[m.id] == 0 {
			continue
		}
		if took += x.Took; took > budget {
			break
		}
		if took > steps[0] {
			if by, err = try(); by != "" || err != nil {
				return by, err
			}
			for took > steps[0] {
				steps = steps[1:]
			}
		}
		names, sum = append(names, x.Name), sum+x.Took
	}
	return try()
}

var failed = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// reason names what failed.
func reason(out string) string {
	switch found := failed.FindStringSubmatch(out); {
	case strings.Contains(out, "panic: test timed out"):
		return "the time that it takes"
	case found != nil:
		return found[1]
	case strings.Contains(out, "out of memory") || strings.Contains(out, "cannot allocate"):
		return "the memory that it takes"
	}
	return "a panic"
}

func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }
