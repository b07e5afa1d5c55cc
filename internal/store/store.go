// Package store is the contract that Fustor asks of object storage, and what follows from it for callers.
//
// It owns the meaning of a conditional write. Backends (store/local, store/s3, store/minio) do what one request does
// and no more; Swap settles what a lost or doubtful answer meant. store/suite is the one conformance suite of all
// backends, store/fault wraps any of them with errors, delays and lost answers, store/open turns a URL into a Store.
//
// Invariants that callers keep: objects that are replaced are small, read whole and carry a random nonce in the body;
// everything else has a unique name, is never replaced, and only such objects are read by range. No key is a prefix of
// another at a slash; a key's segments stay within 200 bytes, are not empty, "." or "..".
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// What callers decide on. Backends wrap these with the key and the provider's own words; test with errors.Is.
var (
	// ErrNotFound: no object has that key. A Replace of a missing key is ErrChanged, not this.
	ErrNotFound = errors.New("no such object")
	// ErrExists answers a Create whose key is taken (412). After a retry it may be the caller's own landed write.
	ErrExists = errors.New("object exists already")
	// ErrChanged answers a Replace whose object is not, or no longer, the one with that ETag (412, or 404).
	ErrChanged = errors.New("object was changed meanwhile")
	// ErrConflict is "try again" (409); it never means that the object exists.
	ErrConflict = errors.New("conflicting request in progress")
	// ErrNotModified answers GetIfChanged when the object still has that ETag.
	ErrNotModified = errors.New("not modified")
	// ErrDenied: the store knows the caller and refuses, or does not accept the credentials (401, 403).
	ErrDenied = errors.New("access denied")
	// ErrNoBucket: the bucket or the directory itself is not there.
	ErrNoBucket = errors.New("no such bucket")
	// ErrUnsupported: this backend cannot do that at all, such as presign on a local directory.
	ErrUnsupported = errors.New("not supported by this store")
	// ErrKey: the key breaks the contract above. Nothing was sent.
	ErrKey = errors.New("invalid key")
	// ErrLost is Swap's certain answer that another writer won.
	ErrLost = errors.New("lost the race")
)

// TooLargeError: an object has more bytes than the caller takes. It was not read.
type TooLargeError struct {
	Key        string
	Size, Most int64 // bytes; Size is what the store says
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("get %s: it has %d bytes, more than %d", e.Key, e.Size, e.Most)
}

// Meta describes one version of an object, and when the store said so.
type Meta struct {
	ETag         string    // opaque, compared byte for byte; equal bodies may have equal ETags
	Size         int64     // bytes
	LastModified time.Time // by the store's clock; whole seconds on S3
	Date         time.Time // the store's clock when it answered (the Date header); whole seconds on S3
}

// Object is a whole object: Body and ETag are always of one version.
type Object struct {
	Meta
	Body []byte
}

// Item is one line of a listing.
type Item struct {
	Key          string
	Size         int64
	LastModified time.Time
}

// Page is a part of a listing, in byte order of the keys. Where More is set, the next page starts after the last Key.
type Page struct {
	Items []Item
	More  bool
	Date  time.Time
}

// Upload is a presigned create-only PUT: whoever holds it may send the body, once, without credentials.
type Upload struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Header  http.Header `json:"headers"` // to be sent as they are; they are signed
	Expires time.Time   `json:"expires_at"`
}

// Store is an object store under a prefix. It is safe for concurrent use, by any number of processes.
//
// A method that returns nil has had its effect durably. One that returns an error of this package's list has had the
// effect the error names; after any other error (a time-out, a 5xx) a write may or may not have landed.
type Store interface {
	// Get reads a whole object.
	Get(ctx context.Context, key string) (Object, error)
	// GetUpTo is Get of an object that others may have written: one of more than most bytes is not read, and is a *TooLargeError.
	GetUpTo(ctx context.Context, key string, most int64) (Object, error)
	// GetIfChanged is Get, or ErrNotModified when the object still has this ETag.
	GetIfChanged(ctx context.Context, key, etag string) (Object, error)
	// GetRange reads exactly n bytes from offset off, or fails. Only for objects that are never replaced.
	GetRange(ctx context.Context, key string, off, n int64) ([]byte, error)
	// Put writes an object whatever is there. Only for keys that are unique by construction.
	Put(ctx context.Context, key string, body []byte) (Meta, error)
	// Create writes an object if none has the key; ErrExists otherwise.
	Create(ctx context.Context, key string, body []byte) (Meta, error)
	// Replace writes an object if the present one has this ETag; ErrChanged otherwise, also if there is none.
	Replace(ctx context.Context, key string, body []byte, etag string) (Meta, error)
	// List returns up to limit keys (0: the store's own page size) with the prefix, after the key after.
	// Prefix is taken as plain bytes; it need not end at a slash.
	List(ctx context.Context, prefix, after string, limit int) (Page, error)
	// Delete removes an object. That there is none is no error.
	Delete(ctx context.Context, key string) error
	// PresignCreate grants one create-only PUT of the key for ttl, or ErrUnsupported.
	PresignCreate(ctx context.Context, key string, ttl time.Duration) (Upload, error)
	// String is the store's URL without any secret.
	String() string
}

// Notifier is a Store that can tell of new objects as they come (MinIO bucket notifications).
type Notifier interface {
	// Notify sends the key of every object created under prefix until ctx ends. Notices may be lost, doubled or out
	// of order; they save a poll and prove nothing. The channel is closed when the subscription ends, for whatever
	// reason; callers fall back to polling and may subscribe again.
	Notify(ctx context.Context, prefix string) (<-chan string, error)
}

// Uploader is a Store that takes an object of any size as it comes, in parts (S3's multipart uploads).
type Uploader interface {
	// Upload writes an object whatever is there. It exists once body has ended without an error, and not before: an upload that fails
	// leaves what was there. It holds a few parts, of 16 MiB at first, in memory.
	Upload(ctx context.Context, key string, body io.Reader) error
}
