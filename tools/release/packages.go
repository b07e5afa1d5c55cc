package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// units are the systemd units, for programs in a directory.
func (r *release) units(bin string) (out []file, err error) {
	names, err := filepath.Glob(filepath.Join(r.root, "infra", "systemd", "*.service"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, file{filepath.Base(name), bytes.ReplaceAll(body, []byte("/usr/local/bin/"), []byte(bin+"/")), 0o644})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there are no units in %s", filepath.Join(r.root, "infra", "systemd"))
	}
	return out, nil
}

// packages makes a deb and an rpm.
func (r *release) packages(arch string, programs, shared []file) error {
	for _, format := range []string{"deb", "rpm"} {
		contents, err := r.contents(format, filepath.Join(r.work, format+"-"+arch), programs, shared)
		if err != nil {
			return err
		}
		if err := r.pack(format, arch, contents); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// contents are what a package has, and where; the files are written to a directory first.
func (r *release) contents(format, dir string, programs, shared []file) (out files.Contents, err error) {
	add := func(to, kind string, body []byte, mode os.FileMode) {
		if err != nil {
			return
		}
		from := filepath.Join(dir, to)
		if err = os.MkdirAll(filepath.Dir(from), 0o755); err == nil {
			err = os.WriteFile(from, body, 0o600)
		}
		out = append(out, &files.Content{Source: from, Destination: to, Type: kind, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.date}})
	}
	packed := func(to string, body []byte) {
		z, failed := gzipped(body)
		if failed != nil {
			err = failed
		}
		add(to, "", z, 0o644)
	}
	for _, f := range programs {
		add("/usr/bin/"+f.path, "", f.body, f.mode)
	}
	zsh := map[string]string{"deb": "/usr/share/zsh/vendor-completions/", "rpm": "/usr/share/zsh/site-functions/"}[format]
	for _, f := range shared {
		switch name := filepath.Base(f.path); {
		case strings.HasPrefix(f.path, "man/"):
			packed("/usr/share/man/man1/"+name+".gz", f.body)
		case name == "fustor.bash":
			add("/usr/share/bash-completion/completions/fustor", "", f.body, f.mode)
		case name == "fustor.fish":
			add("/usr/share/fish/vendor_completions.d/fustor.fish", "", f.body, f.mode)
		case name == "_fustor":
			add(zsh+name, "", f.body, f.mode)
		case name == "LICENSE":
			add("/usr/share/doc/fustor/copyright", "", f.body, f.mode)
		case name == "CHANGELOG.md":
			packed("/usr/share/doc/fustor/changelog.gz", f.body)
		default:
			add("/usr/share/doc/fustor/"+name, "", f.body, f.mode)
		}
	}
	units, failed := r.units("/usr/bin")
	if failed != nil {
		return nil, failed
	}
	for _, u := range units {
		add("/usr/lib/systemd/system/"+u.path, "", u.body, u.mode)
	}
	// What an administrator writes stays as it is: dpkg asks, and rpm puts the new one beside it.
	for name, mode := range map[string]os.FileMode{"agent.yaml": 0o644, "server.env": 0o600} {
		body, failed := os.ReadFile(filepath.Join(r.root, "infra", "systemd", name))
		if failed != nil {
			return nil, failed
		}
		add("/etc/fustor/"+name, files.TypeConfigNoReplace, body, mode)
	}
	return out, err
}

func (r *release) pack(format, arch string, contents files.Contents) error {
	script := func(name string) string { return filepath.Join(r.root, "infra", "packages", name) }
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "fustor", Arch: arch, Platform: "linux", Version: r.version, Release: "1", MTime: r.date, Section: "admin", Priority: "optional",
		Maintainer: "The Fustor authors <fustor@users.noreply.github.com>", Homepage: "https://github.com/fustor/fustor", License: "Apache-2.0", DisableGlobbing: true,
		Description: "queryable, always current index of huge file trees\nAgents watch and scan file trees, and object storage keeps what they saw. Commands, an HTTP API and a web\npage answer what is where, how large, whose and since when.",
		Overridables: nfpm.Overridables{
			Contents: contents,
			Scripts:  nfpm.Scripts{PostInstall: script("postinstall.sh"), PreRemove: script("preremove.sh"), PostRemove: script("postremove.sh")},
			Deb:      nfpm.Deb{Compression: "gzip:9"},
			RPM:      nfpm.RPM{Compression: "gzip:9", BuildHost: "localhost", Summary: "Queryable, always current index of huge file trees"},
			Depends:  map[string][]string{"deb": {"passwd"}, "rpm": {"shadow-utils"}}[format],
		},
	})
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := packager.Package(info, io.Writer(&packed)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, packager.ConventionalFileName(info)), packed.Bytes(), 0o644)
}
