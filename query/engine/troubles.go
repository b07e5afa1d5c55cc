package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
)

// Trouble is something that is wrong with a view: what its newest version shows lacks something, or gets no newer. It is in the head, so
// it costs no request.
type Trouble struct {
	Kind  string         `json:"kind"`
	Since values.Seconds `json:"since"`
	Text  string         `json:"text"`
}

// TroubleFull is the Kind of a view that has as many entries as it may; manifest.FoldsFail and manifest.BadSettings are the others.
const TroubleFull = "full"

// TroublesOf are those of a version. Readers who may not see everything do not learn what the error said: it may name paths.
func TroublesOf(ctx context.Context, m *manifest.Manifest) (all []Trouble) {
	_, restricted := ReaderOf(ctx)
	if t := m.Trouble; t != nil {
		text := "the compactor cannot fold what agents send, so nothing newer is shown"
		if t.Kind == manifest.BadSettings {
			text = "the settings of the view are damaged, so nothing newer is shown"
		}
		if !restricted {
			text += ": " + t.Reason
		}
		all = append(all, Trouble{t.Kind, values.Seconds(t.Since), text})
	}
	if f := m.Full; f != nil {
		text := fmt.Sprintf("the view is full: it may have %s, and %s since the last scan of everything were left out",
			values.Plural(f.Limit, "entry", "entries"), values.Plural(int64(f.Names), "new name", "new names"))
		if restricted { // how many there are is nothing that such a reader may learn
			text = "the view is full: new names since the last scan of everything were left out"
		}
		if f.Rescan {
			text += "; it has room again, and the next scan of everything finds them"
		}
		all = append(all, Trouble{TroubleFull, values.Seconds(f.Since), text})
	}
	return all
}

// Refusal is a segment that did not get into the view, or not with all that is in it.
type Refusal struct {
	Segment string         `json:"segment"` // the object
	Session string         `json:"session_id"`
	Agent   string         `json:"agent_id,omitempty"`
	Reason  string         `json:"reason"`
	Names   uint64         `json:"names_left_out,omitempty"` // 0: it was refused as a whole, and its session ended
	At      values.Seconds `json:"refused_at"`
}

// refused are the segments that the view's folds refused lately, the newest first, and how many there were since it began.
func (e *Engine) refused(ctx context.Context, view string) ([]Refusal, uint64, error) {
	m, err := e.heads.current(ctx, view)
	if errors.Is(err, manifest.ErrNoHead) {
		return []Refusal{}, 0, nil
	}
	if errors.Is(err, manifest.ErrFormat) {
		e.logger.Warn("what was refused is unknown, because the view's head cannot be read", "view", view, "err", err)
		return []Refusal{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	all := make([]Refusal, len(m.Refused))
	for i, r := range m.Refused {
		all[len(all)-1-i] = Refusal{layout.Segment(view, r.Session, r.Seq), r.Session, r.Agent, r.Reason, r.Names, values.Seconds(r.At)}
	}
	return all, m.RefusedCount, nil
}
