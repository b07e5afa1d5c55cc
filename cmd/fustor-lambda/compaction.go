package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// What wakes the compactor: messages of a queue about new segments and about merges that one invocation leaves to others, and the ticks of
// a schedule. Both say no more than that
// a view may have something to fold, so lost, doubled, late and reordered ones do no harm: a tick looks at every view.

const (
	// commitMargin is how long before its deadline an invocation's steps end: a commit on its way then has come or not.
	commitMargin = 2 * time.Second
	// stepMargin is what a step takes with little processor time: a batch that is folded, or a layer that is written.
	stepMargin = 10 * time.Second
	// leastTime is what there must be to begin a view at all.
	leastTime = time.Second
)

// compaction is the compactor's function.
type compaction struct {
	compactor      *compactor.Compactor
	store          store.Store
	fit            bool   // the store keeps the rules that writers rely on
	bucket, prefix string // of the store
	log            *slog.Logger
}

// handle tells the events apart, as AWS documents them.
func (c *compaction) handle(ctx context.Context, payload json.RawMessage) (any, error) {
	enter(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-commitMargin))
		defer cancel()
	}
	if !c.fit { // not at the function's begin, for which Lambda gives too little time
		if err := doctor.Require(ctx, c.store); err != nil {
			c.log.ErrorContext(ctx, "cannot use the store", "error", err.Error())
			return nil, err
		}
		c.fit = true
	}
	var e struct {
		Records    []events.SQSMessage `json:"Records"`
		DetailType string              `json:"detail-type"`
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("unknown event: %w", err)
	}
	switch {
	case e.DetailType == "Scheduled Event":
		return nil, c.tick(ctx)
	case len(e.Records) > 0 && e.Records[0].EventSource == "aws:sqs":
		return c.messages(ctx, e.Records), nil
	}
	err := errors.New("the event is neither an SQS message with S3 events nor a scheduled event of EventBridge")
	c.log.ErrorContext(ctx, "unknown event", "error", err.Error())
	return nil, err
}

// messages folds the views that the messages tell of, each once. What is answered are the messages that are to come again:
// those about a view that failed or whose turn did not come, and those that nobody understands, which so end in the
// dead-letter queue.
func (c *compaction) messages(ctx context.Context, batch []events.SQSMessage) events.SQSEventResponse {
	answer := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	again := func(id string) {
		if !slices.Contains(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: id}) {
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: id})
		}
	}
	about := map[string][]string{} // ids of messages, by view
	for _, m := range batch {
		views, err := c.viewsOf(m.Body)
		if err != nil {
			c.log.ErrorContext(ctx, "unknown message", "messageId", m.MessageId, "error", err.Error())
			again(m.MessageId)
		}
		for _, view := range views {
			about[view] = append(about[view], m.MessageId)
		}
	}
	for _, view := range shuffled(about) {
		if done := c.work(ctx, view); done != worked {
			for _, id := range about[view] {
				again(id)
			}
		}
	}
	return answer
}

// viewsOf are the views that a message tells of new segments of, or of merges that wait: its body is what S3 sends. Other keys tell
// nothing.
func (c *compaction) viewsOf(body string) (views []string, err error) {
	var e struct {
		events.S3Event
		Event string `json:"Event"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return nil, fmt.Errorf("not an S3 event: %w", err)
	}
	if e.Event == "s3:TestEvent" { // S3 sends one when notifications are set up
		return nil, nil
	}
	if len(e.Records) == 0 {
		return nil, errors.New("not an S3 event: it has no Records")
	}
	for _, r := range e.Records {
		if r.EventSource != "aws:s3" && r.EventSource != "minio:s3" {
			return views, fmt.Errorf("the event is from %q, not from S3", r.EventSource)
		}
		// Some servers leave the bucket's own prefix "s3:" in the name of the event.
		if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") || r.S3.Bucket.Name != c.bucket {
			continue
		}
		key := r.S3.Object.URLDecodedKey
		if c.prefix != "" {
			inside := false
			if key, inside = strings.CutPrefix(key, c.prefix+"/"); !inside {
				continue
			}
		}
		view, _, _, ok := layout.SplitSegment(key)
		if !ok {
			view, ok = layout.SplitMoreMerges(key)
		}
		if ok && layout.ValidView(view) && !slices.Contains(views, view) {
			views = append(views, view)
		}
	}
	return views, nil
}

// tick looks at every view: it folds what no message told of, merges, and removes what no version needs. Views that fail do
// not keep the others from it.
func (c *compaction) tick(ctx context.Context) error {
	views, err := c.compactor.Views(ctx)
	if err != nil {
		c.log.ErrorContext(ctx, "cannot list the views", "error", err.Error())
		return err
	}
	var failed []string
	rand.Shuffle(len(views), func(i, j int) { views[i], views[j] = views[j], views[i] })
	for _, view := range views {
		outcome := c.work(ctx, view)
		if outcome == worked && ctx.Err() == nil {
			if err := c.compactor.Tend(ctx, view); err != nil && ctx.Err() == nil {
				c.log.ErrorContext(ctx, "cannot compact the view", "view", view, "error", err.Error())
				outcome = failedWork
			}
		}
		if outcome == failedWork {
			failed = append(failed, view)
		}
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		return fmt.Errorf("views failed: %s; the log has the errors", strings.Join(failed, ", "))
	}
	return nil
}

type outcome int

const (
	worked     outcome = iota // all that was due, or a part of it that committed; the schedule goes on with the rest
	noTurn                    // nothing was begun, as too little time is left
	failedWork                // it failed, and is logged
)

// work works on one view for as long as there is time. A panic is a failure of that view alone.
func (c *compaction) work(ctx context.Context, view string) (o outcome) {
	defer func() {
		if v := recover(); v != nil {
			c.log.ErrorContext(ctx, "panic", "view", view, "error", fmt.Sprint(v), "stack", string(debug.Stack()))
			o = failedWork
		}
	}()
	margin := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left < leastTime {
			return noTurn
		}
		margin = min(stepMargin, left/4)
	}
	did, err := c.compactor.Work(ctx, view, margin)
	switch {
	case err != nil:
		c.log.ErrorContext(ctx, "compaction failed", "view", view, "error", err.Error())
		return failedWork
	case !did.More:
		c.log.InfoContext(ctx, "compacted", "view", view, "segments", did.Segments, "merges", did.Merges)
		return worked
	}
	c.log.WarnContext(ctx, "out of time before the view was done; the next invocation continues", "view", view,
		"segments", did.Segments, "merges", did.Merges)
	if did.Segments == 0 && did.Merges == 0 {
		return noTurn
	}
	return worked
}

// shuffled are the views in random order, so that none is always the last, whose time is over.
func shuffled(about map[string][]string) []string {
	views := make([]string, 0, len(about))
	for v := range about {
		views = append(views, v)
	}
	rand.Shuffle(len(views), func(i, j int) { views[i], views[j] = views[j], views[i] })
	return views
}
