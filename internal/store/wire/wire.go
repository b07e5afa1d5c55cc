// Package wire is what the backends that speak S3 share: a Store made of a Client that does single requests.
//
// It owns the prefix, the meaning of status codes, the clock in the Date header, and the rule that a whole object's
// body and ETag are of one version even on servers that mix them. A Client (store/s3, store/minio) signs, sends
// and parses, and may repeat what is safe to repeat, which a conditional write is not: its echo would say "exists".
package wire

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// Client does one request on one bucket. Keys are whole: the prefix is in them. ETags are without quotes.
// An answer of the server that is not a success is a *Failure.
type Client interface {
	Get(ctx context.Context, key string, how Read) (Answer, error)
	Put(ctx context.Context, key string, body []byte, when Condition) (Answer, error)
	List(ctx context.Context, prefix, after string, limit int) (store.Page, error)
	Delete(ctx context.Context, key string) error
	Presign(ctx context.Context, key string, ttl time.Duration) (store.Upload, error)
	Upload(ctx context.Context, key string, body io.Reader) error
}

// PartSize is how long the nth part of an upload is, from 0 on: S3 has at most MaxParts of them, of at least 5 MiB each but the last.
func PartSize(n int) int { return 16 << 20 << (n / (MaxParts / 4)) }

// MaxParts is how many parts an upload has at most: some 600 GB.
const MaxParts = 10_000

// Read says which part of an object is wanted, and when.
type Read struct {
	IfChanged string // not if it still has this ETag
	Range     string // a Range header, or empty
	Most      int64  // bytes that are taken: one more is a *store.TooLargeError; 0: any number
}

// Body reads the body of an answer that says to have size bytes, or -1. What ends before is ErrCutOff.
func (r Read) Body(key string, size int64, body io.Reader) ([]byte, error) {
	if r.Most > 0 {
		if size > r.Most {
			return nil, &store.TooLargeError{Key: key, Size: size, Most: r.Most}
		}
		body = io.LimitReader(body, r.Most+1)
	}
	read := bytes.NewBuffer(make([]byte, 0, max(0, size)+bytes.MinRead))
	_, err := io.Copy(read, body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("read body: %w: %w", store.ErrCutOff, err)
	case err != nil:
		return nil, fmt.Errorf("read body: %w", err)
	case r.Most > 0 && int64(read.Len()) > r.Most:
		return nil, &store.TooLargeError{Key: key, Size: int64(read.Len()), Most: r.Most}
	}
	return read.Bytes(), nil
}

// Condition says when a write may happen: always, if there is none, or if the present one has an ETag.
type Condition struct {
	IfAbsent bool
	IfMatch  string
}

// Answer is the server's success.
type Answer struct {
	Header http.Header // with Date, ETag, Last-Modified
	Body   []byte
}

// Failure is the server's own word that it did not do it.
type Failure struct {
	Status int    // HTTP
	Code   string // S3's, such as NoSuchKey; may be empty
	Header http.Header
	Err    error // the SDK's
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Store is a store.Store on a Client, under a prefix that is empty or ends with a slash.
type Store struct {
	client Client
	prefix string
	url    string
	mixed  atomic.Uint64
	denied atomic.Uint64
}

// FalseDenials is how often a write was denied first and taken when it was sent again.
func (s *Store) FalseDenials() uint64 { return s.denied.Load() }

// MixedReads is how often a whole object had to be read again because the server had answered with one version's body
// and another's ETag.
func (s *Store) MixedReads() uint64 { return s.mixed.Load() }

// New returns the store under prefix ("" or "a/b", slashes around it do not matter). url is what String returns; it
// must not hold a secret.
func New(client Client, prefix, url string) *Store {
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Store{client: client, prefix: prefix, url: url}
}

// String implements store.Store.
func (s *Store) String() string { return s.url }

// Prefix is what stands before every key in the bucket: empty, or ends with a slash.
func (s *Store) Prefix() string { return s.prefix }

func (s *Store) full(key string) (string, error) {
	if err := store.CheckKey(key); err != nil {
		return "", err
	}
	if len(s.prefix)+len(key) > store.MaxKey {
		return "", fmt.Errorf("key %q: longer than %d bytes with the store's prefix: %w", key, store.MaxKey, store.ErrKey)
	}
	return s.prefix + key, nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Object, error) {
	return s.get(ctx, key, Read{})
}

// GetUpTo implements store.Store.
func (s *Store) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	return s.get(ctx, key, Read{Most: most})
}

// GetIfChanged implements store.Store. With ErrNotModified comes the Meta that the server sent along.
func (s *Store) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	return s.get(ctx, key, Read{IfChanged: etag})
}

func (s *Store) get(ctx context.Context, key string, how Read) (store.Object, error) {
	full, err := s.full(key)
	if err != nil {
		return store.Object{}, err
	}
	answer, err := s.getConsistent(ctx, full, how)
	var large *store.TooLargeError
	if errors.As(err, &large) {
		large.Key = key
		return store.Object{}, large
	}
	if err != nil {
		err = fmt.Errorf("get %s: %w", key, explain(err, store.ErrNotFound, nil))
		return store.Object{Meta: metaOf(headerOf(err), 0)}, err
	}
	return store.Object{Meta: metaOf(answer.Header, len(answer.Body)), Body: answer.Body}, nil
}

// settleReads bounds how often an object is read until body and ETag agree.
const settleReads = 20

// getConsistent reads an object until its body and ETag are known to be of one version: the ETag is the body's MD5, or has not
// the form of an MD5, or two reads in a row gave the same pair (some stores' ETags only have the form of an MD5).
func (s *Store) getConsistent(ctx context.Context, key string, how Read) (Answer, error) {
	var last Answer
	for range settleReads {
		answer, err := s.client.Get(ctx, key, how)
		if err != nil {
			return answer, err
		}
		etag := ETag(answer.Header)
		if !looksLikeMD5(etag, answer.Header) || etag == md5Of(answer.Body) ||
			last.Header != nil && etag == ETag(last.Header) && bytes.Equal(answer.Body, last.Body) {
			return answer, nil
		}
		s.mixed.Add(1)
		last = answer
	}
	return Answer{}, fmt.Errorf("body and ETag were of different versions %d times in a row", settleReads)
}

func md5Of(body []byte) string { sum := md5.Sum(body); return hex.EncodeToString(sum[:]) }

// looksLikeMD5: S3 says that ETags of single PUTs are MD5s unless the object is encrypted with a key of its own.
func looksLikeMD5(etag string, h http.Header) bool {
	sse := h.Get("X-Amz-Server-Side-Encryption")
	if sse != "" && sse != "AES256" || h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" {
		return false
	}
	return len(etag) == 32 && strings.Trim(etag, "0123456789abcdef") == ""
}

// GetRange implements store.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	full, err := s.full(key)
	switch {
	case err != nil:
		return nil, err
	case off < 0 || n < 0:
		return nil, fmt.Errorf("get bytes %d+%d of %s: negative range", off, n, key)
	case n == 0:
		return []byte{}, nil // HTTP has no name for no bytes
	}
	answer, err := s.client.Get(ctx, full, Read{Range: fmt.Sprintf("bytes=%d-%d", off, off+n-1)})
	if err == nil && int64(len(answer.Body)) != n {
		err = fmt.Errorf("the store sent %d bytes: %w", len(answer.Body), io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, fmt.Errorf("get bytes %d+%d of %s: %w", off, n, key, explain(err, store.ErrNotFound, nil))
	}
	return answer.Body, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.put(ctx, "put", key, body, Condition{}, nil, nil)
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.put(ctx, "create", key, body, Condition{IfAbsent: true}, nil, store.ErrExists)
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if etag == "" || etag == "*" {
		return store.Meta{}, fmt.Errorf("replace %s: %q is not an ETag", key, etag)
	}
	return s.put(ctx, "replace", key, body, Condition{IfMatch: etag}, store.ErrChanged, store.ErrChanged)
}

// put sends a body; missing and failed are what 404 and 412 mean. The answer to a PUT has no Last-Modified: it is the
// Date of the answer, which is at most the duration of the request later.
func (s *Store) put(ctx context.Context, op, key string, body []byte, when Condition, missing, failed error) (store.Meta, error) {
	full, err := s.full(key)
	if err != nil {
		return store.Meta{}, err
	}
	answer, err := s.putDespiteDenial(ctx, full, body, when)
	if err != nil {
		err = fmt.Errorf("%s %s: %w", op, key, explain(err, missing, failed))
		return store.Meta{Date: Date(headerOf(err))}, err
	}
	meta := metaOf(answer.Header, len(body))
	meta.LastModified = meta.Date
	return meta, nil
}

// denials is how often a write is sent that is answered "access denied", and denialPause the pause after the first
// denial, which doubles twice each time: a permission that is missing stays so.
const (
	denials     = 4
	denialPause = 10 * time.Millisecond
)

// putDespiteDenial sends a write again that is answered 403 AccessDenied, and so was not done. MinIO answers that in
// error to a write beside a delete that takes the last object out of their common directory.
func (s *Store) putDespiteDenial(ctx context.Context, key string, body []byte, when Condition) (Answer, error) {
	for try, pause := 1, denialPause; ; try, pause = try+1, pause*4 {
		answer, err := s.client.Put(ctx, key, body, when)
		var f *Failure
		if !errors.As(err, &f) || f.Status != http.StatusForbidden || f.Code != "AccessDenied" || try == denials {
			if try > 1 && err == nil {
				s.denied.Add(1)
			}
			return answer, err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Answer{}, ctx.Err()
		}
	}
}

// maxPage is how many keys S3 puts on a page at most. minPage is how many are asked for at least: MinIO takes a page of
// one key, whose prefix is itself a key, for a question about that key alone, and says that there is no more.
const (
	maxPage = 1000
	minPage = 2
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	if after != "" {
		after = s.prefix + after
	}
	page, err := s.client.List(ctx, s.prefix+prefix, after, max(limit, minPage))
	if limit < len(page.Items) {
		page.Items, page.More = page.Items[:limit], true
	}
	if err != nil {
		return page, fmt.Errorf("list %s: %w", prefix, explain(err, store.ErrNoBucket, nil))
	}
	for i := range page.Items {
		key, ok := strings.CutPrefix(page.Items[i].Key, s.prefix)
		if !ok {
			return store.Page{}, fmt.Errorf("list %s: the store listed a key outside the prefix: %q", prefix, page.Items[i].Key)
		}
		page.Items[i].Key = key
	}
	return page, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	full, err := s.full(key)
	if err != nil {
		return err
	}
	if err := explain(s.client.Delete(ctx, full), store.ErrNotFound, nil); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// PresignCreate implements store.Store.
func (s *Store) PresignCreate(ctx context.Context, key string, ttl time.Duration) (store.Upload, error) {
	full, err := s.full(key)
	if err != nil {
		return store.Upload{}, err
	}
	upload, err := s.client.Presign(ctx, full, ttl)
	if err != nil {
		return store.Upload{}, fmt.Errorf("presign %s: %w", key, err)
	}
	return upload, nil
}

// Upload implements store.Uploader.
func (s *Store) Upload(ctx context.Context, key string, body io.Reader) error {
	full, err := s.full(key)
	if err != nil {
		return err
	}
	if err := explain(s.client.Upload(ctx, full, body), store.ErrNoBucket, nil); err != nil {
		return fmt.Errorf("upload %s: %w", key, err)
	}
	return nil
}
