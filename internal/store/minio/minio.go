// Package minio is object storage on self-hosted servers, MinIO first, through minio-go.
//
// It needs no AWS set-up, and it can tell of new objects as they come (Notify, where the server is MinIO). Each object is
// one PUT; a conditional write is sent once, everything else up to three times. What answers mean is decided in
// store/wire. Callers open it through store/open.
package minio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	miniogo "github.com/minio/minio-go/v7"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/wire"
)

// Config says which bucket, and where it is.
type Config struct {
	Host   string // host[:port]
	TLS    bool
	Bucket string
	Prefix string // of all keys; may be empty
	Region string // empty: us-east-1, which servers of one's own accept
	URL    string // what String returns
}

// Store is a bucket. It implements store.Store and store.Notifier.
type Store struct {
	*wire.Store
	client *client
}

// attempts is how often a request is sent that may be repeated.
const attempts = 3

// Open returns the store of a bucket. It finds credentials, and sends nothing.
func Open(c Config) (*Store, error) {
	transport, err := miniogo.DefaultTransport(c.TLS)
	if err != nil {
		return nil, err
	}
	transport.MaxIdleConnsPerHost = 64
	if err := trustBundle(transport); err != nil {
		return nil, err
	}
	found, err := findCredentials(c.Host)
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	options := miniogo.Options{
		Creds: found, Secure: c.TLS, Region: c.Region, Transport: noting{transport},
		BucketLookup: miniogo.BucketLookupPath, MaxRetries: attempts,
	}
	again, err := miniogo.NewCore(c.Host, &options)
	if err != nil {
		return nil, err
	}
	options.MaxRetries = 1
	once, err := miniogo.NewCore(c.Host, &options)
	if err != nil {
		return nil, err
	}
	cl := &client{again: again, once: once, bucket: c.Bucket}
	return &Store{Store: wire.New(cl, c.Prefix, c.URL), client: cl}, nil
}

// trustBundle has the transport trust the authorities in the file that AWS_CA_BUNDLE names, beside the system's, as the AWS SDK does.
func trustBundle(transport *http.Transport) error {
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" || transport.TLSClientConfig == nil { // plain HTTP
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("AWS_CA_BUNDLE: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("AWS_CA_BUNDLE: %s has no certificate in PEM", file)
	}
	transport.TLSClientConfig.RootCAs = pool
	return nil
}

type client struct {
	again  *miniogo.Core // for requests that may be repeated
	once   *miniogo.Core
	bucket string
}

// MakeBucket makes the bucket, unless the server has it already.
func (s *Store) MakeBucket(ctx context.Context) error {
	c := s.client
	ctx, note := withNote(ctx)
	there, err := c.again.BucketExists(ctx, c.bucket)
	if err == nil && !there {
		err = c.again.MakeBucket(ctx, c.bucket, miniogo.MakeBucketOptions{})
	}
	if code := miniogo.ToErrorResponse(err).Code; err != nil && code == "BucketAlreadyOwnedByYou" { // another was faster
		return nil
	}
	return failure(err, note)
}

// Get implements wire.Client.
func (c *client) Get(ctx context.Context, key string, how wire.Read) (wire.Answer, error) {
	var options miniogo.GetObjectOptions
	if how.IfChanged != "" {
		options.Set("If-None-Match", `"`+how.IfChanged+`"`)
	}
	if how.Range != "" {
		options.Set("Range", how.Range)
	}
	ctx, note := withNote(ctx)
	body, info, header, err := c.again.GetObject(ctx, c.bucket, key, options)
	if err != nil {
		return wire.Answer{}, failure(err, note)
	}
	defer body.Close()
	if how.Range != "" && header.Get("Content-Range") == "" {
		return wire.Answer{}, errors.New("the store ignores the Range header")
	}
	read, err := how.Body(key, info.Size, body)
	return wire.Answer{Header: header, Body: read}, err
}

// Put implements wire.Client.
func (c *client) Put(ctx context.Context, key string, body []byte, when wire.Condition) (wire.Answer, error) {
	sdk := c.again
	// The whole body's hash in the signature guards it; minio-go's own way over HTTP, chunk by chunk, is beyond many servers.
	options := miniogo.PutObjectOptions{DisableContentSha256: true}
	if when.IfAbsent {
		options.SetMatchETagExcept("*")
		sdk = c.once
	}
	if when.IfMatch != "" {
		options.SetMatchETag(when.IfMatch)
		sdk = c.once
	}
	sum := sha256.Sum256(body)
	ctx, note := withNote(ctx)
	_, err := sdk.PutObject(ctx, c.bucket, key, bytes.NewReader(body), int64(len(body)), "", hex.EncodeToString(sum[:]), options)
	if err != nil {
		return wire.Answer{}, failure(err, note)
	}
	return wire.Answer{Header: note.header}, nil
}

// List implements wire.Client.
func (c *client) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	// minio-go pages by itself and does not say where a page ends: ask for one key more than a full page, where one
	// request can carry it, and take that as "more".
	limit = min(limit, 999)
	owner := false
	options := miniogo.ListObjectsOptions{Prefix: prefix, StartAfter: after, Recursive: true, MaxKeys: limit + 1, FetchOwner: &owner}
	ctx, note := withNote(ctx)
	page := store.Page{}
	for o := range c.again.ListObjectsIter(ctx, c.bucket, options) {
		if o.Err != nil {
			return page, failure(o.Err, note)
		}
		if len(page.Items) == limit {
			page.More = true
			break
		}
		page.Items = append(page.Items, store.Item{Key: o.Key, Size: o.Size, LastModified: o.LastModified})
	}
	page.Date = wire.Date(note.header)
	return page, ctx.Err()
}

// Delete implements wire.Client.
func (c *client) Delete(ctx context.Context, key string) error {
	ctx, note := withNote(ctx)
	return failure(c.again.RemoveObject(ctx, c.bucket, key, miniogo.RemoveObjectOptions{}), note)
}

// Presign implements wire.Client.
func (c *client) Presign(ctx context.Context, key string, ttl time.Duration) (store.Upload, error) {
	expires := time.Now().Add(ttl)
	header := http.Header{"If-None-Match": {"*"}}
	u, err := c.again.PresignHeader(ctx, http.MethodPut, c.bucket, key, ttl, nil, header)
	if err != nil {
		return store.Upload{}, err
	}
	return store.Upload{Method: http.MethodPut, URL: u.String(), Header: header, Expires: expires}, nil
}

// failure turns an answer that is no success into a wire.Failure; errors of the network stay what they are.
func failure(err error, note *note) error {
	var answered miniogo.ErrorResponse
	if !errors.As(err, &answered) || answered.StatusCode == 0 || answered.StatusCode/100 == 2 || note.header == nil {
		return err
	}
	return &wire.Failure{Status: answered.StatusCode, Code: answered.Code, Header: note.header, Err: err}
}

// Upload implements wire.Client: a multipart upload, which minio-go takes back if it fails.
func (c *client) Upload(ctx context.Context, key string, body io.Reader) error {
	ctx, note := withNote(ctx)
	_, err := c.again.Client.PutObject(ctx, c.bucket, key, body, -1, miniogo.PutObjectOptions{PartSize: uint64(wire.PartSize(0)), DisableContentSha256: true})
	return failure(err, note)
}
