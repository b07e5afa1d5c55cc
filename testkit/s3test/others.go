//go:build unix

package s3test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The servers below are tried on request only: their builds are long, or they are not of a Go module. A test that starts one
// skips, and says by which variable it is asked for.

// Rclone starts rclone's S3 server over a directory. FUSTOR_TEST_RCLONE=1 has it built, which takes minutes.
func Rclone(t testing.TB) *Server {
	t.Helper()
	asked(t, "FUSTOR_TEST_RCLONE", "1 (rclone is built, which takes minutes)")
	return start(t, "rclone", func(bin, address, dir string) *exec.Cmd {
		cmd := exec.Command(bin, "serve", "s3", "--auth-key", AccessKey+","+SecretKey, "--addr", address, filepath.Join(dir, "data"))
		cmd.Env = append(os.Environ(), "HOME="+dir, "RCLONE_CONFIG="+filepath.Join(dir, "rclone.conf"))
		return cmd
	})
}

// SeaweedFS starts all of SeaweedFS' parts in one process. FUSTOR_TEST_SEAWEEDFS=1 has it built, which takes minutes.
func SeaweedFS(t testing.TB) *Server {
	t.Helper()
	asked(t, "FUSTOR_TEST_SEAWEEDFS", "1 (SeaweedFS is built, which takes minutes)")
	var ports []string // of master, volume server and filer, each with one for gRPC, and of S3's gRPC
	for range 7 {
		_, port, _ := net.SplitHostPort(freePort(t))
		ports = append(ports, port)
	}
	return start(t, "seaweedfs", func(bin, address, dir string) *exec.Cmd {
		host, port, _ := net.SplitHostPort(address)
		cmd := exec.Command(bin, "server", "-dir="+filepath.Join(dir, "data"), "-ip="+host, "-ip.bind="+host, "-master.telemetry=false",
			"-master.port="+ports[0], "-master.port.grpc="+ports[1], "-master.volumeSizeLimitMB=64", "-volume.max=0",
			"-volume.port="+ports[2], "-volume.port.grpc="+ports[3], "-filer", "-filer.port="+ports[4], "-filer.port.grpc="+ports[5],
			"-s3", "-s3.port="+port, "-s3.port.grpc="+ports[6], "-s3.port.iceberg=0", "-s3.port.lance=0")
		cmd.Env = append(os.Environ(), "HOME="+dir)
		return cmd
	})
}

// asked skips a test unless the environment asks for what it needs, and returns what it says.
func asked(t testing.TB, name, value string) string {
	t.Helper()
	said := os.Getenv(name)
	if said == "" {
		t.Skipf("needs %s=%s", name, value)
	}
	return said
}

// Moto starts moto's server, which plays AWS in memory: FUSTOR_TEST_MOTO=1, after pip install 'moto[server]'.
func Moto(t testing.TB) *Server {
	t.Helper()
	asked(t, "FUSTOR_TEST_MOTO", "1, and moto_server")
	bin, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("needs moto_server: pip install 'moto[server]'")
	}
	return run(t, "moto", func(address, _ string) *exec.Cmd {
		host, port, _ := net.SplitHostPort(address)
		cmd := exec.Command(bin, "-H", host, "-p", port)
		// Python's SDK takes the empty AWS_PROFILE for the name of a profile.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_PROFILE=") })
		return cmd
	})
}

// LocalStack starts LocalStack's S3 without a container. FUSTOR_TEST_LOCALSTACK names a Python that has it
// (docs/deploy-aws.md); a test skips where there is none.
func LocalStack(t testing.TB) *Server {
	t.Helper()
	python := asked(t, "FUSTOR_TEST_LOCALSTACK", "PYTHON, one with localstack-core[runtime]")
	return run(t, "localstack", func(address, dir string) *exec.Cmd {
		cmd := exec.Command(python, "-m", "localstack.runtime.main")
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") }), "HOME="+dir,
			"GATEWAY_LISTEN="+address, "SERVICES=s3", "FILESYSTEM_ROOT="+dir, "LOCALSTACK_VOLUME_DIR="+dir,
			"S3_SKIP_SIGNATURE_VALIDATION=0", "DISABLE_EVENTS=1", "SKIP_SSL_CERT_DOWNLOAD=1", "DNS_ADDRESS=0")
		return cmd
	})
}
