//go:build unix

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/wait"
)

// composeFile is what Fustor's Compose file uses of the format; anything else in it is a mistake.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Fustor   any                       `yaml:"x-fustor"`
	Store    any                       `yaml:"x-store"`
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Build       map[string]string `yaml:"build"`
	Profiles    []string          `yaml:"profiles"`
	User        string            `yaml:"user"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Restart     string            `yaml:"restart"`
	NetworkMode string            `yaml:"network_mode"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Tmpfs       []string          `yaml:"tmpfs"`
	Ports       []string          `yaml:"ports"`
	Networks    map[string]any    `yaml:"networks"`
	Healthcheck *struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		Retries     int      `yaml:"retries"`
		StartPeriod string   `yaml:"start_period"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
		Required  *bool  `yaml:"required"`
	} `yaml:"depends_on"`
}

const composeDir = "../../infra/compose"

// compose is the file's services as processes of this machine.
type compose struct {
	t        *testing.T
	file     composeFile
	variable map[string]string // .env
	binaries map[string]string // by image, without its tag
	ports    map[string]string // of the containers -> of this machine
	volumes  map[string]string // named ones -> directories
	running  map[string]*service
	user     *syscall.Credential
}

type service struct {
	process *process
	probe   func() bool // its health check; nil: none
}

// TestCompose starts what the Compose file says as processes of this machine, with the same environment, arguments, users
// and health checks, and sees the demo directory in a query. What they all say at their most talkative, also when the
// store fails them, has none of the secrets in it.
func TestCompose(t *testing.T) {
	t.Parallel()
	binary := imageBinary(t)
	for _, profile := range []string{"minio", "versitygw"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			c := newCompose(t, profile, binary)
			c.secure()
			for _, name := range []string{"query", "agent", "compactor"} {
				c.up(name)
			}
			reader := server{"--url", "http://" + c.place(":8080"), "--view", "demo"}
			env := []string{"FUSTOR_API_KEY=" + c.variable["FUSTOR_READER_KEY"]}
			find := append([]string{"find"}, reader...)
			eventually(t, patience(30*time.Second), "the demo directory is in a query", func() bool {
				return strings.Contains(command(t, env, find...).stdout, "/README.txt")
			})
			for name, s := range c.running {
				if s.probe != nil {
					eventually(t, patience(30*time.Second), name+" is healthy", s.probe)
				}
			}
			c.troubles(profile)
			if err := os.WriteFile(filepath.Join(c.volumes["./demo"], "later"), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			eventually(t, patience(60*time.Second), "a later file is in a query", func() bool {
				return strings.Contains(command(t, env, find...).stdout, "/later")
			})
			c.silent()
		})
	}
}

func newCompose(t *testing.T, profile, binary string) *compose {
	t.Helper()
	c := &compose{t: t, variable: map[string]string{}, volumes: map[string]string{}, running: map[string]*service{}, ports: map[string]string{}}
	env := filepath.Join(t.TempDir(), ".env")
	if out, err := exec.Command(filepath.Join(composeDir, "make-env.sh"), env).CombinedOutput(); err != nil {
		t.Fatalf("make-env.sh: %v\n%s", err, out)
	}
	lines, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(lines), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			c.variable[name] = value
		}
	}
	c.variable["COMPOSE_PROFILES"] = profile
	raw, err := os.ReadFile(filepath.Join(composeDir, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewDecoder(bytes.NewReader([]byte(c.interpolate(string(raw)))), yaml.Strict(), yaml.AllowDuplicateMapKey()).Decode(&c.file); err != nil {
		t.Fatalf("docker-compose.yml: %s", yaml.FormatError(err, false, true))
	}
	for _, port := range []string{"9000", "8080", "8081", "8082", "9464"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.ports[port] = l.Addr().String()
		defer l.Close()
	}
	for _, name := range []string{"objects", "agent-state", "./demo", "/tmp"} {
		c.volumes[name] = shared(t)
	}
	if os.Geteuid() == 0 {
		c.user = &syscall.Credential{Uid: 65532, Gid: 65532, NoSetGroups: true}
		for _, name := range []string{"objects", "agent-state", "/tmp"} {
			if err := os.Chown(c.volumes[name], 65532, 65532); err != nil {
				t.Fatal(err)
			}
		}
	}
	readme, err := os.ReadFile(filepath.Join(composeDir, "demo", "README.txt"))
	if err == nil {
		err = os.WriteFile(filepath.Join(c.volumes["./demo"], "README.txt"), readme, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.binaries = map[string]string{"fustor": binary, "minio/minio": "minio", "versity/versitygw": "versitygw"}
	return c
}

// shared is a directory that other users can reach.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fustor-compose-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

var substitution = regexp.MustCompile(`\$\{(\w+)(?:(:-|:\?)([^}]*))?\}`)

// interpolate puts the variables of .env into the file, as Compose does.
func (c *compose) interpolate(text string) string {
	c.t.Helper()
	return substitution.ReplaceAllStringFunc(text, func(all string) string {
		part := substitution.FindStringSubmatch(all)
		value := c.variable[part[1]]
		switch {
		case value == "" && part[2] == ":-":
			return part[3]
		case value == "" && part[2] == ":?":
			c.t.Fatalf("%s is not set: %s", part[1], part[3])
		}
		return value
	})
}

// secure checks what cannot be run here: that every service is set to have few rights, and that no secret has a default.
func (c *compose) secure() {
	c.t.Helper()
	for name, s := range c.file.Services {
		switch {
		case s.User != "65532:65532", !s.ReadOnly, !slices.Equal(s.CapDrop, []string{"ALL"}), !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}):
			c.t.Errorf("service %s may do more than it needs to", name)
		case s.Restart == "":
			c.t.Errorf("service %s has no restart policy", name)
		case s.Restart == "unless-stopped" && s.Healthcheck == nil:
			c.t.Errorf("service %s has no health check", name)
		}
		if !strings.HasPrefix(s.Image, "fustor:") && !strings.ContainsAny(s.Image[strings.IndexByte(s.Image, ':')+1:], "0123456789") {
			c.t.Errorf("service %s has no pinned image: %s", name, s.Image)
		}
	}
	raw, err := os.ReadFile(filepath.Join(composeDir, "docker-compose.yml"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, line := range strings.Split(string(raw), "\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if regexp.MustCompile(`^[A-Z_]*(KEY|PASSWORD|SECRET)[A-Z_]*$`).MatchString(name) && !regexp.MustCompile(`^\$\{\w+:\?`).MatchString(value) {
			c.t.Errorf("a secret with a default: %s", line)
		}
	}
}

var containerAddress = regexp.MustCompile(`(\b(?:store|ingest|compactor|query|127\.0\.0\.1))?:(9000|8080|8081|8082|9464)\b`)

// place puts this machine's addresses and directories into a word of the file.
func (c *compose) place(word string, mounts ...string) string {
	word = containerAddress.ReplaceAllStringFunc(word, func(at string) string { return c.ports[at[strings.LastIndexByte(at, ':')+1:]] })
	for _, m := range mounts {
		from, to, _ := strings.Cut(m, ":")
		to, _, _ = strings.Cut(to, ":")
		if to == "" {
			to = from // tmpfs
		}
		if word == to || strings.HasPrefix(word, to+"/") {
			return c.volumes[from] + word[len(to):]
		}
	}
	return word
}

// up starts a service, after those that it depends on.
func (c *compose) up(name string) {
	c.t.Helper()
	if c.running[name] != nil {
		return
	}
	s, ok := c.file.Services[name]
	if !ok {
		c.t.Fatalf("there is no service %s", name)
	}
	for other, on := range s.DependsOn {
		if needed := c.file.Services[other]; len(needed.Profiles) > 0 && !slices.Contains(needed.Profiles, c.variable["COMPOSE_PROFILES"]) {
			if on.Required == nil || *on.Required {
				c.t.Fatalf("%s needs %s, which does not run", name, other)
			}
			continue
		}
		c.up(other)
		switch dependency := c.running[other]; on.Condition {
		case "service_started":
		case "service_healthy":
			eventually(c.t, patience(60*time.Second), other+" is healthy", dependency.probe)
		case "service_completed_successfully":
			eventually(c.t, patience(120*time.Second), other+" ends", func() bool { return !dependency.process.running() })
			if code := dependency.process.cmd.ProcessState.ExitCode(); code != 0 {
				c.t.Fatalf("%s ends with exit code %d", other, code)
			}
		default:
			c.t.Fatalf("%s depends on %s on an unknown condition %q", name, other, on.Condition)
		}
	}
	c.run(name, s)
}

func (c *compose) run(name string, s composeService) {
	c.t.Helper()
	mounts := append(slices.Clone(s.Volumes), s.Tmpfs...)
	var args []string
	for _, word := range s.Command {
		args = append(args, c.place(word, mounts...))
	}
	image, _, _ := strings.Cut(s.Image, ":")
	binary := c.binaries[image]
	if image == "fustor" {
		args = append([]string{"--log-level", "debug"}, args...)
	} else {
		binary = copyOf(c.t, s3test.Binary(c.t, binary))
	}
	// As in a container of a user without a name, there is nothing but this.
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}
	for variable, value := range s.Environment {
		env = append(env, variable+"="+c.place(value, mounts...))
	}
	p := &process{t: c.t, name: name, args: args, env: env, binary: binary, only: true, user: c.user}
	p.run()
	c.t.Cleanup(func() {
		p.Kill()
		if c.t.Failed() {
			c.t.Logf("service %s said:\n%s", name, p.log.tail(25))
		}
	})
	started := &service{process: p}
	if s.Healthcheck != nil {
		started.probe = c.probe(s.Healthcheck.Test, env)
	}
	c.running[name] = started
}

// probe is a health check. Those of fustor are run; those of other images, which have curl or wget, are sent.
func (c *compose) probe(test, env []string) func() bool {
	c.t.Helper()
	if test[0] != "CMD" {
		c.t.Fatalf("a health check needs a shell, which the image does not have: %v", test)
	}
	target := c.place(test[len(test)-1])
	if test[1] != "/usr/local/bin/fustor" {
		return func() bool { return get(target) == http.StatusOK }
	}
	return func() bool {
		cmd := exec.Command(c.binaries["fustor"], append(slices.Clone(test[2:len(test)-1]), target)...)
		cmd.Env = env
		return cmd.Run() == nil
	}
}

func get(url string) int {
	answer, err := http.Get(url)
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// troubles has the parts meet what makes them talk: wrong keys, a wrong URL, and a store that goes away.
func (c *compose) troubles(profile string) {
	c.t.Helper()
	query, ingest := "http://"+c.place(":8080"), "http://"+c.place(":8081")
	url := c.place("minio://store:9000/fustor?tls=false")
	credentials := []string{"AWS_ACCESS_KEY_ID=" + c.variable["STORE_ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY=" + c.variable["STORE_SECRET_KEY"]}
	agentKey, readerKey := "FUSTOR_API_KEY="+c.variable["FUSTOR_AGENT_KEY"], "FUSTOR_API_KEY="+c.variable["FUSTOR_READER_KEY"]
	fails := func(env []string, args ...string) {
		c.t.Helper()
		r := command(c.t, env, append([]string{"--log-level", "debug"}, args...)...)
		if r.code == 0 {
			c.t.Errorf("fustor %v does not fail", args)
		}
		c.check("fustor "+args[0], r.stdout+r.stderr)
	}
	fails([]string{agentKey}, "find", "--url", query, "--view", "demo")
	fails([]string{readerKey}, "admin", "view", "list", "--url", ingest)
	fails([]string{readerKey}, "find", "--url", query, "--view", "other")
	fails([]string{readerKey}, "admin", "key", "list", "--url", "http://"+c.variable["STORE_SECRET_KEY"]+"@127.0.0.1:1")
	fails(credentials, "doctor", strings.Replace(url, "minio://", "minio://a:"+c.variable["STORE_SECRET_KEY"]+"@", 1))
	fails([]string{credentials[0], "AWS_SECRET_ACCESS_KEY=" + c.variable["FUSTOR_ADMIN_KEY"]}, "ingest", "--store", url, "--listen", "127.0.0.1:0")
	ok := command(c.t, append(credentials, "FUSTOR_STORE="+url), "admin", "key", "list")
	if ok.code != 0 || !strings.Contains(ok.stdout, "agent-key") {
		c.t.Errorf("admin key list: %d %s%s", ok.code, ok.stdout, ok.stderr)
	}
	c.check("admin key list", ok.stdout+ok.stderr)

	store := c.running[profile].process
	from := len(c.running["agent"].process.log.String())
	store.signal(syscall.SIGSTOP)
	if err := os.WriteFile(filepath.Join(c.volumes["./demo"], "during"), []byte("x"), 0o644); err != nil {
		c.t.Fatal(err)
	}
	store.Kill()
	c.running["agent"].process.says(regexp.MustCompile("segment not sent|heartbeat"), from)
	get(query + "/readyz")
	store.Restart()
}

// silent checks that no process has told a secret, nor shows one in the process list.
func (c *compose) silent() {
	c.t.Helper()
	for name, s := range c.running {
		c.check(name, s.process.log.String())
		if line, err := os.ReadFile("/proc/" + strconv.Itoa(s.process.cmd.Process.Pid) + "/cmdline"); err == nil {
			c.check(name+"'s arguments", string(line))
		}
		if name != "volumes" && !strings.Contains(name, "setup") && strings.HasPrefix(c.file.Services[name].Image, "fustor") && s.process.log.String() == "" {
			c.t.Errorf("%s said nothing at all", name)
		}
	}
}

// check looks for the secrets of .env, for their hashes, and for presigned uploads, which are secrets for five minutes.
func (c *compose) check(who, said string) {
	c.t.Helper()
	for name, value := range c.variable {
		if len(value) >= 32 && strings.Contains(said, value) {
			c.t.Errorf("%s tells %s", who, name)
		}
	}
	if strings.Contains(said, "X-Amz-Signature") {
		c.t.Errorf("%s tells a presigned URL", who)
	}
}

// imageBinary is fustor as the Dockerfile builds it: its Go commands are run as they stand there.
func imageBinary(t *testing.T) string {
	t.Helper()
	dir := shared(t)
	raw, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, line := range strings.Split(strings.ReplaceAll(string(raw), "\\\n", ""), "\n") {
		build, ok := strings.CutPrefix(line, "RUN ")
		if !ok || !strings.Contains(build, "go build") {
			continue
		}
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(build, "/out/", dir+"/"))
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH, "VERSION=test")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", build, err, out)
		}
		ran++
	}
	binary := filepath.Join(dir, "fustor")
	if out, err := exec.Command(binary, "version").CombinedOutput(); ran != 1 || err != nil || !strings.Contains(string(out), "test") {
		t.Fatalf("the Dockerfile's %d builds made %q, %v", ran, out, err)
	}
	return binary
}

// copyOf is a program where every user can reach it.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(shared(t), filepath.Base(path))
	if err := os.WriteFile(to, body, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestComposeConfig has Compose itself read the file, where it is installed.
func TestComposeConfig(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(time.Minute))
	defer cancel()
	if err := exec.CommandContext(ctx, "docker", "compose", "version").Run(); err != nil {
		t.Skip("needs docker compose: the plugin is not installed")
	}
	env := filepath.Join(t.TempDir(), ".env")
	if out, err := exec.Command(filepath.Join(composeDir, "make-env.sh"), env).CombinedOutput(); err != nil {
		t.Fatalf("make-env.sh: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, "docker", "compose", "--file", filepath.Join(composeDir, "docker-compose.yml"), "--env-file", env, "config", "--quiet").CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) || err != nil {
		t.Fatal(fmt.Errorf("docker compose config: %w\n%s", err, out))
	}
}
