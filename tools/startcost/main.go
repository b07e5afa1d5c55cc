// Startcost measures what short commands cost as whole processes, in turns: processor time, memory and page faults, beside a yardstick.
//
//	go run ./tools/startcost [-n 40] "bin/fustor du /etc" "env FUSTOR_READ_BACK=1 bin/fustor du /etc"
//
// Each argument is a command, its words separated by spaces. The yardstick is a Go program that asks an HTTP server for one page and
// prints it, without any other package: no reading command in Go can cost less.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const yardstick = `package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(os.Stdout, answer.Body)
}
`

func main() {
	n := flag.Int("n", 40, "how often each command runs")
	flag.Parse()
	if err := run(*n, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "startcost:", err)
		os.Exit(1)
	}
}

type cost struct {
	cpu         []time.Duration
	kib, faults int64 // the most of all runs
}

func run(n int, commands []string) error {
	dir, err := os.MkdirTemp("", "startcost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "yardstick")
	if err := os.WriteFile(source, []byte(yardstick), 0o644); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the yardstick: %w: %s", err, out)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") }))
	defer server.Close()
	commands = append([]string{program + " " + server.URL}, commands...)

	costs := make([]cost, len(commands))
	for range n {
		for i, command := range commands {
			words := strings.Fields(command)
			cmd := exec.Command(words[0], words[1:]...)
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s: %w", command, err)
			}
			c, used := &costs[i], cmd.ProcessState.SysUsage().(*syscall.Rusage)
			c.cpu = append(c.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			c.kib, c.faults = max(c.kib, used.Maxrss), max(c.faults, used.Minflt)
		}
	}
	fmt.Printf("%8s %8s %8s %8s %8s %8s  %s\n", "least ms", "p50 ms", "most ms", "x", "MiB", "faults", "command")
	for i, c := range costs {
		slices.Sort(c.cpu)
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		name := commands[i]
		if i == 0 {
			name = "(yardstick)"
		}
		fmt.Printf("%8.2f %8.2f %8.2f %8.1f %8.1f %8d  %s\n", ms(c.cpu[0]), ms(c.cpu[n/2]), ms(c.cpu[n-1]),
			float64(c.cpu[n/2])/float64(costs[0].cpu[n/2]), float64(c.kib)/1024, c.faults, name)
	}
	return nil
}
