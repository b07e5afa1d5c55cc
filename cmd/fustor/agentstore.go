package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/store/doctor"
)

// storeSender sends to a store that is checked before it is written to. One that is no good is refused at once. One that
// cannot be asked is waited for: an agent has a tree to watch meanwhile.
func storeSender(ctx context.Context, url string, log *slog.Logger) (send.Sender, error) {
	now, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	st, err := openForWriting(now, url)
	if err == nil {
		return &send.Store{Store: st}, nil
	}
	var network net.Error
	if ctx.Err() != nil || now.Err() == nil && !errors.As(err, &network) {
		return nil, err
	}
	st, openErr := openStore(ctx, url)
	if openErr != nil {
		return nil, openErr
	}
	log.Warn("the store cannot be reached; the tree is watched, and sent once the store answers", "store", st.String(), "error", err)
	return &uncheckedStore{Store: send.Store{Store: st}}, nil
}

// uncheckedStore checks its store before the first segment goes there. It is used by one goroutine.
type uncheckedStore struct {
	send.Store
	fit bool
}

// Send implements send.Sender.
func (s *uncheckedStore) Send(ctx context.Context, seg pipe.Segment) error {
	if !s.fit {
		if err := doctor.Require(ctx, s.Store.Store); err != nil {
			return err
		}
		s.fit = true
	}
	return s.Store.Send(ctx, seg)
}
