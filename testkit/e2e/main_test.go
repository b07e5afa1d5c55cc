//go:build unix

// Package e2e tests the real binary: processes that are started, stopped, killed and frozen as in the field, on real
// trees and real stores, and asked through the reading commands as by a user.
//
// The truth is always the tree itself, read here with lstat, so with other code than the agent's. A test may end with
// more than one process running: they end with the test, and on Linux even when the test's own process is killed.
// With -race and FUSTOR_E2E_RACE=1 the processes have the race detector, and everything takes twice as long; a race that it finds in a
// process fails the test that started it. make test runs this package without -race: nothing of Fustor runs in the tests' own process.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// fustor is the binary under test; it is built once.
var fustor string

// long has the tests of faults take as long, and break as much, as in the field: make e2e-long.
var long = os.Getenv("FUSTOR_E2E_LONG") != ""

// patience is how long what takes d at most may take on a machine that is busy, or under the race detector.
func patience(d time.Duration) time.Duration { return 5 * d }

func TestMain(m *testing.M) {
	if os.Getenv(asV2Agent) != "" {
		beV2Agent(os.Args[1:])
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// parallel has more tests run at once than there are processors, unless -parallel says how many: most of them wait most of
// the time, for a lease to run out, an audit to be due, a process to find out.
func parallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(max(8, 2*runtime.NumCPU())))
	}
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "fustor-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// A process that has given up its rights must be able to reach the binary.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	fustor = filepath.Join(dir, "fustor")
	args := []string{"build", "-o", fustor}
	if raceDetector && os.Getenv("FUSTOR_E2E_RACE") != "" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/fustor/fustor/cmd/fustor")...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build fustor: %w\n%s", err, out)
	}
	// What the developer has set up for the own use must not reach the processes.
	for _, name := range []string{"FUSTOR_URL", "FUSTOR_API_KEY", "FUSTOR_VIEW", "FUSTOR_DATA", "FUSTOR_SOCKET", "FUSTOR_STORE", "FUSTOR_INGEST", "FUSTOR_AGENT_ID", "FUSTOR_AGENT_STATE"} {
		os.Unsetenv(name)
	}
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"} {
		os.Setenv(name, filepath.Join(dir, name))
	}
	parallel()
	os.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would have every process end a second later
	return m.Run(), nil
}

// shortOr is how much of a fault a test has: the whole of it only where that was asked for.
func shortOr[T any](short, whole T) T {
	if long {
		return whole
	}
	return short
}
