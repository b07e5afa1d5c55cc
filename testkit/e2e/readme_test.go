//go:build unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/child"
	"github.com/fustor/fustor/testkit/s3test"
)

// TestReadmeFourProcesses types the README's commands for an object store as they stand there, in one shell, against a MinIO without
// a bucket. Only addresses, credentials and the tree are the test's own; the last command is repeated until the first scan is folded.
func TestReadmeFourProcesses(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "## Four processes on an object store")
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("the README has no commands for four processes")
	}

	checkout, tree := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(checkout, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fustor, filepath.Join(checkout, "bin/fustor")); err != nil {
		t.Fatal(err)
	}
	work(t, tree, 30, 500, nil)

	minio := s3test.MinIO(t)
	query := freeAddress(t)
	bucket := fmt.Sprintf("readme-%d", os.Getpid()) // the server has a bucket fustor
	for from, to := range map[string]string{
		"127.0.0.1:9000/fustor": strings.TrimPrefix(minio.Endpoint(), "http://") + "/" + bucket,
		"127.0.0.1:8080":        query, "127.0.0.1:8081": freeAddress(t), "/srv/data": tree,
		"AWS_ACCESS_KEY_ID=…": "AWS_ACCESS_KEY_ID=" + s3test.AccessKey, "AWS_SECRET_ACCESS_KEY=…": "AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey,
	} {
		if !strings.Contains(block, from) {
			t.Fatalf("the README's commands have no %s", from)
		}
		block = strings.ReplaceAll(block, from, to)
	}
	lines := strings.Split(strings.TrimSpace(block), "\n")
	ask := lines[len(lines)-1]
	script := "set -e\n" + strings.Join(lines[:len(lines)-1], "\n") + "\necho key $FUSTOR_API_KEY >&2\nwait\n"

	log := &logged{}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Stderr = checkout, log
	cmd.Env = append(os.Environ(), "HOME="+checkout, "XDG_STATE_HOME="+checkout, "XDG_DATA_HOME="+checkout, "XDG_CONFIG_HOME="+checkout)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ended, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("the shell said:\n%s", log.tail(80))
		}
	})

	saysKey := regexp.MustCompile(`(?m)^key (\S+)$`)
	var key string
	eventually(t, 2*time.Minute, "the README's commands to be typed", func() bool {
		if m := saysKey.FindStringSubmatch(log.String()); m != nil {
			key = m[1]
		}
		select {
		case <-ended:
			t.Fatal("the shell ended")
		default:
		}
		return key != ""
	})
	last := ""
	eventually(t, 2*time.Minute, "the README's last command to print the tree", func() bool {
		find := exec.Command("bash", "-c", `export PATH="$PWD/bin:$PATH"; `+ask)
		find.Dir = checkout
		find.Env = append(cmd.Env, "FUSTOR_API_KEY="+key)
		out, err := find.CombinedOutput()
		last = string(out)
		return err == nil
	})
	s := server{"--url", "http://" + query, "--api-key", key, "--view", "research"}
	disk := onDisk(t, tree)
	eventually(t, 2*time.Minute, "the view to be the tree", func() bool { return s.unlike(t, disk) == "" })
	if n := strings.Count(last, "\n"); n < len(disk)/2 {
		t.Errorf("the README's last command printed %d lines of %d entries:\n%s", n, len(disk), last)
	}
}
