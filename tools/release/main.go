// Command release makes what operators install: for each platform an archive with the programs, man pages and completions, for Linux a deb
// and an rpm, a list of components (CycloneDX) beside each archive, and SHA256SUMS over all of it.
//
// One commit makes the same bytes wherever and however often it is built: times are those of the commit, builds know no paths, and nothing
// of the machine goes in. It is a module of its own, as nothing else needs nfpm. Run it as `make release`; `make release-check` tries it.
package main

import (
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// platforms are those that a release is for.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64,freebsd/amd64,freebsd/arm64"

// release is what one run makes.
type release struct {
	root    string // of the repository
	out     string // where it goes
	work    string // removed at the end
	version string // semantic, without a v
	commit  string
	date    time.Time // of every file
}

func main() {
	r := release{}
	flag.StringVar(&r.root, "root", filepath.Join("..", ".."), "the root of the repository")
	flag.StringVar(&r.out, "o", "", "the directory for what is made (default: dist in the root)")
	flag.StringVar(&r.version, "version", "0.1.0-dev", "the version, as of git describe")
	targets := flag.String("platforms", platforms, "what to build for")
	flag.Parse()
	if err := r.run(strings.Split(*targets, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) run(targets []string) (err error) {
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(cmp.Or(r.out, filepath.Join(r.root, "dist"))); err != nil {
		return err
	}
	r.version = strings.TrimPrefix(r.version, "v")
	if err := r.fromCommit(); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "fustor-release"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	shared, err := r.manual()
	if err != nil {
		return err
	}
	for _, target := range targets {
		system, arch, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("%q is no platform: pass linux/amd64 or the like", target)
		}
		if err := r.platform(system, arch, shared); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	return r.checksums()
}

// fromCommit reads which commit this is, and when it was made. SOURCE_DATE_EPOCH and SOURCE_COMMIT say it where there is no git.
func (r *release) fromCommit() error {
	seconds, hash := os.Getenv("SOURCE_DATE_EPOCH"), os.Getenv("SOURCE_COMMIT")
	if seconds == "" || hash == "" {
		out, err := exec.Command("git", "-C", r.root, "log", "-1", "--format=%ct %H").Output()
		if err != nil {
			return fmt.Errorf("git does not know the commit (%w): set SOURCE_DATE_EPOCH and SOURCE_COMMIT", err)
		}
		at, of, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		seconds, hash = cmp.Or(seconds, at), cmp.Or(hash, of)
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH is no number of seconds: %w", err)
	}
	r.date, r.commit = time.Unix(n, 0).UTC(), hash
	return nil
}

// platform makes everything for one platform.
func (r *release) platform(system, arch string, shared []file) error {
	programs, err := r.programs(system, arch)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("fustor_%s_%s_%s", r.version, system, arch)
	if err := r.archive(name, system, slices.Concat(programs, shared)); err != nil {
		return err
	}
	if err := r.components(name, programs); err != nil {
		return err
	}
	if system == "linux" {
		return r.packages(arch, programs, shared)
	}
	return nil
}

// checksums writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) checksums() error {
	made, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, f := range made {
		body, err := os.ReadFile(filepath.Join(r.out, f.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(body), f.Name())
		fmt.Printf("%12d  %s\n", len(body), f.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(list.String()), 0o644)
}
