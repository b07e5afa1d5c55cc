package store_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/fustor/fustor/internal/store"
)

// TestHint: each cause has its own hint, however deep it is wrapped, and the narrower counts; what names no cause has none.
func TestHint(t *testing.T) {
	seen := map[string]error{}
	for _, c := range []struct {
		err  error
		says string
	}{
		{store.ErrClock, "clock"}, {store.ErrKeyID, "AWS_ACCESS_KEY_ID"}, {store.ErrSecret, "AWS_SECRET_ACCESS_KEY"}, {store.ErrExpired, "new credentials"},
		{store.ErrDenied, "permissions"}, {store.ErrNoBucket, "create the bucket"}, {store.ErrThrottled, "try again later"}, {store.ErrFull, "make room in the store"},
		{store.ErrRegion, "region="}, {store.ErrCutOff, "breaks answers off"}, {syscall.ENOSPC, "make room on the file system"}, {syscall.EDQUOT, "quota on the file system"},
		{syscall.EROFS, "read-only"}, {http.ErrSchemeMismatch, "tls=false"},
		{x509.UnknownAuthorityError{}, "AWS_CA_BUNDLE"}, {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, "another host name"},
		{x509.CertificateInvalidError{Reason: x509.Expired}, "expired"}, {x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, "renew the store's certificate"},
		{&net.DNSError{Name: "nowhere.example"}, "does not know nowhere.example"}, {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "the store is running"},
	} {
		got := store.Hint(fmt.Errorf("read head: %w", c.err))
		if !strings.Contains(got, c.says) {
			t.Errorf("%v: %q", c.err, got)
		}
		if other := seen[got]; other != nil {
			t.Errorf("%v and %v: %q", c.err, other, got)
		}
		seen[got] = c.err
	}
	plain := store.Hint(http.ErrSchemeMismatch)
	for _, err := range []error{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, errors.New("http: server gave HTTP response to HTTPS client")} {
		if got := store.Hint(err); got != plain {
			t.Errorf("%v: %q", err, got)
		}
	}
	for _, err := range []error{nil, errors.New("anything"), store.ErrNotFound, store.ErrLost} {
		if got := store.Hint(err); got != "" {
			t.Errorf("%v: %q", err, got)
		}
	}
}
