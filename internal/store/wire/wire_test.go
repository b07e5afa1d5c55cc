package wire

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// script is a Client that answers GETs one after the other, the last one again and again.
type script struct {
	Client
	gets  []Answer
	asked int
}

func (s *script) Get(context.Context, string, Read) (Answer, error) {
	s.asked++
	return s.gets[min(s.asked, len(s.gets))-1], nil
}

func answer(body, etag string, more ...string) Answer {
	h := http.Header{"Etag": {`"` + etag + `"`}, "Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Last-Modified": {"Mon, 02 Jan 2006 15:04:00 GMT"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return Answer{Header: h, Body: []byte(body)}
}

func sum(body string) string { m := md5.Sum([]byte(body)); return hex.EncodeToString(m[:]) }

// TestMixedVersionsAreReadAgain: versitygw may send one version's body with another's ETag.
func TestMixedVersionsAreReadAgain(t *testing.T) {
	for name, test := range map[string]struct {
		gets  []Answer
		asked int
		body  string
		mixed uint64
	}{
		"right at once":                   {gets: []Answer{answer("one", sum("one"))}, asked: 1, body: "one"},
		"mixed, then right":               {gets: []Answer{answer("one", sum("two")), answer("two", sum("two"))}, asked: 2, body: "two", mixed: 1},
		"mixed twice, differently":        {gets: []Answer{answer("one", sum("two")), answer("one", sum("three")), answer("three", sum("three"))}, asked: 3, body: "three", mixed: 2},
		"an ETag that is no MD5":          {gets: []Answer{answer("one", "W-123")}, asked: 1, body: "one"},
		"an ETag of several parts":        {gets: []Answer{answer("one", sum("x")+"-3")}, asked: 1, body: "one"},
		"encrypted with a key of KMS":     {gets: []Answer{answer("one", sum("x"), "X-Amz-Server-Side-Encryption", "aws:kms")}, asked: 1, body: "one"},
		"a server whose ETags look alike": {gets: []Answer{answer("one", sum("x"))}, asked: 2, body: "one", mixed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			client := &script{gets: test.gets}
			s := New(client, "", "s3://test")
			object, err := s.Get(t.Context(), "k")
			if err != nil || string(object.Body) != test.body || client.asked != test.asked || s.MixedReads() != test.mixed {
				t.Errorf("%q after %d GETs, %d mixed, %v", object.Body, client.asked, s.MixedReads(), err)
			}
			if age := object.Date.Sub(object.LastModified); age != 5*time.Second {
				t.Errorf("age %v, want 5s", age)
			}
		})
	}
	t.Run("never the same", func(t *testing.T) {
		client := &script{}
		for i := range settleReads {
			client.gets = append(client.gets, answer(fmt.Sprint(i), sum("x")))
		}
		if _, err := New(client, "", "").Get(t.Context(), "k"); err == nil || client.asked != settleReads {
			t.Errorf("after %d GETs: %v", client.asked, err)
		}
	})
}

// denier denies the first writes, with this code, and takes the rest.
type denier struct {
	Client
	code        string
	times, puts int
}

func (d *denier) Put(context.Context, string, []byte, Condition) (Answer, error) {
	if d.puts++; d.puts <= d.times {
		return Answer{}, &Failure{Status: http.StatusForbidden, Code: d.code, Err: errors.New("denied")}
	}
	return answer("", sum("x")), nil
}

// TestFalseDenials: MinIO denies a create beside a delete, and takes it a moment later.
func TestFalseDenials(t *testing.T) {
	for name, test := range map[string]struct {
		code        string
		times, puts int
		want        error
		counted     uint64
	}{
		"denied once":          {"AccessDenied", 1, 2, nil, 1},
		"denied for ever":      {"AccessDenied", 1000, denials, store.ErrDenied, 0},
		"a wrong secret is no": {"SignatureDoesNotMatch", 1000, 1, store.ErrDenied, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &denier{code: test.code, times: test.times}
				s := New(client, "", "")
				_, err := s.Create(t.Context(), "k", []byte("x"))
				if !errors.Is(err, test.want) || client.puts != test.puts || s.FalseDenials() != test.counted {
					t.Errorf("after %d PUTs: %v, %d counted", client.puts, err, s.FalseDenials())
				}
			})
		})
	}
}

func TestRangesOfTheWrongLength(t *testing.T) {
	s := New(&script{gets: []Answer{answer("four", "x")}}, "", "")
	if _, err := s.GetRange(t.Context(), "k", 0, 5); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too short: %v", err)
	}
	if _, err := s.GetRange(t.Context(), "k", 0, 3); err == nil {
		t.Error("too long: no error")
	}
}

func TestNamesOfFailures(t *testing.T) {
	for _, test := range []struct {
		status          int
		code            string
		missing, failed error
		want            error
	}{
		{404, "NoSuchKey", store.ErrNotFound, nil, store.ErrNotFound},
		{404, "NoSuchBucket", store.ErrNotFound, nil, store.ErrNoBucket},
		{404, "XAdminUserNotFound", store.ErrNotFound, nil, store.ErrDenied},
		{404, "SomethingElse", store.ErrNotFound, nil, nil},
		{404, "NoSuchKey", store.ErrChanged, store.ErrChanged, store.ErrChanged},
		{412, "PreconditionFailed", store.ErrChanged, store.ErrChanged, store.ErrChanged},
		{412, "PreconditionFailed", nil, store.ErrExists, store.ErrExists},
		{409, "ConditionalRequestConflict", nil, store.ErrExists, store.ErrConflict},
		{409, "ExistingObjectIsDirectory", nil, store.ErrExists, store.ErrConflict},
		{403, "AccessDenied", nil, nil, store.ErrDenied},
		{401, "", nil, nil, store.ErrDenied},
		{400, "ExpiredToken", nil, nil, store.ErrDenied},
		{304, "", nil, nil, store.ErrNotModified},
		{501, "NotImplemented", nil, nil, store.ErrUnsupported},
		{500, "InternalError", store.ErrNotFound, store.ErrExists, nil},
		{503, "SlowDown", store.ErrNotFound, store.ErrExists, nil},
		{400, "BadRequest", store.ErrNotFound, store.ErrExists, nil},
	} {
		err := explain(&Failure{Status: test.status, Code: test.code, Err: errors.New("said so")}, test.missing, test.failed)
		for _, name := range []error{store.ErrNotFound, store.ErrExists, store.ErrChanged, store.ErrConflict, store.ErrNotModified,
			store.ErrDenied, store.ErrNoBucket, store.ErrUnsupported, store.ErrKey} {
			if errors.Is(err, name) != (name == test.want) {
				t.Errorf("HTTP %d %s: %v, want %v", test.status, test.code, err, test.want)
			}
		}
	}
}

func TestPrefixes(t *testing.T) {
	for given, want := range map[string]string{"": "", "/": "", "a": "a/", "/a/b/": "a/b/"} {
		if got := New(nil, given, "").Prefix(); got != want {
			t.Errorf("prefix %q became %q, want %q", given, got, want)
		}
	}
	long := New(nil, string(make([]byte, 1000)), "")
	if _, err := long.Get(t.Context(), "twenty-five-bytes-of-key!"); !errors.Is(err, store.ErrKey) {
		t.Errorf("error %v, want %v", err, store.ErrKey)
	}
}
