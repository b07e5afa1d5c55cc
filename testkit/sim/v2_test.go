package sim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/v2agent"
)

// v2Key is for the one view, as V2's agents name none.
const v2Key = "simulated-v2"

// runV2 is an agent of Fustor V2 on a host, beside native ones.
func (w *world) runV2(ctx context.Context, p *process, id string, m *Mount) error {
	a := &v2agent.Agent{URL: "http://ingest", Key: v2Key, Task: id + ":pipe", Batch: 7, Patience: 2 * time.Second, Random: w.random("rows of " + p.name),
		Client: &http.Client{Transport: network{p}, Timeout: 20 * time.Second}, Tree: v2Tree{p, m},
		Watch:   func(ctx context.Context, report func(v2agent.Change)) error { return w.watchV2(ctx, p, m, report) },
		OnError: func(err error) { w.fail(fmt.Errorf("%s is refused: %w", p.name, err)) }}
	return a.Run(ctx, w.plan.timeout/4)
}

// warmV2 makes what ingest makes once for the audits of all V2 agents.
func warmV2(t *testing.T) error {
	st := NewStore(time.Now)
	if err := viewconfig.Save(t.Context(), st, viewconfig.Default(view)); err != nil {
		return err
	}
	i, err := ingest.New(ingest.Options{Store: st, Authenticator: authenticator(t), Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	a := &v2agent.Agent{URL: "http://ingest", Key: v2Key, Task: "warm:pipe", Dir: t.TempDir(), Client: send.Handler(i.Handler())}
	_, err = a.Create(t.Context())
	return errors.Join(err, a.Snapshot(t.Context()), a.Audit(t.Context()))
}

// restartV2 starts the V2 agent anew, once nothing that it was told before the faults ended is on its way any more. V2 has no evidence
// of what changed in place while it did not watch, and its audits skip directories that have not changed: only the snapshot of a new
// session, and the audit after that, look at all.
func (w *world) restartV2() {
	if w.plan.v2 < 0 {
		return
	}
	time.Sleep(6*time.Second + w.plan.staleness)
	for _, c := range w.components {
		if c.name == fmt.Sprint("agent", w.plan.v2) {
			p := c.process()
			p.mu.Lock()
			if !p.dead {
				p.die(0)
			}
			p.mu.Unlock()
		}
	}
}

// v2Tree is the tree as a V2 agent on a host sees it.
type v2Tree struct {
	p *process
	m *Mount
}

// look has the server's lock held while f runs on what is at a path. What fails for a moment is tried again.
func (t v2Tree) look(what, path string, f func(*cached)) error {
	for {
		err := t.p.look(what, path)
		if errors.Is(err, errIO) {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	t.m.server.mu.Lock()
	defer t.m.server.mu.Unlock()
	switch t.m.absence {
	case Unreached:
		return syscall.ESTALE
	case Unmounted:
		if path != "/" {
			return fs.ErrNotExist
		}
		f(&cached{entry: event.Entry{Type: event.Directory}, children: map[string]*inode{}})
		return nil
	}
	n, err := t.m.find(path)
	if err != nil {
		return err
	}
	c := t.m.look(n)
	if c.removed {
		return fs.ErrNotExist
	}
	f(c)
	return nil
}

// Lstat implements v2agent.Tree.
func (t v2Tree) Lstat(path string) (seen v2agent.Seen, err error) {
	err = t.look("lstat", path, func(c *cached) {
		seen = v2agent.Seen{Directory: c.children != nil, Size: c.entry.Size, MtimeNs: c.entry.MtimeNs, CtimeNs: c.entry.MtimeNs}
	})
	return seen, err
}

// Names implements v2agent.Tree.
func (t v2Tree) Names(path string) (names []v2agent.Name, err error) {
	err = t.look("read", path, func(c *cached) {
		for _, name := range sortedNames(c.children) {
			names = append(names, v2agent.Name{Name: name, Directory: c.children[name].children != nil})
		}
	})
	return names, err
}

// watchV2 reports what a host's kernel says, as long as its watches last: an unmount ends them.
func (w *world) watchV2(ctx context.Context, p *process, m *Mount, report func(v2agent.Change)) error {
	n := m.Notifier(w.plan.queue, func() error { return p.look("notices", "") })
	t, paths := v2Tree{p, m}, map[watch.WatchID]string{}
	var add func(path string, found bool)
	add = func(path string, found bool) {
		m.server.mu.Lock()
		node, err := m.find(path)
		m.server.mu.Unlock()
		if err != nil || node.children == nil {
			return
		}
		id, err := n.Add("", &directory{node: node, path: path}, path)
		if err != nil {
			return
		}
		paths[id] = path
		names, _ := t.Names(path)
		for _, below := range names {
			if found {
				report(v2agent.Change{Path: event.Join(path, below.Name)})
			}
			if below.Directory {
				add(event.Join(path, below.Name), found)
			}
		}
	}
	add("/", false)
	context.AfterFunc(ctx, n.Close)
	w.group.Go(func() {
		for {
			notices, err := n.Read()
			if err != nil {
				return
			}
			for _, notice := range notices {
				dir, known := paths[notice.Watch]
				switch {
				case notice.Op&watch.OpIgnored != 0:
					delete(paths, notice.Watch)
				case !known || notice.Op&watch.OpOverflow != 0:
				case notice.Name == "":
					report(v2agent.Change{Path: dir})
				default:
					path := event.Join(dir, notice.Name)
					report(v2agent.Change{Path: path, Writing: notice.Op&(watch.OpCreate|watch.OpModify) != 0})
					if notice.Op&watch.OpDirectory != 0 && notice.Op&(watch.OpCreate|watch.OpMovedTo) != 0 {
						add(path, true)
					}
					report(v2agent.Change{Path: dir})
				}
			}
		}
	})
	return nil
}

// alikes are the view and the tree in all that V2 reports: no owner, no mode, no types but two, times to a microsecond.
func alikes(rows map[string]evidence.Row, tree map[string]event.Entry) (map[string]evidence.Row, map[string]event.Entry) {
	shown, there := map[string]evidence.Row{}, map[string]event.Entry{}
	kind := func(t event.Type) event.Type {
		if t != event.Directory {
			return event.File
		}
		return t
	}
	for path, e := range tree {
		there[path] = event.Entry{Name: e.Name, Type: kind(e.Type), Size: e.Size, MtimeNs: e.MtimeNs}
	}
	for path, r := range rows {
		s := evidence.Row{Parent: r.Parent, Name: r.Name, Type: kind(r.Type), Size: r.Size, MtimeNs: r.MtimeNs, ObservedAt: r.ObservedAt, Evidence: r.Evidence, Agent: r.Agent}
		if e, ok := tree[path]; ok && max(e.MtimeNs, r.MtimeNs)-min(e.MtimeNs, r.MtimeNs) < 1000 {
			s.MtimeNs = e.MtimeNs
		}
		shown[path] = s
	}
	return shown, there
}
