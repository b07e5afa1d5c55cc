package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// dist is what one `make release` made; the tests share it.
func dist(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FUSTOR_RELEASE")
	if dir == "" {
		t.Skip("make release-check runs this: it needs FUSTOR_RELEASE, a directory that make release wrote")
	}
	return dir
}

// need skips a test by the name of what is missing.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool, " is missing")
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// one is the one file of a release that a pattern names.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// TestSecondBuild makes the release again from another checkout of the commit, with an empty build cache for the platform of this machine:
// every byte must be the same.
func TestSecondBuild(t *testing.T) {
	first := dist(t)
	need(t, "git")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(run(t, "git", "-C", root, "rev-parse", "HEAD"))
	if dirty := run(t, "git", "-C", root, "status", "--porcelain"); dirty != "" {
		t.Fatalf("a release is of a commit, and this differs:\n%s", dirty)
	}
	elsewhere := filepath.Join(t.TempDir(), "another", "place")
	run(t, "git", "clone", "-q", root, elsewhere)
	run(t, "git", "-C", elsewhere, "checkout", "-q", "--detach", commit)
	version := regexp.MustCompile(`fustor_(.*)_linux_amd64\.tar\.gz`).FindStringSubmatch(filepath.Base(one(t, first, "fustor_*_linux_amd64.tar.gz")))[1]
	for _, build := range []struct{ name, cache, platforms string }{
		{"everything", "", platforms},
		{"without a cache", filepath.Join(t.TempDir(), "cache"), runtime.GOOS + "/" + runtime.GOARCH},
	} {
		second := filepath.Join(t.TempDir(), "dist")
		c := exec.CommandContext(t.Context(), "go", "run", ".", "-root", elsewhere, "-o", second, "-version", version, "-platforms", build.platforms)
		if build.cache != "" {
			c.Env = append(os.Environ(), "GOCACHE="+build.cache)
		}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", build.name, err, out)
		}
		made, err := os.ReadDir(second)
		if err != nil {
			t.Fatal(err)
		}
		same := 0
		for _, f := range made {
			if f.Name() == "SHA256SUMS" && build.cache != "" {
				continue // it has fewer files
			}
			a, errA := os.ReadFile(filepath.Join(first, f.Name()))
			b, errB := os.ReadFile(filepath.Join(second, f.Name()))
			if errors.Join(errA, errB) != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %s differs (%d and %d bytes), %v", build.name, f.Name(), len(a), len(b), errors.Join(errA, errB))
				continue
			}
			same++
		}
		t.Logf("%s: %d files are the same, byte for byte", build.name, same)
	}
}

// TestArchives: each platform has its archive, with programs of that platform, man pages that a formatter accepts, and a list of components.
func TestArchives(t *testing.T) {
	dir := dist(t)
	for _, platform := range strings.Split(platforms, ",") {
		system, arch, _ := strings.Cut(platform, "/")
		name := "fustor_*_" + system + "_" + arch
		var has map[string]int
		if system == "windows" {
			has = inZip(t, one(t, dir, name+".zip"))
		} else {
			has = inTar(t, one(t, dir, name+".tar.gz"))
		}
		want := []string{"man/fustor.1", "man/fustor-browse.1", "man/fustor-admin-key-create.1", "completions/fustor.bash", "completions/_fustor", "completions/fustor.fish", "LICENSE", "README.md", "CHANGELOG.md"}
		switch system {
		case "windows":
			want = append(want, "fustor.exe")
		case "linux":
			want = append(want, "fustor", "fustor-read", "systemd/fustor-agent.service")
		default:
			want = append(want, "fustor", "fustor-read")
		}
		for _, path := range want {
			if has[path] == 0 {
				t.Errorf("%s has no %s", platform, path)
			}
		}
		var bom struct {
			Format     string `json:"bomFormat"`
			Components []struct{ Name, Version, PURL string }
		}
		body, err := os.ReadFile(one(t, dir, name+".cdx.json"))
		if err := errors.Join(err, json.Unmarshal(body, &bom)); err != nil || bom.Format != "CycloneDX" || len(bom.Components) < 30 {
			t.Errorf("%s: %v, %d components", platform, err, len(bom.Components))
		}
	}
	need(t, "sha256sum")
	c := exec.CommandContext(t.Context(), "sha256sum", "-c", "--quiet", "SHA256SUMS")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func inTar(t *testing.T, path string) map[string]int {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]int{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return has
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		has[name] = int(h.Size)
	}
}

func inZip(t *testing.T, path string) map[string]int {
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	has := map[string]int{}
	for _, f := range z.File {
		_, name, _ := strings.Cut(f.Name, "/")
		has[name] = int(f.UncompressedSize64)
	}
	return has
}

// TestProgramsRun: the program of this machine says its version and commit; the others are of their systems.
func TestProgramsRun(t *testing.T) {
	dir, to := dist(t), t.TempDir()
	need(t, "tar")
	archive := one(t, dir, "fustor_*_"+runtime.GOOS+"_"+runtime.GOARCH+".tar.gz")
	run(t, "tar", "-xf", archive, "-C", to, "--strip-components=1")
	commit := strings.TrimSpace(run(t, "git", "rev-parse", "--short=12", "HEAD"))
	if said := run(t, filepath.Join(to, "fustor"), "version"); !strings.Contains(said, commit) || !strings.Contains(filepath.Base(archive), strings.Fields(said)[1]) {
		t.Errorf("fustor version: %s", said)
	}
	if out, err := exec.Command("ldd", filepath.Join(to, "fustor")).CombinedOutput(); err == nil {
		t.Errorf("it is not static: %s", out)
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is missing, for the man pages")
	}
	pages, err := filepath.Glob(filepath.Join(to, "man", "*.1"))
	if err != nil || len(pages) < 60 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		out, err := exec.Command("groff", "-man", "-K", "utf8", "-Tutf8", "-ww", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", filepath.Base(page), err, out)
		}
	}
}

// TestRPM: rpm reads the package, knows what is configuration, and finds nothing wrong with it.
func TestRPM(t *testing.T) {
	dir := dist(t)
	need(t, "rpm")
	for _, arch := range []string{"x86_64", "aarch64"} {
		rpm := one(t, dir, "fustor-*."+arch+".rpm")
		list := run(t, "rpm", "-qlp", rpm)
		for _, path := range []string{"/usr/bin/fustor", "/usr/bin/fustor-read", "/usr/lib/systemd/system/fustor-agent.service", "/usr/share/man/man1/fustor.1.gz", "/etc/fustor/agent.yaml",
			"/usr/share/bash-completion/completions/fustor", "/usr/share/zsh/site-functions/_fustor"} {
			if !strings.Contains(list, path+"\n") {
				t.Errorf("%s has no %s", rpm, path)
			}
		}
		if got := run(t, "rpm", "-qcp", rpm); got != "/etc/fustor/agent.yaml\n/etc/fustor/server.env\n" {
			t.Errorf("configuration is %q", got)
		}
		if got := run(t, "rpm", "-qp", "--queryformat", "%{ARCH} %{LICENSE} %{BUILDHOST}", rpm); got != arch+" Apache-2.0 localhost" {
			t.Errorf("%s: %q", rpm, got)
		}
		run(t, "rpm", "--checksig", "--nosignature", rpm)
	}
}

// TestDeb installs the package of an earlier version in a Debian of its own, configures it, upgrades it, and takes it away again.
func TestDeb(t *testing.T) {
	dir := dist(t)
	need(t, "debootstrap", "chroot", "dpkg-deb")
	if os.Getuid() != 0 {
		t.Skip("it needs root, for chroot")
	}
	arch := strings.TrimSpace(run(t, "dpkg", "--print-architecture"))
	deb := one(t, dir, "fustor_*_"+arch+".deb")
	root := filepath.Join(t.TempDir(), "debian")
	run(t, "debootstrap", append([]string{"--variant=minbase", "stable", root}, mirror(t)...)...)
	inside := func(command string) string {
		t.Helper()
		return run(t, "chroot", root, "/bin/sh", "-ec", command)
	}
	before := earlier(t, deb)
	for from, to := range map[string]string{before: "before.deb", deb: "now.deb"} {
		body, err := os.ReadFile(from)
		if err := errors.Join(err, os.WriteFile(filepath.Join(root, to), body, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	inside("dpkg -i /before.deb")
	if got := inside("stat -c '%U %G %a' /etc/fustor/server.env /etc/fustor/agent.yaml; getent passwd fustor | cut -d: -f6,7; fustor version | head -1"); !strings.HasPrefix(got, "root root 600\nroot root 644\n/var/lib/fustor:/usr/sbin/nologin\nfustor ") {
		t.Errorf("installed:\n%s", got)
	}
	inside("echo '# ours' >>/etc/fustor/agent.yaml; echo FUSTOR_STORE=s3://ours >/etc/fustor/server.env; echo key >/etc/fustor/ingest.key; mkdir -p /var/lib/fustor; echo state >/var/lib/fustor/state")
	inside("dpkg --force-confold -i /now.deb")
	if got := inside("tail -1 /etc/fustor/agent.yaml; cat /etc/fustor/server.env; stat -c %a /etc/fustor/server.env; cat /var/lib/fustor/state; dpkg-query -W -f '${Version}' fustor"); !strings.HasPrefix(got, "# ours\nFUSTOR_STORE=s3://ours\n600\nstate\n") || strings.Contains(got, "0.0.1") {
		t.Errorf("upgraded:\n%s", got)
	}
	if got := inside("fustor ls --url http://127.0.0.1:1 2>&1 || true"); !strings.Contains(got, "no answer from http://127.0.0.1:1") {
		t.Errorf("fustor-read: %s", got)
	}
	if got := inside("dpkg --verify fustor"); strings.Contains(strings.ReplaceAll(strings.ReplaceAll(got, "/etc/fustor/agent.yaml", ""), "/etc/fustor/server.env", ""), "/") && !strings.Contains(got, "/usr/share/") { // minimal systems leave documentation out
		t.Errorf("dpkg --verify: %s", got)
	}
	if _, err := exec.LookPath("systemd-analyze"); err == nil {
		units, err := filepath.Glob(filepath.Join(root, "usr/lib/systemd/system/fustor-*.service"))
		if err != nil || len(units) != 4 {
			t.Errorf("units are %q, %v", units, err)
		}
		out, _ := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, outside(t, root, units)...)...).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "fustor") {
				t.Errorf("systemd-analyze: %s", line)
			}
		}
	} else {
		t.Log("units were not verified: systemd-analyze is missing")
	}
	inside("dpkg -r fustor")
	if got := inside("ls /usr/bin/fustor 2>&1 || true; ls /etc/fustor; ls /var/lib/fustor"); !strings.Contains(got, "No such file") || !strings.Contains(got, "agent.yaml\nagent.yaml.dpkg-dist\ningest.key\nserver.env\nstate\n") {
		t.Errorf("removed:\n%s", got)
	}
	inside("dpkg -P fustor")
	if got := inside("ls /etc/fustor; ls /var/lib/fustor 2>&1 || true; dpkg-query -W fustor 2>&1 || true"); !strings.HasPrefix(got, "ingest.key\n") || !strings.Contains(got, "No such file") || !strings.Contains(got, "no packages found") {
		t.Errorf("purged:\n%s", got)
	}
}

// outside are copies of units whose programs are found from outside of a root: the Debian in it has no systemd to verify them.
func outside(t *testing.T, root string, units []string) (copies []string) {
	dir := t.TempDir()
	for _, unit := range units {
		body, err := os.ReadFile(unit)
		to := filepath.Join(dir, filepath.Base(unit))
		if err := errors.Join(err, os.WriteFile(to, bytes.ReplaceAll(body, []byte("=/usr/bin/fustor "), []byte("="+root+"/usr/bin/fustor ")), 0o644)); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, to)
	}
	return copies
}

// earlier is the same package with a lower version, and other configuration than this one brings.
func earlier(t *testing.T, deb string) string {
	dir := filepath.Join(t.TempDir(), "earlier")
	run(t, "dpkg-deb", "-R", deb, dir)
	control := filepath.Join(dir, "DEBIAN", "control")
	body, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	body = regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAll(body, []byte("Version: 0.0.1-1"))
	config := filepath.Join(dir, "etc", "fustor", "agent.yaml")
	shipped, err := os.ReadFile(config)
	if err := errors.Join(err, os.WriteFile(control, body, 0o644), os.WriteFile(config, append(shipped, "# as it was shipped before\n"...), 0o644)); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "before.deb")
	run(t, "dpkg-deb", "--root-owner-group", "-Znone", "-b", dir, to)
	return to
}

// mirror is where this machine has Debian's packages from; none: debootstrap's own.
func mirror(t *testing.T) []string {
	out, err := exec.CommandContext(t.Context(), "apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").Output()
	sites := slices.DeleteFunc(strings.Fields(string(out)), func(s string) bool { return !strings.HasPrefix(s, "http") || strings.Contains(s, "security") })
	if err != nil || len(sites) == 0 {
		return nil
	}
	return []string{strings.TrimSuffix(sites[0], "/") + "/"}
}
