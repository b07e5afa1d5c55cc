//go:build !reading

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
)

// issue writes a certificate for 127.0.0.1 and its key, and returns who trusts it.
func issue(t *testing.T, certFile, keyFile, name string) *x509.CertPool {
	t.Helper()
	c, err := makeCertificate(certFile, keyFile, name, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return pool
}

// makeCertificate writes a certificate for addresses and names of hosts, and its key.
func makeCertificate(certFile, keyFile, name string, hosts ...string) (*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(writePEM(certFile, "CERTIFICATE", der), writePEM(keyFile, "PRIVATE KEY", secret)); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// TestOwnURL: processes of this machine verify the certificate of the server that they find, so they ask at a name that it has.
func TestOwnURL(t *testing.T) {
	dir := t.TempDir()
	f := tlsFlags{TLSCert: filepath.Join(dir, "tls.crt"), TLSKey: filepath.Join(dir, "tls.key")}
	for _, c := range []struct {
		hosts []string
		want  string
	}{
		{nil, "http://127.0.0.1:"},
		{[]string{"127.0.0.1", "files.example.org"}, "https://127.0.0.1:"},
		{[]string{"*.example.org", "files.example.org"}, "https://files.example.org:"},
		{[]string{"*.example.org"}, "https://127.0.0.1:"}, // no name of it is known
	} {
		flags := tlsFlags{}
		if c.hosts != nil {
			flags = f
			if _, err := makeCertificate(f.TLSCert, f.TLSKey, "test", c.hosts...); err != nil {
				t.Fatal(err)
			}
		}
		l, err := flags.listen("0.0.0.0:0", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if got := ownURL(l); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %s", c.hosts, got)
		}
	}
}

// TestTLS: a server with a certificate speaks HTTP/2 and HTTP/1.1 over TLS, takes in a new certificate while it runs, keeps the old one
// while the files are half written, and bounds connections as without TLS.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	f := tlsFlags{TLSCert: filepath.Join(dir, "tls.crt"), TLSKey: filepath.Join(dir, "tls.key")}
	first := issue(t, f.TLSCert, f.TLSKey, "first")
	log := slog.New(slog.DiscardHandler)
	l, err := f.listen("127.0.0.1:0", log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(urlOf(l), "https://") {
		t.Errorf("it answers at %s", urlOf(l))
	}
	now := time.Now()
	c := &certificate{files: [2]string{f.TLSCert, f.TLSKey}, logger: log, now: func() time.Time { return now }}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, r.TLS != nil) })
	serveAt := func(l net.Listener, limit int) (url string) {
		s := secured{fromElsewhere{l}, &tls.Config{GetCertificate: c.get}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- servingFlags{ConnectionsPerAddress: limit}.serve(ctx, s, httpapi.CORS{}, h, log) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return urlOf(s)
	}
	get := func(url string, pool *x509.CertPool, http2 bool) (string, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(body)), err
	}
	open := serveAt(l.(secured).Listener, 0)
	for want, http2 := range map[string]bool{"200 HTTP/2.0true": true, "200 HTTP/1.1true": false} {
		if got, err := get(open, first, http2); got != want || err != nil {
			t.Errorf("%q, not %q; %v", got, want, err)
		}
	}
	for _, http2 := range []bool{true, false} {
		l, err := listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		full := serveAt(l, 1)
		for _, want := range []string{"200 ", "429 "} { // the first connection stays open
			if got, err := get(full, first, http2); !strings.HasPrefix(got, want) || err != nil {
				t.Errorf("%q, not %s; %v", got, want, err)
			}
		}
	}

	good, err := os.ReadFile(f.TLSKey)
	if err != nil {
		t.Fatal(err)
	}
	second := issue(t, f.TLSCert, f.TLSKey, "second")
	newKey, err := os.ReadFile(f.TLSKey)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what, name string) {
		t.Helper()
		now = now.Add(lookEvery)
		got, err := c.get(nil)
		if err != nil || got.Leaf.Subject.CommonName != name {
			t.Errorf("%s: the certificate is %v, not %s; %v", what, got.Leaf.Subject, name, err)
		}
	}
	if err := os.WriteFile(f.TLSKey, good, 0o600); err != nil { // the certificate is new, the key is not yet
		t.Fatal(err)
	}
	expect("with half of it new", "first")
	if err := os.WriteFile(f.TLSKey, append(newKey, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("with both new", "second")
	if got, err := get(open, second, true); !strings.HasPrefix(got, "200 ") {
		t.Errorf("to who trusts the new one: %q, %v", got, err)
	}
	if err := os.Remove(f.TLSCert); err != nil {
		t.Fatal(err)
	}
	expect("with the file gone", "second")
}

// TestTLSRefused: flags that cannot be used say what is wrong.
func TestTLSRefused(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, f := range []tlsFlags{{TLSCert: none}, {TLSKey: none}, {TLSCert: none, TLSKey: none}} {
		if l, err := f.listen("127.0.0.1:0", slog.New(slog.DiscardHandler)); err == nil {
			l.Close()
			t.Errorf("%+v is taken", f)
		}
	}
}
