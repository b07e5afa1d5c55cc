//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/nobody"
)

// wantFailure checks what a user would see.
func wantFailure(t *testing.T, err error, code int, msg, hint string) {
	t.Helper()
	var e *cliError
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.code != code || !strings.Contains(e.msg, msg) || !strings.Contains(e.hint, hint) || strings.Contains(e.msg+e.hint, "\n") {
		t.Errorf("got code %d, %q, %q", e.code, e.msg, e.hint)
	}
}

func TestCheckDir(t *testing.T) {
	dir := t.TempDir()
	if err := checkDir(dir); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	wantFailure(t, checkDir(filepath.Join(dir, "no")), exitFailure, "does not exist", "pass an existing directory")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, checkDir(file), exitFailure, "is not a directory", "pass a directory")
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o000); err != nil {
		t.Fatal(err)
	}
	var err error
	nobody.Call(t, func() { err = checkDir(closed) })
	wantFailure(t, err, exitFailure, "permission denied", "as a user with read permission")
}

func TestListen(t *testing.T) {
	first, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	address := first.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_, err = listen(address)
	wantFailure(t, err, exitFailure, "port "+port+" on 127.0.0.1 is in use", "--listen 127.0.0.1:0")
	for _, wrong := range []string{"", "8080", "127.0.0.1:http2", "127.0.0.1:70000", ":"} {
		_, err := listen(wrong)
		wantFailure(t, err, exitUsage, "is not an address", "--listen 127.0.0.1:8080")
	}
	_, err = listen("192.0.2.1:0") // TEST-NET-1, nobody's own
	wantFailure(t, err, exitFailure, "192.0.2.1 is not an address of this machine", "--listen")
}

func TestMakeDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := makeDataDir(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, makeDataDir(filepath.Join(file, "x")), exitFailure, "x: not a directory", "--data")
}

func TestStoreFailures(t *testing.T) {
	ctx := context.Background()
	_, err := openStore(ctx, "http://example.org")
	wantFailure(t, err, exitUsage, "unknown scheme", "fustor doctor")
	wantFailure(t, storeFailure(fmt.Errorf("get x: %w", store.ErrDenied)), exitFailure, "get x: access denied", "AWS_ACCESS_KEY_ID")
	wantFailure(t, storeFailure(store.ErrNoBucket), exitFailure, "no such bucket", "create the bucket")
	_, dial := net.Dial("tcp", "127.0.0.1:1")
	wantFailure(t, storeFailure(fmt.Errorf("get x: %w", dial)), exitFailure, "connection refused", "check that the store is running")
}

func TestCheckView(t *testing.T) {
	if err := checkView("research-1"); err != nil {
		t.Error(err)
	}
	wantFailure(t, checkView("a/b"), exitUsage, `"a/b" is not a view's name`, "1 to 63")
}
