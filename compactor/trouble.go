package compactor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/viewconfig"
)

const (
	// troubleAfter is for how long folds of a view may fail before its readers hear of it: a store that is away for a moment is no news.
	troubleAfter = time.Minute
	// failingLong is for how long they may before the compactor says that it is not ready.
	failingLong = 5 * time.Minute
	// refusals is how many folds in a row must fail because the store took no write until the compactor says that it is not ready.
	refusals  = 2
	tellLimit = 30 * time.Second
)

// writeError is what the store said to a write.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// written marks the error of a write.
func written(err error) error {
	if err == nil {
		return nil
	}
	return writeError{err}
}

// refusedWrite reports whether a job failed because something could not be written: in the store, or in the directory for temporary files.
func refusedWrite(err error) bool {
	var write writeError
	return errors.As(err, &write) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// tell puts into the view's head that its folds fail, once: head is what readers read anyway. Where nothing can be written, they see that
// nothing new comes.
func (c *Compactor) tell(ctx context.Context, view string, failure error) {
	kind := manifest.FoldsFail
	if errors.Is(failure, viewconfig.ErrInvalid) {
		kind = manifest.BadSettings // time does not mend them
	}
	since, told := c.figures.trouble(view)
	if told || kind != manifest.BadSettings && c.o.Now().Sub(since) < troubleAfter {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	head, err := c.current(ctx, view)
	if err != nil || head.Version == 0 {
		return
	}
	if head.Trouble == nil || head.Trouble.Kind != kind {
		_, err = c.publish(ctx, head, "trouble", func(m *manifest.Manifest) error {
			m.SetTrouble(kind, failure.Error(), since.UnixNano())
			return nil
		})
	}
	if err != nil {
		c.o.Logger.Debug("cannot tell the view's readers that its folds fail", "view", view, "error", err)
		return
	}
	c.figures.change(view, func(f *viewFigures) { f.told = true })
}

// recovered takes back what tell has put into head.
func (c *Compactor) recovered(ctx context.Context, head version) error {
	if head.Trouble == nil {
		return nil
	}
	_, err := c.publish(ctx, head, "recovered", func(m *manifest.Manifest) error {
		m.Trouble = nil
		return nil
	})
	return err
}

// trouble is since when every fold of a view has failed, and whether its readers were told.
func (v *viewMetrics) trouble(view string) (since time.Time, told bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.views[view]
	return f.failing, f.told
}

// Ready is an error while the store takes no writes, and if every fold of a view has failed for a while.
func (c *Compactor) Ready() error {
	failing := c.figures.unready()
	for _, view := range slices.Sorted(maps.Keys(failing)) {
		f := failing[view]
		return &httpapi.Error{Status: http.StatusServiceUnavailable, Hint: "the compactor's log has the error of each try",
			Detail: fmt.Sprintf("every fold of view %q has failed since %s: %v; %d views are affected", view, f.failing.UTC().Format(time.RFC3339), f.failure, len(failing))}
	}
	return nil
}

// unready are the views of which every fold fails, so that the compactor is not ready.
func (v *viewMetrics) unready() map[string]viewFigures {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := map[string]viewFigures{}
	for view, f := range v.views {
		if !f.failing.IsZero() && (f.refusals >= refusals || v.now().Sub(f.failing) > failingLong) {
			found[view] = f
		}
	}
	return found
}
