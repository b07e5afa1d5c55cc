// Sidebyside asks one real tree the same questions with the tools that people have for them (find, fd, plocate, du, dua, pdu, gdu, duc), with
// databases of its entries (SQLite, DuckDB), and with Fustor, in turn, and prints the medians and the ratios pair by pair as a Markdown
// table. A tool that is not installed is named and left out.
// `make bench` runs it; docs/benchmarks.md has its tables.
//
//	sidebyside FUSTOR DIR [PAIRS]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
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
	sub, err := largestIn(dir)
	if err != nil {
		return err
	}
	stop, took, err := up(fustor, dir, data)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%s; its largest directory is %s\n\n| index | of what | s | MB |\n|---|---|---|---|\n", dir, sub)
	fmt.Printf("| fustor up | all that is asked here, and it is kept up | %.2f | %.1f |\n", took.Seconds(), float64(sizeOf(data))/1e6)
	tools := peers()
	for i := range tools {
		p := &tools[i]
		needs := p.name
		if _, err := exec.LookPath(needs); err != nil {
			fmt.Fprintf(os.Stderr, "SKIPPED %s: not installed\n", needs)
			p.asks = nil
			continue
		}
		if p.file == "" {
			continue
		}
		indexed, bytes, err := p.make(dir, sub, data)
		if err != nil {
			fmt.Fprintf(os.Stderr, "SKIPPED %s: %v\n", p.name, err)
			p.asks = nil
			continue
		}
		fmt.Printf("| %s | %s | %.2f | %.1f |\n", p.name, p.holds, indexed.Seconds(), float64(bytes)/1e6)
	}
	fmt.Println("\n| question | tool | s | Fustor | s | Fustor / tool, median (min–max) |\n|---|---|---|---|---|---|")
	for _, question := range questions {
		mine := fill(slices.Concat([]string{fustor}, ours[question], []string{"--data", data}), dir, sub, data)
		for _, p := range tools {
			words := p.asks[question]
			if words == nil {
				continue
			}
			if err := compare(question, p.name, fill(words, dir, sub, data), mine, pairs); err != nil {
				return err
			}
		}
	}
	return nil
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

// sizeOf is how many bytes the files below a directory have.
func sizeOf(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// compare times the two ways in turn, after one run of each that does not count.
func compare(question, tool string, theirs, ours []string, pairs int) error {
	var a, b, ratios []float64
	for i := range pairs + 1 {
		x, err := timed(theirs)
		if err != nil {
			return err
		}
		y, err := timed(ours)
		if err != nil {
			return err
		}
		if i > 0 {
			a, b, ratios = append(a, x), append(b, y), append(ratios, y/x)
		}
	}
	slices.Sort(ratios)
	fmt.Printf("| %s | `%s` | %.3f | `fustor %s` | %.3f | %.3f (%.3f–%.3f) |\n", question, tool, median(a), ours[1], median(b), median(ratios), ratios[0], ratios[len(ratios)-1])
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
