package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fustor/fustor/internal/permission"
)

// A key, or an administrator, may act as a user of the host that serves. The host's name service says which uid and groups that user has.
// If it does not, the request fails: to be in fewer groups could show more, as an ACL may deny a group what it grants to others.

// usersKnownFor is how long an answer of the name service is believed: a user who leaves a group is still in it for at most so much longer.
const usersKnownFor = 2 * time.Minute

const (
	maxUsers    = 10_000
	usersWithin = 10 * time.Second // for one run of getent
)

// ErrNoUser: the name service knows no such user or group.
var ErrNoUser = errors.New("the name service of this host knows no such name")

// ErrRoot: somebody else than the kernel and an administrator names root.
var ErrRoot = errors.New("root may ask over the socket, or with a key")

// Users asks the name service of this host. It is safe for concurrent use.
type Users struct {
	now func() time.Time
	// ask runs getent; an answer without any output is ErrNoUser.
	ask     func(ctx context.Context, args ...string) (string, error)
	flights singleflight.Group

	mu    sync.Mutex
	known map[string]knownUser
}

type knownUser struct {
	identity permission.Identity
	err      error // ErrNoUser
	until    time.Time
}

// NewUsers returns Users that ask through getent. It asks nothing yet.
func NewUsers(now func() time.Time) *Users {
	return &Users{now: now, ask: getent, known: map[string]knownUser{}}
}

// numbers is an identity in numbers, which needs no name service: "1000:100" or "1000:100,4711", the uid and all gids.
var numbers = regexp.MustCompile(`^[0-9]{1,10}:[0-9]{1,10}(,[0-9]{1,10})*$`)

// userName is what names of users and groups look like; none begins with a minus, which getent would take for an option.
var userName = regexp.MustCompile(`^[A-Za-z0-9_.][-A-Za-z0-9_.@\\$ ]{0,254}$`)

// CheckUser says what is wrong with the name of a user.
func CheckUser(name string) error {
	if numbers.MatchString(name) {
		_, err := ofNumbers(name)
		return err
	}
	if !userName.MatchString(name) {
		return fmt.Errorf("%q is neither the name of a user nor numbers such as 1000:100,4711 (uid:gid,gid)", name)
	}
	return nil
}

func ofNumbers(text string) (permission.Identity, error) {
	var ids []uint32
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ':' || r == ',' || r == ' ' }) {
		id, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return permission.Identity{}, fmt.Errorf("%q is no uid or gid", part)
		}
		ids = append(ids, uint32(id))
	}
	if len(ids) < 2 {
		return permission.Identity{}, fmt.Errorf("%q is no uid with groups", text)
	}
	return permission.NewIdentity(ids[0], ids[1:]...), nil
}

// Identity is the uid and the groups of a user: a name, or numbers. ErrNoUser if there is no such user; any other error is the name
// service's.
func (u *Users) Identity(ctx context.Context, name string) (permission.Identity, error) {
	if err := CheckUser(name); err != nil {
		return permission.Identity{}, err
	}
	if numbers.MatchString(name) {
		return ofNumbers(name)
	}
	return u.cached(ctx, "passwd "+name, func(ctx context.Context) (permission.Identity, error) {
		line, err := u.ask(ctx, "passwd", name)
		if err != nil {
			return permission.Identity{}, err
		}
		fields, err := entryOf("passwd", name, line, 4)
		if err != nil {
			return permission.Identity{}, err
		}
		line, err = u.ask(ctx, "initgroups", name)
		if err != nil {
			return permission.Identity{}, err
		}
		groups, named := strings.CutPrefix(line, name) // all but the primary one
		if !named {
			return permission.Identity{}, fmt.Errorf("getent initgroups %s: an answer that is not understood", name)
		}
		return ofNumbers(fields[2] + ":" + fields[3] + " " + strings.TrimSpace(groups))
	})
}

// Named is the Identity of somebody whom others name, such as an OpenID provider or a proxy: a name of a user, never numbers, and never root.
func (u *Users) Named(ctx context.Context, name string) (permission.Identity, error) {
	if !userName.MatchString(name) || isNumber(name) {
		return permission.Identity{}, fmt.Errorf("%w: %.100q is not the name of a user", ErrNoUser, name)
	}
	identity, err := u.Identity(ctx, name)
	if err == nil && identity.IsRoot() {
		return permission.Identity{}, ErrRoot
	}
	return identity, err
}

// Group is the gid of a group: a name, or a number.
func (u *Users) Group(ctx context.Context, name string) (uint32, error) {
	if isNumber(name) {
		gid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%w: %q is no gid", ErrNoUser, name)
		}
		return uint32(gid), nil
	}
	if !userName.MatchString(name) {
		return 0, fmt.Errorf("%w: %q is not the name of a group", ErrNoUser, name)
	}
	found, err := u.cached(ctx, "group "+name, func(ctx context.Context) (permission.Identity, error) {
		line, err := u.ask(ctx, "group", name)
		if err != nil {
			return permission.Identity{}, err
		}
		fields, err := entryOf("group", name, line, 3)
		if err != nil {
			return permission.Identity{}, err
		}
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return permission.Identity{}, fmt.Errorf("getent group %s: %q is no gid", name, fields[2])
		}
		return permission.NewIdentity(0, uint32(gid)), nil
	})
	if err != nil {
		return 0, err
	}
	return found.Groups[0], nil
}

func isNumber(name string) bool { return name != "" && strings.Trim(name, "0123456789") == "" }

// entryOf are the fields of an answer of getent about a name, at least n of them. getent takes digits for a uid, and some name services
// answer with another spelling of a name: an entry of another name is none of this one.
func entryOf(database, name, line string, n int) ([]string, error) {
	fields := strings.Split(strings.TrimSpace(line), ":")
	switch {
	case len(fields) < n || strings.Contains(strings.TrimSpace(line), "\n"):
		return nil, fmt.Errorf("getent %s %s: an answer that is not understood", database, name)
	case fields[0] != name:
		return nil, fmt.Errorf("%w: getent %s %s answers with %.100q", ErrNoUser, database, name, fields[0])
	}
	return fields, nil
}

func (u *Users) cached(ctx context.Context, key string, ask func(context.Context) (permission.Identity, error)) (permission.Identity, error) {
	u.mu.Lock()
	have, ok := u.known[key]
	u.mu.Unlock()
	if ok && u.now().Before(have.until) {
		return have.identity, have.err
	}
	flight := u.flights.DoChan(key, func() (any, error) {
		// The question serves all requests that wait for it, so it does not end with the one that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), usersWithin)
		defer cancel()
		asked := u.now()
		identity, err := ask(ctx)
		if err != nil && !errors.Is(err, ErrNoUser) {
			return nil, err
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if len(u.known) >= maxUsers {
			clear(u.known)
		}
		u.known[key] = knownUser{identity, err, asked.Add(usersKnownFor)}
		return identity, err
	})
	select {
	case r := <-flight:
		identity, _ := r.Val.(permission.Identity)
		return identity, r.Err
	case <-ctx.Done():
		return permission.Identity{}, ctx.Err()
	}
}

// getent runs the program of that name, which knows what /etc/nsswitch.conf names: files, LDAP, SSSD, winbind.
func getent(ctx context.Context, args ...string) (string, error) {
	program, err := exec.LookPath("getent")
	if err != nil {
		return "", fmt.Errorf("find users by name: %w", err)
	}
	call := exec.CommandContext(ctx, program, args...)
	call.WaitDelay = time.Second
	call.Env = append(os.Environ(), "LC_ALL=C")
	var out, complaint bytes.Buffer
	call.Stdout, call.Stderr = &out, &complaint
	err = call.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 2:
		return "", ErrNoUser
	case err != nil:
		return "", fmt.Errorf("getent %s: %w: %.200q", strings.Join(args, " "), err, complaint.String())
	}
	return out.String(), nil
}
