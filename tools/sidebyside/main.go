// Sidebyside asks one real tree the same questions with find(1), du(1), fd(1), plocate(1) and with Fustor, in turn, and
// prints the medians and the ratios pair by pair as a Markdown table. A tool that is not installed is named and left out.
// `make bench` runs it; docs/benchmarks.md has its tables.
//
//	sidebyside FUSTOR DIR [PAIRS]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

// question is one thing to ask, in two ways.
type question struct {
	name         string
	theirs, ours []string
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: sidebyside FUSTOR DIR [PAIRS]")
	}
	fustor, dir, pairs := args[0], args[1], 7
	if len(args) > 2 {
		n, err := strconv.Atoi(args[2])
		if err != nil || n < 1 {
			return fmt.Errorf("PAIRS is a number from 1 on, not %q", args[2])
		}
		pairs = n
	}
	data, err := os.MkdirTemp("", "fustor-sidebyside-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	stop, took, err := up(fustor, dir, data)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%s: first scan, folded and ready to answer, after %.2f s\n\n", dir, took.Seconds())
	fmt.Println("| question | tool | s | Fustor | s | Fustor / tool, median (min–max) |\n|---|---|---|---|---|---|")
	names, indexed, err := locateIndex(dir, data)
	if err != nil {
		fmt.Fprintln(os.Stderr, "SKIPPED plocate:", err)
	} else {
		fmt.Printf("| an index, of names alone and not kept up | `updatedb` | %.3f | `fustor up` | %.3f | %.3f, once |\n",
			indexed.Seconds(), took.Seconds(), took.Seconds()/indexed.Seconds())
	}
	ask := func(words ...string) []string { return append([]string{fustor}, append(words, "--data", data)...) }
	for _, q := range []question{
		{"every entry with type, size, mtime", []string{"find", dir, "-printf", `%p %y %s %T@\n`}, ask("find", "/", "--json")},
		{"every path", []string{"find", dir}, ask("find", "/")},
		{"names by glob", []string{"find", dir, "-name", "*.so*"}, ask("search", "*.so*")},
		{"names by glob", []string{"fdfind", "--unrestricted", "--glob", "*.so*", dir}, ask("search", "*.so*")},
		{"names by glob", slices.Concat(names, []string{"--basename", "*.so*"}), ask("search", "*.so*")},
		{"names with a part, few", []string{"find", dir, "-name", "*readme.txt*"}, ask("search", "readme.txt")},
		{"names with a part, few", slices.Concat(names, []string{"--basename", "readme.txt"}), ask("search", "readme.txt")},
		{"files newer than a day", []string{"find", dir, "-type", "f", "-mtime", "-1"}, ask("search", "*", "--type", "f", "--newer-than", "1d", "--json")},
		{"the size of the whole", []string{"du", "-s", "--apparent-size", dir}, ask("du", "/")},
	} {
		if len(q.theirs) == 0 || q.theirs[0] == "--basename" {
			continue // it is not here, as was said
		}
		if _, err := exec.LookPath(q.theirs[0]); err != nil {
			fmt.Fprintf(os.Stderr, "SKIPPED %s: not installed\n", q.theirs[0])
			continue
		}
		if err := compare(q, pairs); err != nil {
			return err
		}
	}
	return nil
}

// locateIndex makes plocate's index of dir, and returns the command that asks it.
func locateIndex(dir, data string) (command []string, took time.Duration, err error) {
	updatedb, err := exec.LookPath("updatedb.plocate")
	if err != nil {
		return nil, 0, err
	}
	db := filepath.Join(data, "plocate.db")
	began := time.Now()
	out, err := exec.Command(updatedb, "-l", "no", "-U", dir, "-o", db,
		"--prunepaths", "", "--prunefs", "", "--prunenames", "", "--prune-bind-mounts", "no").CombinedOutput()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s", err, out)
	}
	return []string{"plocate", "--database", db}, time.Since(began), nil
}

// up starts fustor on dir and waits until it can answer.
func up(fustor, dir, data string) (stop func(), took time.Duration, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, fustor, "up", dir, "--data", data, "--listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	began := time.Now()
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, 0, err
	}
	stop = func() { cancel(); _ = cmd.Wait() }
	for time.Since(began) < 30*time.Minute {
		var out struct{ URL string }
		body, _ := os.ReadFile(filepath.Join(data, "up.json"))
		if json.Unmarshal(body, &out) == nil && exec.Command(fustor, "du", "/", "--data", data).Run() == nil {
			return stop, time.Since(began), nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return nil, 0, fmt.Errorf("no answer within half an hour")
}

// compare times the two ways in turn, after one run of each that does not count.
func compare(q question, pairs int) error {
	var theirs, ours, ratios []float64
	for i := range pairs + 1 {
		a, err := timed(q.theirs)
		if err != nil {
			return err
		}
		b, err := timed(q.ours)
		if err != nil {
			return err
		}
		if i > 0 {
			theirs, ours, ratios = append(theirs, a), append(ours, b), append(ratios, b/a)
		}
	}
	slices.Sort(ratios)
	fmt.Printf("| %s | `%s` | %.3f | `fustor %s` | %.3f | %.3f (%.3f–%.3f) |\n", q.name, q.theirs[0], median(theirs), q.ours[1],
		median(ours), median(ratios), ratios[0], ratios[len(ratios)-1])
	return nil
}

func timed(words []string) (seconds float64, err error) {
	cmd := exec.Command(words[0], words[1:]...)
	began := time.Now()
	if out, err := cmd.StdoutPipe(); err != nil {
		return 0, err
	} else if err := cmd.Start(); err != nil {
		return 0, err
	} else if _, err := io.Copy(io.Discard, out); err != nil {
		return 0, err
	}
	// plocate, like grep, exits with 1 where there is no match.
	if err := cmd.Wait(); err != nil && (words[0] != "plocate" || cmd.ProcessState.ExitCode() != 1) {
		return 0, fmt.Errorf("%q: %w", words, err)
	}
	return time.Since(began).Seconds(), nil
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}
