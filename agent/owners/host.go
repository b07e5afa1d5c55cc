package owners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// callLimit bounds one run of getent: a directory service may not answer.
const callLimit = 10 * time.Second

// Host asks this host's name service through getent, which knows what /etc/nsswitch.conf names: files, LDAP, SSSD, winbind. A static
// program knows the files alone, so they are what counts where there is no getent, which the log says once.
func Host(log *slog.Logger) Resolver {
	var once sync.Once
	return func(ctx context.Context, groups bool, ids []uint32) (map[uint32]string, error) {
		program, err := exec.LookPath("getent")
		if err != nil {
			once.Do(func() {
				log.Info("there is no getent on this host: names of owners come from /etc/passwd and /etc/group alone", "error", err)
			})
			return fromFiles(groups, ids), nil
		}
		return ask(ctx, program, groups, ids)
	}
}

// ask runs getent for ids in order.
func ask(ctx context.Context, program string, groups bool, ids []uint32) (map[uint32]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	database := "passwd"
	if groups {
		database = "group"
	}
	args := []string{database}
	for _, id := range ids {
		args = append(args, strconv.FormatUint(uint64(id), 10))
	}
	call := exec.CommandContext(ctx, program, args...)
	call.WaitDelay = time.Second
	call.Env = append(os.Environ(), "LC_ALL=C")
	answer := &lines{asked: ids, names: map[uint32]string{}}
	complaint := &beginning{left: 200}
	call.Stdout, call.Stderr = answer, complaint
	err := call.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return nil, fmt.Errorf("getent %s did not answer within %v", database, callLimit)
	case errors.As(err, &exit) && exit.ExitCode() == 2: // some have no name
	case err != nil:
		return nil, fmt.Errorf("getent %s: %w: %q", database, err, complaint.String())
	}
	return answer.names, nil
}

// lines reads what getent writes, lines such as "alice:x:1000:100:Alice:/home/alice:/bin/sh" and "users:x:100:alice,bob". It keeps of each
// line no more than the beginning, since a group may have very many members.
type lines struct {
	asked []uint32 // in order
	names map[uint32]string
	line  []byte
}

const lineBeginning = 1 << 10 // bytes; longer names are not shown

func (l *lines) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' {
			l.end()
		} else if len(l.line) < lineBeginning {
			l.line = append(l.line, c)
		}
	}
	return len(p), nil
}

// end takes the line. The first name of a number counts.
func (l *lines) end() {
	fields := strings.SplitN(string(l.line), ":", 4)
	l.line = l.line[:0]
	if len(fields) < 4 {
		return
	}
	id, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil {
		return
	}
	_, asked := slices.BinarySearch(l.asked, uint32(id))
	if _, known := l.names[uint32(id)]; asked && !known {
		l.names[uint32(id)] = fields[0]
	}
}

// fromFiles asks as far as this program can by itself.
func fromFiles(groups bool, ids []uint32) map[uint32]string {
	names := map[uint32]string{}
	for _, id := range ids {
		number := strconv.FormatUint(uint64(id), 10)
		if groups {
			if g, err := user.LookupGroupId(number); err == nil {
				names[id] = g.Name
			}
		} else if u, err := user.LookupId(number); err == nil {
			names[id] = u.Username
		}
	}
	return names
}

// beginning keeps the first bytes that are written.
type beginning struct {
	bytes.Buffer
	left int
}

func (b *beginning) Write(p []byte) (int, error) {
	kept := p[:min(len(p), b.left)]
	b.left -= len(kept)
	_, _ = b.Buffer.Write(kept) // never fails
	return len(p), nil
}
