package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// file is one that is released: in archives at path, in packages where packages.go says.
type file struct {
	path string // man/fustor.1
	body []byte
	mode os.FileMode
}

// programs builds fustor, and fustor-read where one program can take the place of another (execve).
func (r *release) programs(system, arch string) ([]file, error) {
	whole, err := r.build("fustor", system, arch, "")
	if err != nil || system == "windows" {
		return []file{whole}, err
	}
	reading, err := r.build("fustor-read", system, arch, "reading")
	return []file{whole, reading}, err
}

func (r *release) build(name, system, arch, tags string) (file, error) {
	if system == "windows" {
		name += ".exe"
	}
	to := filepath.Join(r.work, system+"-"+arch, name)
	flags := "-s -w -buildid= -X main.version=" + r.version + " -X main.commit=" + r.commit
	if tags == "" {
		flags += " -X github.com/fustor/fustor/cmd/fustor/internal/first.Version=" + r.version
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-tags", tags, "-ldflags", flags, "-o", to, "./cmd/fustor")
	build.Dir = r.root
	build.Env = append(withoutGo(os.Environ()), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return file{}, fmt.Errorf("go build of %s: %w: %s", name, err, out)
	}
	body, err := os.ReadFile(to)
	return file{name, body, 0o755}, err
}

// withoutGo is an environment without what makes Go build otherwise. Where Go finds its cache and its modules stays.
func withoutGo(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"GOFLAGS", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOFIPS140"}, name)
	})
}

// manual has fustor itself write its man pages and completions, and adds what every archive has beside them.
func (r *release) manual() (shared []file, err error) {
	host, err := r.build("fustor", runtime.GOOS, runtime.GOARCH, "")
	if err != nil {
		return nil, err
	}
	program, pages := filepath.Join(r.work, runtime.GOOS+"-"+runtime.GOARCH, host.path), filepath.Join(r.work, "man")
	if _, err := r.say(program, "manual", "--man", pages); err != nil {
		return nil, err
	}
	made, err := os.ReadDir(pages)
	if err != nil {
		return nil, err
	}
	for _, page := range made {
		body, err := os.ReadFile(filepath.Join(pages, page.Name()))
		if err != nil {
			return nil, err
		}
		shared = append(shared, file{"man/" + page.Name(), body, 0o644})
	}
	for _, c := range [][2]string{{"bash", "fustor.bash"}, {"fish", "fustor.fish"}, {"zsh", "_fustor"}} {
		body, err := r.say(program, "completion", c[0])
		if err != nil {
			return nil, err
		}
		shared = append(shared, file{"completions/" + c[1], body, 0o644})
	}
	for _, name := range []string{"CHANGELOG.md", "LICENSE", "README.md"} {
		body, err := os.ReadFile(filepath.Join(r.root, name))
		if err != nil {
			return nil, err
		}
		shared = append(shared, file{name, body, 0o644})
	}
	return shared, nil
}

// say is what a program prints, in an environment that says nothing but the date.
func (r *release) say(program string, args ...string) ([]byte, error) {
	c := exec.Command(program, args...)
	c.Env = []string{"HOME=" + r.work, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.date.Unix())}
	var diagnostics bytes.Buffer
	c.Stderr = &diagnostics
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("fustor %s: %w: %s", strings.Join(args, " "), err, diagnostics.String())
	}
	return out, nil
}
