// Mutants changes the core in small ways, one at a time, and says which changes no test sees: a comparison that takes its
// bound along or not, a condition that always or never holds, a term of one that is left out, a statement or a field that is
// left out, a number that is one larger, a truth that is turned.
//
// All mutants of a package are built into one test binary, each behind a switch; a run picks one by an environment variable. The files
// of the tree stay as they are (go build -overlay). Only tests that reach a mutant run on it, the quickest first. What the package's own
// tests let through goes to those of its judges. What they let through, too, must be in survivors.txt with a reason, or the run fails.
// The Makefile calls it, and docs/reliability.md has what came of it.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// judges are the core's packages, in the order in which they are tried, each with the packages whose tests judge it, too.
var judges = []struct {
	of string
	by []string
}{
	{"internal/evidence", []string{"compactor", "testkit/sim"}},
	{"compactor", []string{"testkit/explore", "testkit/sim", "query"}},
	{"internal/session", []string{"ingest", "compactor", "testkit/explore", "testkit/sim"}},
	{"internal/lease", []string{"internal/session", "testkit/explore", "testkit/sim"}},
	{"internal/manifest", []string{"compactor", "testkit/explore", "testkit/sim", "query"}},
	{"internal/store", []string{"internal/store/local", "internal/session", "compactor", "testkit/explore"}},
	{"internal/access", []string{"ingest", "query"}},
	{"internal/permission", []string{"query/engine", "query"}},
	{"internal/history", []string{"compactor", "query"}},
	{"internal/layer", []string{"compactor", "query/engine", "query"}},
	{"query/engine", []string{"query"}},
}

const survivorsFile = "tools/mutants/survivors.txt"

func main() {
	o := options{}
	packages := flag.String("packages", ".", "a regular expression: the packages of the core to mutate")
	flag.IntVar(&o.sample, "n", 0, "mutants to draw from each package; 0 takes all")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "what they are drawn by")
	only := flag.String("only", ".", "a regular expression: the mutants to take, by file:line and description")
	flag.DurationVar(&o.budget, "budget", 30*time.Second, "how long the tests of one judge may take for one mutant, at the pace of a run without one")
	flag.DurationVar(&o.own, "own", time.Hour, "the same of the package's own tests")
	flag.BoolVar(&o.unjudged, "unjudged", false, "let the packages' own tests decide alone")
	flag.BoolVar(&o.list, "list", false, "list the mutants, and run nothing")
	flag.BoolVar(&o.verbose, "v", false, "say of each mutant what killed it")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = run(o, *packages)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	sample                  int
	seed                    uint64
	only                    *regexp.Regexp
	own, budget             time.Duration
	unjudged, list, verbose bool
}

func run(o options, packages string) error {
	wanted, err := regexp.Compile(packages)
	if err != nil {
		return err
	}
	reasons, err := readSurvivors(survivorsFile)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "fustor-mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	fmt.Printf("seed %d\n", o.seed)
	sum, found := counts{}, false
	for _, j := range judges {
		if !wanted.MatchString(j.of) {
			continue
		}
		found = true
		c, err := mutatePackage(o, j.of, j.by, reasons, filepath.Join(work, strings.ReplaceAll(j.of, "/", "_")))
		if err != nil {
			return fmt.Errorf("%s: %w", j.of, err)
		}
		sum.add(c)
	}
	switch {
	case !found:
		return fmt.Errorf("no package of the core matches %q", packages)
	case o.list:
		return nil
	}
	fmt.Printf("all: %s\n", sum)
	if sum.new > 0 {
		return fmt.Errorf("%d mutants survived: write the test that sees them, or add them to %s with the reason why none can", sum.new, survivorsFile)
	}
	return nil
}

// counts are what became of mutants.
type counts struct{ tried, own, judged, listed, new int }

func (c *counts) add(d counts) {
	c.tried, c.own, c.judged, c.listed, c.new = c.tried+d.tried, c.own+d.own, c.judged+d.judged, c.listed+d.listed, c.new+d.new
}

func (c counts) String() string {
	return fmt.Sprintf("%d mutants: %d killed by the package's own tests, %d by judges, %d in the list of survivors, %d new survivors", c.tried, c.own, c.judged, c.listed, c.new)
}

// mutatePackage tries the mutants of one package.
func mutatePackage(o options, of string, by []string, reasons map[string]string, work string) (c counts, err error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return c, err
	}
	p, err := load(of)
	if err != nil {
		return c, err
	}
	if o.list {
		for _, m := range p.mutants {
			fmt.Printf("%s:%d: %s\n", m.file, m.line, m.what())
		}
		return c, nil
	}
	overlay, err := p.build(work)
	if err != nil {
		return c, err
	}
	tried := p.draw(o)
	fmt.Printf("%s: %d of %d mutants\n", of, len(tried), len(p.mutants))
	own, err := compile(of, overlay, work, len(p.mutants))
	if err != nil {
		return c, err
	}
	c.tried = len(tried)
	var left []mutant
	for _, m := range tried {
		by, err := own.kill(m, o.own)
		switch {
		case err != nil:
			return c, err
		case by != "":
			c.own++
			o.say(m, by)
			if _, ok := reasons[m.key()]; ok {
				fmt.Printf("in the list of survivors, and killed by %s:\n%s", by, m.entry())
			}
		case reasons[m.key()] != "":
			c.listed++
		default:
			left = append(left, m)
			if o.verbose {
				fmt.Printf("left to judges: %s:%d: %s\n", m.file, m.line, m.what())
			}
		}
	}
	for _, judge := range by {
		if len(left) == 0 || o.unjudged {
			break
		}
		fmt.Printf("%s: %s judges %d\n", of, judge, len(left))
		tests, err := compile(judge, overlay, work, len(p.mutants))
		if err != nil {
			return c, err
		}
		var still []mutant
		for _, m := range left {
			by, err := tests.kill(m, o.budget)
			switch {
			case err != nil:
				return c, err
			case by != "":
				c.judged++
				o.say(m, judge+": "+by)
			default:
				still = append(still, m)
			}
		}
		left = still
	}
	for _, m := range left {
		c.new++
		fmt.Printf("\nsurvived: %s:%d\n%s", m.file, m.line, m.entry())
	}
	fmt.Printf("%s: %s\n", of, c)
	return c, nil
}

func (o options) say(m mutant, by string) {
	if o.verbose {
		fmt.Printf("killed: %s:%d: %s; by %s\n", m.file, m.line, m.what(), by)
	}
}

// draw picks the mutants to try, in the order of the files.
func (p *mutated) draw(o options) (drawn []mutant) {
	for _, m := range p.mutants {
		if !m.broken && o.only.MatchString(fmt.Sprintf("%s:%d: %s", m.file, m.line, m.what())) {
			drawn = append(drawn, *m)
		}
	}
	if o.sample == 0 || o.sample >= len(drawn) {
		return drawn
	}
	random := rand.New(rand.NewPCG(o.seed, 0))
	for len(drawn) > o.sample {
		i := random.IntN(len(drawn))
		drawn = append(drawn[:i], drawn[i+1:]...)
	}
	return drawn
}
