//go:build unix

package s3test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/fustor/fustor/internal/store/flock"
)

// packages are the servers' main packages, in the modules testkit/servers/<name>.
var packages = map[string]string{
	"minio": "github.com/minio/minio", "versitygw": "github.com/versity/versitygw/cmd/versitygw",
	"rclone": "github.com/rclone/rclone", "seaweedfs": "github.com/seaweedfs/seaweedfs/weed",
}

// Binary is the path of a server's binary, for tests that run it themselves: minio or versitygw.
func Binary(t testing.TB, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	path, err := binary(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// binary returns the path of a server, built from the module testkit/servers/<name> unless that was done before for the same
// go.mod, go.sum and Go version. Test packages that run at once build it once.
func binary(ctx context.Context, name string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "testkit", "servers", name)
	sum := sha256.New()
	sum.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	for _, file := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	cache := filepath.Join(root, ".cache", "bin")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := flock.Lock(ctx, filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(cache, name+"-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, build(ctx, module, packages[name], path)
}

// build compiles pkg in the module at dir. The binary appears under its name only when it is complete.
func build(ctx context.Context, dir, pkg, path string) error {
	fmt.Fprintf(os.Stderr, "building %s for the tests, once; this takes minutes\n", pkg)
	partial := path + ".partial"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", partial, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", pkg, dir, err, output)
	}
	return os.Rename(partial, path)
}

// moduleRoot finds the directory above the test's own that has the tools.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "testkit", "servers", "minio", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no directory above has testkit/servers/minio/go.mod: tests run inside the repository")
		}
		dir = parent
	}
}
