package open_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
)

// TestHintsNameTheCause: whatever a store says is the matter, the hint is about that, through both SDKs, for reads and writes.
func TestHintsNameTheCause(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, c := range []struct {
		status    int
		code      string
		header    string // the bucket's region
		cause     error
		hint, not string
	}{
		{503, "SlowDown", "", store.ErrThrottled, "try again later", "conditional"},
		{503, "", "", store.ErrThrottled, "try again later", ""},
		{429, "TooManyRequests", "", store.ErrThrottled, "try again later", ""},
		{403, "RequestTimeTooSkewed", "", store.ErrClock, "clock", "AWS_"},
		{403, "InvalidAccessKeyId", "", store.ErrKeyID, "AWS_ACCESS_KEY_ID", ""},
		{403, "SignatureDoesNotMatch", "", store.ErrSecret, "AWS_SECRET_ACCESS_KEY", ""},
		{400, "ExpiredToken", "", store.ErrExpired, "new credentials", ""},
		{403, "AccessDenied", "", store.ErrDenied, "permissions", ""},
		{507, "XMinioStorageFull", "", store.ErrFull, "make room", "object store"},
		{507, "", "", store.ErrFull, "make room", ""},
		{301, "PermanentRedirect", "eu-west-3", store.ErrRegion, "region=", ""},
		{400, "AuthorizationHeaderMalformed", "eu-west-3", store.ErrRegion, "region=", ""},
		{404, "NoSuchBucket", "", store.ErrNoBucket, "--make-bucket", ""},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.code), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/xml")
				if c.header != "" {
					w.Header().Set("X-Amz-Bucket-Region", c.header)
				}
				w.WriteHeader(c.status)
				if c.code != "" && r.Method != http.MethodHead {
					fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", c.code)
				}
			}))
			defer server.Close()
			for sdk, s := range stores(t, server.URL) {
				_, get := s.Get(t.Context(), "k")
				_, create := s.Create(t.Context(), "k", []byte("x"))
				_, list := s.List(t.Context(), "", "", 0)
				for call, err := range map[string]error{"get": get, "create": create, "list": list} {
					if !errors.Is(err, c.cause) {
						t.Errorf("%s through %s: %v, want %v", call, sdk, err, c.cause)
					}
					if c.header != "" && !strings.Contains(err.Error(), c.header) {
						t.Errorf("%s through %s does not say the region: %v", call, sdk, err)
					}
					if hint := store.Hint(err); !strings.Contains(hint, c.hint) || c.not != "" && strings.Contains(hint, c.not) {
						t.Errorf("%s through %s: hint %q, want %q", call, sdk, hint, c.hint)
					}
				}
			}
		})
	}
}

// TestHintsOfTheWay: what is wrong before a store could say anything.
func TestHintsOfTheWay(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	unknown, plain, gone := httptest.NewTLSServer(fine), httptest.NewServer(fine), httptest.NewServer(fine)
	short := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		fmt.Fprint(w, "ten bytes.")
	}))
	defer unknown.Close()
	defer plain.Close()
	defer short.Close()
	gone.Close()
	for _, c := range []struct{ what, url, hint string }{
		{"an unknown authority", unknown.URL, "AWS_CA_BUNDLE"},
		{"HTTP where HTTPS was asked for", strings.Replace(plain.URL, "http:", "https:", 1), "tls=false"},
		{"nobody there", gone.URL, "is running"},
		{"an answer that is cut off", short.URL, "breaks answers off"},
		{"no such host", "https://store.invalid:9000", "resolver"},
	} {
		t.Run(c.what, func(t *testing.T) {
			for sdk, s := range stores(t, c.url) {
				_, err := s.Get(t.Context(), "k")
				if hint := store.Hint(err); !strings.Contains(hint, c.hint) {
					t.Errorf("through %s: hint %q, want %q: %v", sdk, hint, c.hint, err)
				}
			}
		})
	}
}

// TestBundleOfAuthorities: both SDKs trust the authorities of AWS_CA_BUNDLE, and say what is wrong with the file.
func TestBundleOfAuthorities(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	for sdk, s := range stores(t, server.URL) {
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrDenied) {
			t.Errorf("through %s: %v, want the server's own answer", sdk, err)
		}
	}
	if err := os.WriteFile(bundle, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Open(t.Context(), "minio://"+u.Host+"/bucket"); err == nil || !strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
		t.Errorf("a bundle without a certificate: %v", err)
	}
}

// stores are the store at an address, through both SDKs.
func stores(t *testing.T, address string) map[string]store.Store {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]store.Store{}
	for sdk, storeURL := range map[string]string{
		"s3":    "s3://bucket/prefix?region=us-east-1&path_style=true&endpoint=" + url.QueryEscape(address),
		"minio": fmt.Sprintf("minio://%s/bucket/prefix?tls=%v", u.Host, u.Scheme == "https"),
	} {
		if all[sdk], err = open.Open(t.Context(), storeURL); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
