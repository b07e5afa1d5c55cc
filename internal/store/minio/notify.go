package minio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/notification"

	"github.com/fustor/fustor/internal/store"
)

// listenGrace is how long Notify waits for a refusal. MinIO's consent comes no sooner than its first notice, or after
// ten seconds. Its builds from October 2025 on (minio/minio 52eee5a2f, a response writer without Flush) hold both back
// until several kilobytes have gathered, so that a notice may come several objects late.
const listenGrace = time.Second

// Notify implements store.Notifier on MinIO; a server that answers something else is ErrUnsupported. An answer that
// takes longer than listenGrace counts as consent; if it turns out to be none, the channel is closed.
func (s *Store) Notify(ctx context.Context, prefix string) (<-chan string, error) {
	ctx, cancel := context.WithCancel(ctx)
	ctx, note := withNote(ctx)
	note.first = make(chan struct{}, 1)
	events := s.client.once.ListenBucketNotification(ctx, s.client.bucket, s.Prefix()+prefix, "", []string{string(notification.ObjectCreatedAll)})
	if err := awaitRefusal(ctx, note, events); err != nil {
		cancel()
		return nil, fmt.Errorf("notify %s: %w", prefix, err)
	}
	keys := make(chan string, 64)
	go func() {
		defer close(keys)
		defer cancel()
		s.forward(ctx, events, keys)
	}()
	return keys, nil
}

// awaitRefusal waits for the header of the answer, and returns nil if it is, or may yet be, that of a stream.
func awaitRefusal(ctx context.Context, note *note, events <-chan notification.Info) error {
	grace := time.NewTimer(listenGrace)
	defer grace.Stop()
	select {
	case <-note.first:
		// A server that does not know the request may take it for a listing.
		if note.status == http.StatusOK && strings.HasPrefix(note.header.Get("Content-Type"), "text/event-stream") {
			return nil
		}
		return refusal(note)
	case info := <-events:
		return errors.Join(ctx.Err(), info.Err)
	case <-grace.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forward sends the keys of events until they end or one is an error, after which some may be missing.
func (s *Store) forward(ctx context.Context, events <-chan notification.Info, keys chan<- string) {
	for info := range events {
		if info.Err != nil {
			return
		}
		for _, record := range info.Records {
			select { // the key is not escaped here, as it is in other notifications of MinIO's
			case keys <- strings.TrimPrefix(record.S3.Object.Key, s.Prefix()):
			case <-ctx.Done():
				return
			}
		}
	}
}

func refusal(n *note) error {
	err := fmt.Errorf("%w: the server does not offer notifications (HTTP %d)", store.ErrUnsupported, n.status)
	if n.status == http.StatusForbidden || n.status == http.StatusUnauthorized {
		err = fmt.Errorf("%w: listening needs the permission s3:ListenBucketNotification", store.ErrDenied)
	}
	return err
}
