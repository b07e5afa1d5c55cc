// Package open turns a store URL into a Store: file:///dir, s3://bucket/prefix?region=…&endpoint=…[&path_style=true],
// minio://host:port/bucket/prefix?tls=false.
//
// It is strict: what it does not know is an error that says what a right URL looks like. Credentials never stand in a
// URL; the backends find them in the environment and in files. Commands call it, and nothing else does.
package open

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/store/minio"
	"github.com/fustor/fustor/internal/store/s3"
)

// What right URLs look like.
const (
	fileForm  = "file:///absolute/directory"
	s3Form    = "s3://bucket/prefix?region=REGION[&endpoint=https://host:port][&path_style=true]"
	minioForm = "minio://host:port/bucket/prefix[?tls=false]"
)

// ErrURL is the error of a URL that is not understood, as opposed to a store that cannot be opened.
var ErrURL = errors.New("invalid store URL")

// Existing is Open for whoever only looks: a file store's directory must exist. The error wraps fs.ErrNotExist if it does not.
func Existing(ctx context.Context, rawURL string) (store.Store, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" && checkFile(u) == nil { // Open says what is wrong with the URL
		if _, err := os.Stat(u.Path); err != nil {
			return nil, fmt.Errorf("store %s: %w", redacted(u), err)
		}
	}
	return Open(ctx, rawURL)
}

// Open returns the store that rawURL names. A file store's directory is made if its parent exists: a longer path that does not is
// more likely a typing error. Other stores are not asked anything yet (store/doctor does that). The error names the URL without
// anything that may be a secret.
func Open(ctx context.Context, rawURL string) (store.Store, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	var s store.Store
	switch u.Scheme {
	case "file":
		s, err = openFile(u)
	case "s3":
		s, err = openS3(ctx, u)
	default:
		s, err = openMinIO(u)
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", redacted(u), err)
	}
	return s, nil
}

// Location is the bucket that rawURL names and the prefix of all its keys there, without slashes around it. It is not ok
// where the URL is not understood or names no bucket.
func Location(rawURL string) (bucket, prefix string, ok bool) {
	u, err := parse(rawURL)
	if err != nil || u.Scheme == "file" {
		return "", "", false
	}
	if u.Scheme == "s3" {
		return u.Host, strings.Trim(u.Path, "/"), u.Host != ""
	}
	bucket, prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	return bucket, prefix, bucket != ""
}

// parse checks what all URLs have in common.
func parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil { // url.Parse would quote the whole of it
		return nil, fmt.Errorf("%w: it cannot be parsed; want %s, %s or %s", ErrURL, fileForm, s3Form, minioForm)
	}
	form, known := map[string]string{"file": fileForm, "s3": s3Form, "minio": minioForm}[u.Scheme]
	switch {
	case u.Scheme == "":
		return nil, fmt.Errorf("%w %q: it has no scheme; want %s, %s or %s", ErrURL, redacted(u), fileForm, s3Form, minioForm)
	case !known:
		return nil, fmt.Errorf("%w %q: unknown scheme %q; want %s, %s or %s", ErrURL, redacted(u), u.Scheme, fileForm, s3Form, minioForm)
	case u.User != nil:
		return nil, wrong(u, form, "credentials do not belong in it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials")
	case u.Fragment != "":
		return nil, wrong(u, form, "a # in it must be written %%23")
	}
	return u, nil
}

func openFile(u *url.URL) (store.Store, error) {
	if err := checkFile(u); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Dir(filepath.Clean(u.Path))); err != nil {
		return nil, fmt.Errorf("the parent of its directory: %w", err)
	}
	return local.Open(u.Path)
}

// checkFile checks the form of a file store's URL.
func checkFile(u *url.URL) error {
	if _, err := query(u, fileForm); err != nil {
		return err
	}
	switch {
	case u.Opaque != "" || !strings.HasPrefix(u.Path, "/"):
		return wrong(u, fileForm, "the directory must be absolute")
	case u.Host != "" && u.Host != "localhost":
		return wrong(u, fileForm, "%q would be a host; a path starts with a third slash", u.Host)
	}
	return nil
}

func openS3(ctx context.Context, u *url.URL) (store.Store, error) {
	q, err := query(u, s3Form, "region", "endpoint", "path_style")
	if err != nil {
		return nil, err
	}
	if err := checkBucket(u, u.Host, s3Form); err != nil {
		return nil, err
	}
	prefix, err := prefixOf(u, u.Path, s3Form)
	if err != nil {
		return nil, err
	}
	endpoint := q["endpoint"]
	if err := checkEndpoint(u, endpoint); err != nil {
		return nil, err
	}
	pathStyle, err := boolean(u, q, "path_style", endpoint != "", s3Form) // servers of one's own rarely have bucket names in DNS
	if err != nil {
		return nil, err
	}
	return s3.Open(ctx, s3.Config{
		Bucket: u.Host, Prefix: prefix, Region: q["region"], Endpoint: endpoint, PathStyle: pathStyle, URL: redacted(u),
	})
}

func checkEndpoint(u *url.URL, endpoint string) error {
	if endpoint == "" {
		return nil
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil ||
		strings.Trim(e.Path, "/") != "" || e.RawQuery != "" {
		return wrong(u, s3Form, "endpoint must be http://host:port or https://host:port")
	}
	return nil
}

func openMinIO(u *url.URL) (store.Store, error) {
	q, err := query(u, minioForm, "tls", "region")
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, wrong(u, minioForm, "it has no host")
	}
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if err := checkBucket(u, bucket, minioForm); err != nil {
		return nil, err
	}
	prefix, err := prefixOf(u, rest, minioForm)
	if err != nil {
		return nil, err
	}
	tls, err := boolean(u, q, "tls", true, minioForm)
	if err != nil {
		return nil, err
	}
	return minio.Open(minio.Config{Host: u.Host, TLS: tls, Bucket: bucket, Prefix: prefix, Region: q["region"], URL: redacted(u)})
}

// query returns the parameters of u, each of which must be among allowed and stand there once.
func query(u *url.URL, form string, allowed ...string) (map[string]string, error) {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, wrong(u, form, "its parameters cannot be parsed")
	}
	q := map[string]string{}
	for name, given := range values {
		known := false
		for _, a := range allowed {
			known = known || a == name
		}
		if !known {
			return nil, wrong(u, form, "unknown parameter %q", name)
		}
		if len(given) != 1 || given[0] == "" {
			return nil, wrong(u, form, "parameter %q must have one value", name)
		}
		q[name] = given[0]
	}
	return q, nil
}

func boolean(u *url.URL, q map[string]string, name string, otherwise bool, form string) (bool, error) {
	text, given := q[name]
	if !given {
		return otherwise, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, wrong(u, form, "%s must be true or false", name)
	}
	return value, nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func checkBucket(u *url.URL, bucket, form string) error {
	switch {
	case bucket == "":
		return wrong(u, form, "it has no bucket")
	case !bucketName.MatchString(bucket):
		return wrong(u, form, "%q is no bucket name (3 to 63 of a-z 0-9 . -)", bucket)
	}
	return nil
}

// prefixOf checks the part of the path that stands before all keys.
func prefixOf(u *url.URL, path, form string) (string, error) {
	prefix := strings.Trim(path, "/")
	if prefix == "" {
		return "", nil
	}
	if err := store.CheckKey(prefix); err != nil {
		return "", wrong(u, form, "its prefix cannot be one: %v", err)
	}
	return prefix, nil
}

func wrong(u *url.URL, form, format string, args ...any) error {
	return fmt.Errorf("%w %q: %s; want %s", ErrURL, redacted(u), fmt.Sprintf(format, args...), form)
}

// redacted is u without user and password, and without parameters that it does not know: they may be secrets.
func redacted(u *url.URL) string {
	shown := *u
	shown.User, shown.Fragment, shown.RawFragment = nil, "", ""
	shown.RawQuery = ""
	values, _ := url.ParseQuery(u.RawQuery)
	for name := range values {
		switch name {
		case "region", "path_style", "tls":
		case "endpoint":
			if checkEndpoint(&url.URL{}, values.Get(name)) != nil {
				values.Set(name, "xxxxx")
			}
		default:
			values.Set(name, "xxxxx")
		}
	}
	if len(values) > 0 {
		shown.RawQuery = strings.ReplaceAll(strings.ReplaceAll(values.Encode(), "%3A", ":"), "%2F", "/")
	}
	return shown.String()
}
