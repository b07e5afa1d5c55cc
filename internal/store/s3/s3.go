// Package s3 is object storage on Amazon S3, and on servers that speak its protocol, through aws-sdk-go-v2.
//
// It finds credentials as every AWS tool does: environment, shared files, container and instance roles, Lambda. Each
// object is one PUT; a conditional write is tried once, everything else up to three times. What answers mean is decided
// in store/wire. Callers open it through store/open.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/wire"
)

// Config says which bucket, and where it is.
type Config struct {
	Bucket    string
	Prefix    string // of all keys; may be empty
	Region    string // empty: from the environment or the shared files
	Endpoint  string // http(s)://host[:port]; empty: Amazon's own for the region
	PathStyle bool   // the bucket in the path rather than in the host name
	URL       string // what String returns
}

// Open returns the store of a bucket. It finds credentials and region, and sends nothing to the store.
func Open(ctx context.Context, c Config) (store.Store, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(tune)),
		config.WithLogger(logging.Nop{}), // its lines would stand between those of a JSON log; what fails is in the errors
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" && c.Endpoint != "" {
		cfg.Region = "us-east-1" // servers of one's own do not care, but the signature needs one
	}
	if cfg.Region == "" {
		return nil, errors.New("no region: add ?region=… to the store URL or set AWS_REGION")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("%w: no usable AWS credentials in the environment, ~/.aws or a role: %w", store.ErrDenied, err)
	}
	sdk := awss3.NewFromConfig(cfg, func(o *awss3.Options) {
		o.UsePathStyle = c.PathStyle
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // trailers are beyond many servers
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	return wire.New(&client{sdk: sdk, presign: awss3.NewPresignClient(sdk), bucket: c.Bucket}, c.Prefix, c.URL), nil
}

// tune lets many goroutines keep their connections, and notices a server that has stopped answering.
func tune(t *http.Transport) {
	t.MaxIdleConnsPerHost = 64
	t.ResponseHeaderTimeout = time.Minute
}

type client struct {
	sdk     *awss3.Client
	presign *awss3.PresignClient
	bucket  string
}

// Get implements wire.Client.
func (c *client) Get(ctx context.Context, key string, how wire.Read) (wire.Answer, error) {
	in := &awss3.GetObjectInput{Bucket: &c.bucket, Key: &key}
	if how.IfChanged != "" {
		in.IfNoneMatch = aws.String(quoted(how.IfChanged))
	}
	if how.Range != "" {
		in.Range = &how.Range
	}
	out, err := c.sdk.GetObject(ctx, in)
	if err != nil {
		return wire.Answer{}, failure(err)
	}
	defer out.Body.Close()
	if how.Range != "" && out.ContentRange == nil {
		return wire.Answer{}, errors.New("the store ignores the Range header")
	}
	body, err := how.Body(key, aws.ToInt64(out.ContentLength), out.Body)
	return wire.Answer{Header: header(out.ResultMetadata), Body: body}, err
}

// Put implements wire.Client.
func (c *client) Put(ctx context.Context, key string, body []byte, when wire.Condition) (wire.Answer, error) {
	in := &awss3.PutObjectInput{Bucket: &c.bucket, Key: &key, Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body)))}
	var once []func(*awss3.Options)
	if when.IfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	if when.IfMatch != "" {
		in.IfMatch = aws.String(quoted(when.IfMatch))
	}
	if when != (wire.Condition{}) {
		once = append(once, func(o *awss3.Options) { o.Retryer = aws.NopRetryer{} })
	}
	out, err := c.sdk.PutObject(ctx, in, once...)
	if err != nil {
		return wire.Answer{}, failure(err)
	}
	return wire.Answer{Header: header(out.ResultMetadata)}, nil
}

// List implements wire.Client.
func (c *client) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	in := &awss3.ListObjectsV2Input{Bucket: &c.bucket, Prefix: &prefix, MaxKeys: aws.Int32(int32(limit))}
	if after != "" {
		in.StartAfter = &after
	}
	out, err := c.sdk.ListObjectsV2(ctx, in)
	if err != nil {
		return store.Page{}, failure(err)
	}
	page := store.Page{More: aws.ToBool(out.IsTruncated), Date: wire.Date(header(out.ResultMetadata))}
	for _, o := range out.Contents {
		page.Items = append(page.Items, store.Item{Key: *o.Key, Size: aws.ToInt64(o.Size), LastModified: aws.ToTime(o.LastModified)})
	}
	return page, nil
}

// Delete implements wire.Client.
func (c *client) Delete(ctx context.Context, key string) error {
	_, err := c.sdk.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &c.bucket, Key: &key})
	return failure(err)
}

// Presign implements wire.Client.
func (c *client) Presign(ctx context.Context, key string, ttl time.Duration) (store.Upload, error) {
	expires := time.Now().Add(ttl)
	in := &awss3.PutObjectInput{Bucket: &c.bucket, Key: &key, IfNoneMatch: aws.String("*")}
	signed, err := c.presign.PresignPutObject(ctx, in, awss3.WithPresignExpires(ttl))
	if err != nil {
		return store.Upload{}, err
	}
	signed.SignedHeader.Del("Host") // follows from the URL
	return store.Upload{Method: signed.Method, URL: signed.URL, Header: signed.SignedHeader, Expires: expires}, nil
}

func quoted(etag string) string { return `"` + etag + `"` }

// header is the header of the answer itself, which has the Date.
func header(m middleware.Metadata) http.Header {
	if raw, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response); ok {
		return raw.Header
	}
	return http.Header{}
}

// failure turns an answer that is no success into a wire.Failure; errors of the network stay what they are.
func failure(err error) error {
	var answered *smithyhttp.ResponseError
	if !errors.As(err, &answered) || answered.Response == nil {
		return err
	}
	f := &wire.Failure{Status: answered.HTTPStatusCode(), Header: answered.Response.Header, Err: err}
	var api smithy.APIError
	if errors.As(err, &api) {
		f.Code = api.ErrorCode()
	}
	if f.Status/100 == 2 {
		return err // a success that could not be parsed: unknown
	}
	return f
}
