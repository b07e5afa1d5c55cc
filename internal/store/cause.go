package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// What a store that works names as the cause of a failure. Callers treat them like the errors that they wrap, or like an unknown answer;
// they are for Hint.
var (
	// ErrClock: this machine's clock is too far from the store's for its signatures (403).
	ErrClock = fmt.Errorf("%w: the clocks of the store and of this machine differ too much", ErrDenied)
	// ErrKeyID and ErrSecret: which half of the credentials is wrong (403).
	ErrKeyID  = fmt.Errorf("%w: the store does not know the access key", ErrDenied)
	ErrSecret = fmt.Errorf("%w: the secret key is not that of the access key", ErrDenied)
	// ErrExpired: the credentials were good once.
	ErrExpired = fmt.Errorf("%w: the credentials have expired", ErrDenied)
	// ErrThrottled: the store is asked for more than it takes, or is overloaded (429, 503).
	ErrThrottled = errors.New("the store is overloaded or limits requests")
	// ErrFull: the store has no room, or a quota is used up (507).
	ErrFull = errors.New("the store is full")
	// ErrRegion: the bucket is in another region (301, or 400 by the signature).
	ErrRegion = errors.New("the bucket is in another region")
	// ErrCutOff: the body of an answer ended before the length that its header says.
	ErrCutOff = errors.New("the answer was cut off")
)

// hints are what to do about each cause, the narrower before those that they wrap.
var hints = []struct {
	cause error
	hint  string
}{
	{ErrClock, "set this machine's clock (`timedatectl` shows whether it is synchronised), or the store's"},
	{ErrKeyID, "check AWS_ACCESS_KEY_ID or AWS_PROFILE: they may be another store's"},
	{ErrSecret, "check AWS_SECRET_ACCESS_KEY; a line's end that was copied with it counts"},
	{ErrExpired, "get new credentials (`aws sso login`, a new AWS_SESSION_TOKEN)"},
	{ErrDenied, "check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE) and their permissions"},
	{ErrNoBucket, "create the bucket first; fustor does not create buckets, except by `fustor admin setup --make-bucket`"},
	{ErrThrottled, "try again later, or raise the store's limit of requests"},
	{ErrFull, "make room in the store, or raise its quota; nothing is lost, and writers go on by themselves"},
	{ErrRegion, "set region= in the store's URL to the bucket's"},
	{ErrCutOff, "the store, or a proxy before it, breaks answers off: use another if it does so each time, as rclone's server does while an object is overwritten"},
	{syscall.ENOSPC, "make room on the file system of the store; nothing is lost, and writers go on by themselves"},
	{syscall.EDQUOT, "raise the quota on the file system of the store; nothing is lost, and writers go on by themselves"},
	{syscall.EROFS, "the file system of the store is read-only: mount it for writing, or pass another directory"},
	{http.ErrSchemeMismatch, "the store speaks plain HTTP: add tls=false to a minio:// URL, or endpoint=http://… to an s3:// URL"},
}

// Hint says what to do about err, by the cause that the store or the way to it named. It is empty where they named none.
func Hint(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.cause) {
			return h.hint
		}
	}
	var (
		unknownCA x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		name      *net.DNSError
		network   *net.OpError
	)
	switch {
	case errors.As(err, &unknownCA):
		return "the store's certificate is of an authority that this machine does not know: set AWS_CA_BUNDLE or SSL_CERT_FILE to its certificate"
	case errors.As(err, &host):
		return "the store's certificate is for another host name: use one that it names"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the store's certificate has expired or is not valid yet: renew it, or set this machine's clock"
	case errors.As(err, &invalid):
		return "renew the store's certificate"
	case errors.As(err, &record), err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return hintOf(http.ErrSchemeMismatch)
	case errors.As(err, &name):
		return "check the host name in the store's URL: this machine's resolver does not know " + name.Name
	case errors.As(err, &network):
		return "check that the store is running, and its host and port"
	}
	return ""
}

func hintOf(cause error) string {
	for _, h := range hints {
		if h.cause == cause {
			return h.hint
		}
	}
	return ""
}
