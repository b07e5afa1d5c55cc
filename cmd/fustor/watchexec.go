//go:build !reading

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// executed runs a command for each version that has changes, with their lines on its stdin. The lines are passed on as they come, so a
// version of any size takes little memory, and a slow command slows the feed. The position is kept when the command has ended well.
type executed struct {
	command  string
	app      *app
	printer  *watchPrinter
	position *position

	running *exec.Cmd // of the version whose changes come now; nil: none
	stdin   io.WriteCloser
	version uint64
}

func (e *executed) line(l *client.FeedLine) error {
	if l.Change != nil {
		if e.running == nil {
			if err := e.start(l.Version); err != nil {
				return err
			}
		}
		e.pass(l)
		return nil
	}
	if !l.Complete {
		return nil
	}
	if e.running != nil {
		e.pass(l)
		if err := e.end(); err != nil {
			return err
		}
	}
	return e.position.keep(l.Cursor, l.Version)
}

// start starts the command for a version.
func (e *executed) start(version uint64) (err error) {
	c := exec.Command("sh", "-c", e.command)
	c.Env = append(os.Environ(), "FUSTOR_VERSION="+strconv.FormatUint(version, 10))
	c.Stdout, c.Stderr = e.app.stdout, e.app.stderr
	if e.stdin, err = c.StdinPipe(); err == nil {
		err = c.Start()
	}
	if err != nil {
		return &cliError{msg: fmt.Sprintf("the command cannot be run: %v", plain(err)), hint: "--exec needs sh in the PATH", code: exitFailure, err: err}
	}
	e.running, e.version = c, version
	e.printer.out.Output = &show.Output{Writer: bufio.NewWriterSize(e.stdin, 64<<10)}
	e.printer.ended = 0
	return nil
}

// pass passes a line on. A command need not read its stdin: how it ends says whether it was content.
func (e *executed) pass(l *client.FeedLine) { _ = e.printer.print(l) }

// end gives the command the end of its stdin, and waits for it.
func (e *executed) end() error {
	c := e.running
	e.running = nil
	_ = e.printer.out.Flush()
	_ = e.stdin.Close()
	if err := c.Wait(); err != nil {
		return &cliError{msg: fmt.Sprintf("the command failed for version %d: %v", e.version, err), hint: e.failedHint(), code: exitFailure, err: err}
	}
	return nil
}

func (e *executed) failedHint() string {
	if e.position.file == "" {
		return fmt.Sprintf("--after %d passes it the version again, if version %d is kept", e.version-1, e.version-1)
	}
	return "the next start with this state file passes it the version again"
}

// kill ends a command that has not got all of its version: it must not take the end of its stdin for that of the version.
func (e *executed) kill() {
	if e.running == nil {
		return
	}
	_ = e.running.Process.Kill()
	_ = e.stdin.Close()
	_ = e.running.Wait()
	e.running = nil
}
