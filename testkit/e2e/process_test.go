//go:build unix

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/child"
	"github.com/fustor/fustor/testkit/logs"
	"github.com/fustor/fustor/testkit/wait"
)

// process is a running fustor.
type process struct {
	t    testing.TB
	name string // its command: up, agent, ingest, …
	args []string
	env  []string
	// quiet: what it said need not be printed if the test fails.
	quiet bool
	under launch

	binary string              // that is run; empty: fustor
	only   bool                // env is all the environment it has
	user   *syscall.Credential // nil: the test's own

	cmd   *exec.Cmd
	ended <-chan struct{} // closed once cmd has ended
	log   *logged
}

// logged is what a process writes to stderr, for reading while it writes.
type logged struct{ logs.Buffer }

// tail is its last lines, without the requests that went well or asked for what is not there yet: the tests ask and ask.
func (l *logged) tail(lines int) string {
	all := slices.DeleteFunc(strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n"), func(line string) bool {
		return strings.Contains(line, "msg=request") && (strings.Contains(line, " status=2") || strings.Contains(line, " status=404"))
	})
	if n := len(all) - lines; n > 0 {
		all = append([]string{"…"}, all[n:]...)
	}
	return strings.Join(all, "\n")
}

// launch is under what a process runs; the zero value is as the test itself.
type launch struct {
	// by is a shell command that ends in exec "$@", which is fustor.
	by string
	// with changes how the kernel starts it: its user, its namespaces.
	with func(*syscall.SysProcAttr)
}

// start runs fustor until the test ends. What it said is printed if the test fails.
func start(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startUnder(t, launch{}, env, args...)
}

func startUnder(t testing.TB, under launch, env []string, args ...string) *process {
	t.Helper()
	return startProcess(t, &process{t: t, name: args[0], args: args, env: env, under: under})
}

func startProcess(t testing.TB, p *process) *process {
	t.Helper()
	p.run()
	t.Cleanup(func() {
		p.Kill()
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Errorf("the race detector found something in fustor %s", p.name)
		}
		if t.Failed() && !p.quiet {
			t.Logf("fustor %s said:\n%s", strings.Join(p.args, " "), p.log.tail(60))
		}
	})
	return p
}

// run starts the process. The log goes on where that of a process before it ended.
func (p *process) run() {
	p.t.Helper()
	if p.log == nil {
		p.log = &logged{}
	}
	binary := p.binary
	if binary == "" {
		binary = fustor
	}
	p.cmd = exec.Command(binary, p.args...)
	if p.under.by != "" {
		p.cmd = exec.Command("/bin/sh", append([]string{"-c", p.under.by, "sh", binary}, p.args...)...)
	}
	p.cmd.Env = append(p.cmd.Environ(), p.env...)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if p.only {
		p.cmd.Env, p.cmd.Stdout, p.cmd.Dir = p.env, p.log, "/"
	}
	if p.user != nil {
		p.cmd.SysProcAttr.Credential = p.user
	}
	if p.under.with != nil {
		p.under.with(p.cmd.SysProcAttr)
	}
	var err error
	if p.ended, err = child.Start(p.cmd, syscall.SIGKILL); err != nil {
		p.t.Fatalf("start fustor %s: %v", p.name, err)
	}
}

// Restart starts a process that has ended once more, with the same arguments.
func (p *process) Restart() {
	p.t.Helper()
	p.run()
}

// Kill ends the process as a crash would.
func (p *process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// Stop ends the process as its user would. It must end in time, and well.
func (p *process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(wait.Limit(patience(10 * time.Second))):
		p.signal(syscall.SIGQUIT) // its goroutines are in the log then
		p.Kill()
		p.t.Errorf("fustor %s does not end on SIGTERM", p.name)
		return
	}
	// An interrupted command may say so by its exit code.
	if code := p.cmd.ProcessState.ExitCode(); !slices.Contains([]int{0, 130}, code) {
		p.t.Errorf("fustor %s ended with exit code %d on SIGTERM", p.name, code)
	}
}

// Pause stops the process in its tracks, until Resume.
func (p *process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (p *process) Resume() { p.signal(syscall.SIGCONT) }

// signal sends a signal. One that has ended gets none; whoever waits for it sees how it ended.
func (p *process) signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) && p.running() {
		p.t.Errorf("signal %v to fustor %s: %v", sig, p.name, err)
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// says waits until the log has a line of this form, from the offset on, and returns the first group of the first.
func (p *process) says(form *regexp.Regexp, from int) string {
	p.t.Helper()
	var found []string
	p.await("to say "+form.String(), func() bool {
		found = form.FindStringSubmatch(p.log.String()[from:])
		return found != nil
	})
	return found[len(found)-1]
}

// await waits for something that the process is to do, and fails the test if it ends before.
func (p *process) await(what string, done func() bool) {
	p.t.Helper()
	eventually(p.t, patience(20*time.Second), "fustor "+p.name+" "+what, func() bool {
		if done() {
			return true
		}
		if !p.running() && !done() {
			p.t.Fatalf("fustor %s ended; it was %s", p.name, what)
		}
		return false
	})
}

// eventually waits for a condition, and fails the test if it does not come in time.
func eventually(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	wait.For(t, within, what, done)
}

// result is what a command that ended left.
type result struct {
	stdout, stderr string
	code           int
}

// command runs fustor to its end.
func command(t testing.TB, env []string, args ...string) result {
	t.Helper()
	return finish(t, env, nil, args...)
}

// finish is command with rights of its own.
func finish(t testing.TB, env []string, as *syscall.Credential, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(fustor, args...)
	cmd.Env = append(cmd.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if err := cmd.Start(); err != nil {
		t.Fatalf("fustor %s: %v", strings.Join(args, " "), err)
	}
	timer := time.AfterFunc(wait.Limit(patience(30*time.Second)), func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		t.Fatalf("fustor %s does not end:\n%.2000s", strings.Join(args, " "), stderr.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("fustor %s: %v", strings.Join(args, " "), err)
	}
	return result{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}
