package compactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// foldInput is what one fold reads: its batch, and how far each session is folded with it.
type foldInput struct {
	batch    *batch
	segments int // whole ones, or the rest of one
	parts    int // of segments that the batch has no room for; the rest is the next folds'
	progress map[string]manifest.Progress
	roster   map[string]session.RosterEntry
	term     uint64                       // the newest that is known to have been given
	names    map[string][]event.OwnerName // by source: what the segments say
	dropped  bool                         // a session left the roster, or its segment is damaged: there is something to publish even without a segment
	refused  []manifest.Refusal           // damaged segments
	decoder  *segmentDecoder
}

// heldRows is how many events and listed entries of a segment are kept while it is checked, and heldText how many bytes of their texts:
// more than agents put into one. A segment with more is read twice, so that its memory is not its writer's to choose.
const (
	heldRows = 128 << 10
	heldText = 24 << 20
)

// segmentDecoder reads one segment after the other. Its buffers are kept from fold to fold.
type segmentDecoder struct {
	reader *event.Reader
	key    string // of the current segment
	body   []byte
	events []event.Event // all of it, if held
	held   bool
	leads  bool // it says something that the leader alone may say
}

// open begins to read a segment, from its beginning.
func (d *segmentDecoder) open(key string, body []byte) (err error) {
	d.key, d.body = key, body
	if d.reader != nil {
		return d.reader.Reset(key, bytes.NewReader(body), event.Limits{})
	}
	d.reader, err = event.NewReader(key, bytes.NewReader(body), event.Limits{})
	return err
}

// check reads the opened segment to its end, before any of it counts, and keeps its events if it is of a usual size. Nothing may have been
// observed after latest, ns.
func (d *segmentDecoder) check(key string, latest int64) error {
	d.held, d.leads = true, false
	rows, text := 0, 0
	for {
		ev, err := d.reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if ev.ObservedAt > latest {
			return &event.FormatError{Object: key, Reason: fmt.Sprintf("%s of %q was observed at %s, after the segment arrived",
				ev.Kind, excerpt(ev.Path), time.Unix(0, ev.ObservedAt).UTC().Format(time.RFC3339))}
		}
		// Followers list, too, what they may have missed; but they say of no time that they led.
		d.leads = d.leads || ev.Kind == event.Listing && d.reader.Header().LeaseUntil != 0 || ev.Kind == event.Marked && ev.Mark.Kind <= event.AuditEnd
		rows += 1 + len(ev.Entries)
		if text += len(ev.Path) + textOf(ev.Entries); (rows > heldRows || text > heldText) && d.held {
			d.held = false
			d.drop()
		}
		if d.held {
			d.events = append(d.events, *ev)
			kept := &d.events[len(d.events)-1]
			kept.Entries = slices.Clone(ev.Entries)
		}
	}
}

// each calls take for the events of the checked segment from number first on, until it returns false.
func (d *segmentDecoder) each(first uint64, take func(*event.Event) bool) error {
	if d.held {
		for i := int(min(first, uint64(len(d.events)))); i < len(d.events) && take(&d.events[i]); i++ {
		}
		return nil
	}
	if err := d.open(d.key, d.body); err != nil {
		return err
	}
	for n := uint64(0); ; n++ {
		ev, err := d.reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n < first {
			continue
		}
		kept := *ev
		kept.Entries = slices.Clone(ev.Entries)
		if !take(&kept) {
			return nil
		}
	}
}

// excerpt is the beginning of a path, for messages.
func excerpt(path string) string { return path[:min(len(path), 200)] }

// drop forgets the events, so that what they refer to can be freed.
func (d *segmentDecoder) drop() {
	clear(d.events)
	d.events = d.events[:0]
}

// forget drops all of the segment.
func (d *segmentDecoder) forget() {
	d.drop()
	d.body = nil
}

// readBatch reads the next segments of every session until the batch is full or there are none. Sessions take turns, a
// segment each, so that a scan does not delay what other hosts report.
func (c *Compactor) readBatch(ctx context.Context, m *manifest.Manifest, rules evidence.Rules, turn *turn) (*foldInput, error) {
	t := &foldInput{batch: newBatch(m.Term, observationDefaults{rules.Staleness, rules.Skew}), progress: maps.Clone(m.Sessions),
		names: map[string][]event.OwnerName{}, term: m.Term}
	if t.progress == nil {
		t.progress = map[string]manifest.Progress{}
	}
	t.decoder, _ = c.decoders.Get().(*segmentDecoder)
	if t.decoder == nil {
		t.decoder = &segmentDecoder{}
	}
	defer func() {
		t.decoder.forget()
		c.decoders.Put(t.decoder)
		t.decoder = nil
	}()
	open, err := c.sessions(ctx, m, t)
	if err != nil {
		return nil, err
	}
	for len(open) > 0 && t.batch.size < turn.claims {
		found, err := c.readNext(ctx, m.View, open, t.progress, turn.bytes)
		if err != nil {
			return nil, err
		}
		var still []string
		for i, id := range open {
			if found[i].body == nil && !found[i].large || t.batch.size >= turn.claims {
				continue
			}
			if err := turn.begin(ctx); err != nil {
				return nil, err
			}
			ok, err := c.addSegment(ctx, m.View, id, found[i], t, turn)
			found[i] = nextSegment{} // its memory is the next one's
			if err != nil {
				return nil, err
			}
			if ok {
				still = append(still, id)
			}
		}
		open = still
	}
	if t.batch.size >= turn.claims && !turn.large {
		return nil, errLarge
	}
	return t, nil
}

// sessions are those that may have segments, in order. A session that has left the roster has none, and leaves the manifest.
func (c *Compactor) sessions(ctx context.Context, m *manifest.Manifest, t *foldInput) ([]string, error) {
	roster, err := c.roster(ctx, m.View)
	if err != nil {
		return nil, err
	}
	switch {
	case roster == nil && m.Epoch != "":
		return nil, manifest.WentBack("there is no %s, but version %d", layout.Roster(m.View), m.Version)
	case roster == nil:
		roster = &session.Roster{}
	case m.Version == 0:
		m.Epoch, m.EpochNumber = roster.Epoch, roster.EpochNumber
	case m.Epoch != roster.Epoch:
		return nil, errReset
	}
	for id := range t.progress {
		if _, listed := roster.Sessions[id]; !listed {
			// Its record is removed after it left the roster, and was that of a session that had ended.
			record, err := session.Read(ctx, c.o.Store, m.View, id)
			if err == nil && record.ID != "" && !record.Ended {
				err = manifest.WentBack("%s lacks session %s, which lives and of which version %d has segments", layout.Roster(m.View), id, m.Version)
			}
			if err != nil {
				return nil, err
			}
			delete(t.progress, id)
			t.dropped = true
		}
	}
	maps.DeleteFunc(roster.Sessions, func(_ string, entry session.RosterEntry) bool { return entry.Epoch != m.Epoch })
	for id, entry := range roster.Sessions {
		if _, known := t.progress[id]; !known {
			t.progress[id] = manifest.Progress{Agent: entry.Agent}
		}
	}
	t.roster = roster.Sessions
	ids := slices.Sorted(maps.Keys(roster.Sessions))
	return slices.DeleteFunc(ids, func(id string) bool { return t.progress[id].Broken }), nil
}

// roster is the view's; nil where it has none.
func (c *Compactor) roster(ctx context.Context, view string) (*session.Roster, error) {
	r, meta, err := session.ReadRoster(ctx, c.o.Store, view)
	if err != nil || meta.ETag == "" {
		return nil, err
	}
	return &r, nil
}

// errReset: the view was reset, and its head has not followed yet.
var errReset = errors.New("the view was reset, and its head is still of the earlier epoch")

// follow completes a reset: mostly whoever asked for it has done so already.
func (c *Compactor) follow(ctx context.Context, view string) error {
	_, err := manifest.Follow(ctx, c.o.Store, view, func() (string, uint64, error) {
		r, _, err := session.ReadRoster(ctx, c.o.Store, view)
		return r.Epoch, r.EpochNumber, err
	}, c.newNonce, c.clock.Now)
	if err != nil {
		return err
	}
	return c.ledger.EndOld(ctx, view)
}

// nextSegment is the next one of a session, if there is one.
type nextSegment struct {
	body  []byte
	at    time.Time // of its arrival, by the store's clock
	large bool      // it is to be read when its turn comes, alone
	err   error
}

// readNext reads the next segment of each session. Many are read at once, so none of them may be large.
func (c *Compactor) readNext(ctx context.Context, view string, ids []string, at map[string]manifest.Progress, most int64) ([]nextSegment, error) {
	found := make([]nextSegment, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, id := range ids {
		g.Go(func() error {
			n, err := c.readSegment(ctx, layout.Segment(view, id, at[id].Next), most)
			found[i] = n
			return err
		})
	}
	return found, g.Wait()
}

// readSegment reads a segment of at most so many bytes; a larger one is only noted.
func (c *Compactor) readSegment(ctx context.Context, key string, most int64) (nextSegment, error) {
	o, err := c.o.Store.GetUpTo(ctx, key, most)
	var large *store.TooLargeError
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nextSegment{}, nil
	case errors.As(err, &large):
		return nextSegment{large: true, err: large}, nil
	case err != nil:
		return nextSegment{}, fmt.Errorf("read segment %s: %w", key, err)
	}
	return nextSegment{body: o.Body, at: o.LastModified}, nil
}

// addSegment adds one segment to the batch. A segment that cannot be read, or is another one than its name says, ends its
// session: the agent then begins a new session and scans again, and what came before the segment stays folded. It reports
// whether the session goes on.
func (c *Compactor) addSegment(ctx context.Context, view, id string, found nextSegment, t *foldInput, turn *turn) (bool, error) {
	p := t.progress[id]
	key := layout.Segment(view, id, p.Next)
	var err error
	if found.large {
		if found, err = c.readSegment(ctx, key, event.MaxStoredBytes); err != nil {
			return false, err
		}
		if found.body == nil && !found.large {
			return false, nil // it is not there any more, as after a reset
		}
	}
	var by *origin
	if found.large {
		err = &event.FormatError{Object: key, Reason: found.err.Error()}
	} else {
		by, err = t.decode(key, found, view, id, p.Next)
	}
	if err == nil {
		err = c.checkTerm(ctx, view, key, by, t)
	}
	var damaged *event.FormatError
	if errors.As(err, &damaged) {
		t.refused = append(t.refused, manifest.Refusal{Session: id, Seq: p.Next, Agent: t.roster[id].Agent, Reason: damaged.Error()})
		p.Broken, t.dropped = true, true
		t.progress[id] = p
		return false, c.ledger.End(ctx, view, id, "damaged segment")
	}
	if err != nil {
		return false, err
	}
	done, taken := true, p.Events
	err = t.decoder.each(p.Events, func(ev *event.Event) bool {
		if done = t.batch.size < 2*turn.claims || taken == p.Events; done {
			t.batch.add(ev, by)
			taken++
		}
		return done
	})
	if err != nil {
		return false, err
	}
	t.batch.term = max(t.batch.term, by.term)
	p.Agent = by.agent
	if !done {
		p.Events = taken
		t.parts++
		t.progress[id] = p
		return false, nil
	}
	if names := t.decoder.reader.Names(); len(names) > 0 {
		t.names[by.source] = append(t.names[by.source], names...)
	}
	p.Next, p.Events = p.Next+1, 0
	t.progress[id] = p
	t.segments++
	return true, nil
}

// decode checks a whole segment, and says whose it is.
func (t *foldInput) decode(key string, found nextSegment, view, id string, seq uint64) (*origin, error) {
	d := t.decoder
	if err := d.open(key, found.body); err != nil {
		return nil, err
	}
	h := d.reader.Header()
	if h.View != view || h.Session != id || h.Seq != seq {
		return nil, &event.FormatError{Object: key, Reason: fmt.Sprintf(
			"its header says segment %d of session %s of view %s, its key says something else", h.Seq, h.Session, h.View)}
	}
	latest := int64(math.MaxInt64)
	if !found.at.IsZero() {
		latest = found.at.Add(aheadOfStore).UnixNano()
	}
	if err := t.checkOrigin(key, h, latest); err != nil {
		return nil, err
	}
	by := &origin{session: id, seq: seq, agent: h.Agent, source: h.Source, term: h.Term, leaseUntil: h.LeaseUntil, skew: t.batch.defaults.skew}
	if h.SkewKnown {
		by.skew = h.Skew
	}
	if !h.Local {
		by.lag = t.batch.defaults.staleness
	}
	d.drop()
	return by, d.check(key, latest)
}

// aheadOfStore is how far what a segment says of the present may be ahead of the store's clock when it arrived. Agents know that clock to
// the second; what is from further in the future would count before all that is observed until then.
const aheadOfStore = time.Minute

// checkOrigin holds what a header says of its session against the roster. latest is the time that nothing in the segment may be after.
func (t *foldInput) checkOrigin(key string, h event.Header, latest int64) error {
	entry := t.roster[h.Session]
	lease := int64(entry.TimeoutSeconds * 1e9)
	switch {
	case h.Agent != entry.Agent:
		return &event.FormatError{Object: key, Reason: fmt.Sprintf("its header names agent %q, but its session is that of %q", h.Agent, entry.Agent)}
	case !entry.MayBeOf(h.Source):
		return &event.FormatError{Object: key, Reason: fmt.Sprintf("its header names the source %q, which is not that of its session", excerpt(h.Source))}
	case h.LeaseUntil > latest && h.LeaseUntil-latest > lease:
		return &event.FormatError{Object: key, Reason: "its header says that it led for longer than a lease lasts"}
	}
	return nil
}

// checkTerm refuses a term that the view's lease never had, and what a leader alone may say from a session that did not lead in that term.
// Without a lease, nothing can be said of it.
func (c *Compactor) checkTerm(ctx context.Context, view, key string, by *origin, t *foldInput) error {
	led := reign{by.session, by.term}
	known, _ := c.reigns.Load(view)
	leads := t.decoder.leads && known != led
	if by.term <= t.term && !leads {
		return nil
	}
	terms, err := session.ReadTerms(ctx, c.o.Store, view)
	if err != nil {
		return err
	}
	if terms.Newest == 0 {
		return nil
	}
	if by.term > max(terms.Newest, t.term) {
		return &event.FormatError{Object: key, Reason: fmt.Sprintf("its header says term %d, but the view's lease is in term %d", by.term, terms.Newest)}
	}
	t.term = max(terms.Newest, t.term)
	if !leads {
		return nil
	}
	if !terms.MayHaveHad(by.session, t.roster[by.session].CreatedAt, by.term) {
		return &event.FormatError{Object: key, Reason: fmt.Sprintf("it lists a directory, or begins or ends a scan, as the leader of term %d, which its session never was", by.term)}
	}
	c.reigns.Store(view, led)
	return nil
}

// reign is a session and a term in which it led.
type reign struct {
	session string
	term    uint64
}
