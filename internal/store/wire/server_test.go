//go:build unix

package wire_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/s3test"
)

func openURL(t *testing.T, url string) store.Store {
	t.Helper()
	s, err := open.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRefusals: what real servers say to wrong credentials, a missing bucket, and nobody there, by both SDKs.
func TestRefusals(t *testing.T) {
	for _, server := range []*s3test.Server{s3test.MinIO(t), s3test.Versitygw(t)} {
		for _, sdk := range []string{"s3", "minio"} {
			t.Run(server.Name+" through "+sdk, func(t *testing.T) {
				url := server.URL(sdk, "refusals/"+sdk)
				t.Run("no bucket", func(t *testing.T) {
					wantAll(t, openURL(t, strings.Replace(url, "fustor/", "nowhere/", 1)), store.ErrNoBucket)
				})
				t.Run("wrong secret", func(t *testing.T) {
					t.Setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
					wantAll(t, openURL(t, url), store.ErrDenied)
				})
				t.Run("unknown user", func(t *testing.T) {
					t.Setenv("AWS_ACCESS_KEY_ID", "nobody-knows")
					wantAll(t, openURL(t, url), store.ErrDenied)
				})
				t.Run("outage", func(t *testing.T) { outage(t, server, openURL(t, url)) })
			})
		}
	}
}

// wantAll wants every kind of request to end with the error, and Swap at once.
func wantAll(t *testing.T, s store.Store, want error) {
	t.Helper()
	ctx := t.Context()
	_, get := s.Get(ctx, "k")
	_, changed := s.GetIfChanged(ctx, "k", "0123456789abcdef0123456789abcdef")
	_, part := s.GetRange(ctx, "k", 0, 1)
	_, put := s.Put(ctx, "k", []byte("x"))
	_, create := s.Create(ctx, "k", []byte("x"))
	_, replace := s.Replace(ctx, "k", []byte("x"), "0123456789abcdef0123456789abcdef")
	_, list := s.List(ctx, "", "", 0)
	_, swap := store.Swap(ctx, s, "k", []byte("x"), "")
	for op, err := range map[string]error{"get": get, "get if changed": changed, "get range": part, "put": put, "create": create,
		"replace": replace, "list": list, "delete": s.Delete(ctx, "k"), "swap": swap} {
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", op, err, want)
		}
		if err != nil && strings.Contains(err.Error(), s3test.SecretKey) {
			t.Errorf("%s: the error holds the secret", op)
		}
	}
}

// outage: a killed server is an error without a name, as nobody knows what became of a request; a write that began
// while the server hung may land, and Swap finds out.
func outage(t *testing.T, server *s3test.Server, s store.Store) {
	ctx := t.Context()
	if _, err := s.Create(ctx, "before", []byte("x")); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	_, err := s.Create(ctx, "during", []byte("x"))
	for _, named := range []error{nil, store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrDenied, store.ErrNoBucket} {
		if errors.Is(err, named) {
			t.Errorf("create during the outage: %v", err)
		}
	}
	server.Start(t)
	if _, err := store.Swap(ctx, s, "during", []byte("x"), ""); err != nil {
		t.Errorf("after the outage: %v", err)
	}

	server.Pause()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = s.Create(short, "hanging", []byte("mine"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("create on a hanging server: %v", err)
	}
	server.Continue()
	if _, err := store.Swap(ctx, s, "hanging", []byte("mine"), ""); err != nil { // whether or not the first one landed
		t.Errorf("after the server hung: %v", err)
	}
}
