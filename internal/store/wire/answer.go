package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// ETag is the entity tag of an answer without its quotes.
func ETag(h http.Header) string { return strings.Trim(h.Get("ETag"), `"`) }

func metaOf(h http.Header, size int) store.Meta {
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	return store.Meta{ETag: ETag(h), Size: int64(size), LastModified: modified, Date: Date(h)}
}

// Date is the store's clock, or zero if the answer has none.
func Date(h http.Header) time.Time {
	date, _ := http.ParseTime(h.Get("Date"))
	return date
}

// headerOf is the header of the answer that err tells of, or nil.
func headerOf(err error) http.Header {
	var f *Failure
	if errors.As(err, &f) {
		return f.Header
	}
	return nil
}

// explain gives a Failure the name that callers know. missing and failed are what 404 and 412 mean for this request.
// What has no name stays as it is: the caller does not know what became of its request.
func explain(err error, missing, failed error) error {
	var f *Failure
	if !errors.As(err, &f) {
		return err
	}
	if name := nameOf(f, missing, failed); name != nil {
		return fmt.Errorf("%w: %w", name, err)
	}
	return err
}

func nameOf(f *Failure, missing, failed error) error {
	switch f.Code {
	case "NoSuchBucket":
		return store.ErrNoBucket
	case "ExpiredToken", "ExpiredTokenException":
		return store.ErrExpired
	case "InvalidAccessKeyId", "XAdminUserNotFound", "InvalidToken": // 400 on AWS; 404 on versitygw
		return store.ErrKeyID
	case "SignatureDoesNotMatch":
		return store.ErrSecret
	case "RequestTimeTooSkewed", "RequestExpired":
		return store.ErrClock
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests", "XMinioServerNotInitialized", "ServiceUnavailable":
		return store.ErrThrottled
	case "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "QuotaExceeded":
		return store.ErrFull
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return regionOf(f)
	case "KeyTooLongError", "XMinioInvalidObjectName", "XMinioInvalidResourceName":
		return store.ErrKey
	}
	switch f.Status {
	case http.StatusNotModified:
		return store.ErrNotModified
	case http.StatusUnauthorized, http.StatusForbidden:
		return store.ErrDenied
	case http.StatusNotFound:
		switch f.Code {
		case "NoSuchKey", "NotFound", "NoSuchVersion", "":
			return missing
		}
		return nil // something else is not there, and the object may be
	case http.StatusConflict:
		// Also where versitygw says that there is a directory in the way: a delete beside it makes it say so in error.
		return store.ErrConflict
	case http.StatusPreconditionFailed:
		return failed
	case http.StatusNotImplemented:
		return store.ErrUnsupported
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return store.ErrThrottled
	case http.StatusInsufficientStorage:
		return store.ErrFull
	case http.StatusMovedPermanently:
		if f.Header.Get(bucketRegion) != "" {
			return regionOf(f)
		}
	}
	return nil
}

const bucketRegion = "X-Amz-Bucket-Region"

// regionOf is ErrRegion, with the bucket's region where the store says it.
func regionOf(f *Failure) error {
	if region := f.Header.Get(bucketRegion); region != "" {
		return fmt.Errorf("%w, %s", store.ErrRegion, region)
	}
	return store.ErrRegion
}
