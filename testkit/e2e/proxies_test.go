//go:build unix

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/wait"
)

// nginxDefaults is what somebody writes who knows nothing of Fustor: HTTP/1.0 to the upstream, and answers buffered.
const nginxDefaults = `
events {}
http {
	server {
		listen 8443;
		location /ingest/ { proxy_pass http://127.0.0.1:8081/; client_max_body_size 64m; }
		location / { proxy_pass http://127.0.0.1:8080; }
	}
}
`

// proxy is one reverse proxy on a free port, in front of query and ingest.
func startProxy(t *testing.T, kind, config, query, ingest string) string {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	config = strings.NewReplacer(
		"127.0.0.1:8080", query, "127.0.0.1:8081", ingest,
		"listen 8443;", "listen "+address+";", "bind :8443", "bind "+address, ":8443 {", "http://"+address+" {",
		// nginx writes where Debian has it compiled to, which only root may.
		"http {", "http {\n\taccess_log off;\n\tclient_body_temp_path "+dir+"/body;\n\tproxy_temp_path "+dir+"/proxy;\n\tfastcgi_temp_path "+dir+"/f;\n\tuwsgi_temp_path "+dir+"/u;\n\tscgi_temp_path "+dir+"/s;",
	).Replace(config)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: kind, binary: proxyBinary(t, kind), env: []string{"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir}}
	switch kind {
	case "nginx":
		p.args = []string{"-p", dir, "-c", file, "-g", "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;"}
	case "haproxy":
		p.args = []string{"-db", "-f", file}
	case "caddy":
		p.args = []string{"run", "--config", file, "--adapter", "caddyfile"}
	}
	startProcess(t, p)
	p.await("to listen", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// proxyBinary skips the test by name where the proxy is not installed.
func proxyBinary(t *testing.T, kind string) string {
	t.Helper()
	for _, name := range []string{kind, "/usr/sbin/" + kind} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed", kind)
	return ""
}

// freeAddress is an address of this machine on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// shipped is a configuration of infra/proxy.
func shipped(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../infra/proxy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// TestBehindProxies does the main job, agent and readers, through each configuration of infra/proxy as it is shipped, and through a chain
// of all three whose first is an nginx with its defaults. Answers are the tree, a scan is waited for, changes come as they are made, and a
// stream that breaks off is never taken for a whole one.
func TestBehindProxies(t *testing.T) {
	type hop struct{ kind, config string }
	nginx := hop{"nginx", shipped(t, "nginx.conf")}
	haproxy := hop{"haproxy", shipped(t, "haproxy.cfg")}
	caddy := hop{"caddy", shipped(t, "Caddyfile")}
	for name, chain := range map[string][]hop{
		"nginx": {nginx}, "haproxy": {haproxy}, "caddy": {caddy},
		"chain": {{"nginx", nginxDefaults}, haproxy, caddy}, // the first is next to the parts
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, h := range chain {
				proxyBinary(t, h.kind)
			}
			p := startParts(t, fileStore(t))
			query, ingest := hostOf(t, p.queryURL), hostOf(t, p.ingestURL)
			for i, h := range chain {
				config := h.config
				if i > 0 { // what is behind it has the paths of both parts already
					config = strings.NewReplacer("handle_path", "handle", `http-request replace-path /ingest/(.*) /\1`, "").Replace(config)
				}
				query = startProxy(t, h.kind, config, query, ingest)
				ingest = query
			}
			front := "http://" + query
			p.ingestURL, p.server = front+"/ingest", server{"--url", front, "--api-key", apiKey, "--view", viewID}

			dir := t.TempDir()
			p.startAgent(dir, "agent-1", "")
			work(t, dir, 20, operationsOf(2_000), nil)
			p.equal(t, dir, time.Now(), patience(settle))
			if r := p.ask(t, "scan", "/", "--wait"); r.code != 0 {
				t.Errorf("a scan that is waited for: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			p.feeds(t, dir, front)
			p.cutOff(t, dir)
		})
	}
}

// cutOff kills query while it sends a long stream, and wants the command to say that the answer is not whole.
func (p *parts) cutOff(t *testing.T, dir string) {
	t.Helper()
	const many = 30_000
	sub := filepath.Join(dir, "many")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("a file with a name of some length %06d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.equal(t, dir, time.Now(), patience(settle))

	// The command reads the first lines and then nobody reads what it prints, so that everything between it and query fills up.
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(patience(2*time.Minute)))
	defer cancel()
	cmd := exec.CommandContext(ctx, fustor, append([]string{"find", "/", "--json"}, p.server...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make([]byte, 4096)
	if _, err := out.Read(read); err != nil {
		t.Fatal(err)
	}
	p.query.signal(syscall.SIGKILL)
	lines := strings.Count(string(read), "\n")
	for {
		n, err := out.Read(read)
		lines += strings.Count(string(read[:n]), "\n")
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	if whole := lines > many; (err == nil) != whole {
		t.Errorf("%d lines of more than %d, and the command ended with %v\n%s", lines, many, err, said.String())
	} else if whole {
		t.Logf("the whole answer was under way before query was killed")
	}
}

// TestProxyThatLimits has the limits of infra/proxy/nginx.conf, smaller, be reached: commands say what it is and what to do, the agent
// loses nothing and is let in again.
func TestProxyThatLimits(t *testing.T) {
	config := strings.NewReplacer("# limit_", "limit_", "open 256", "open 2", "rate=100r/s", "rate=20r/s", "burst=500", "burst=10")
	const connections, requests = "limit_req zone", "limit_conn open"
	for what, without := range map[string]string{"connections": connections, "requests": requests} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			proxyBinary(t, "nginx")
			p := startParts(t, fileStore(t))
			conf := config.Replace(shipped(t, "nginx.conf"))
			if !strings.Contains(conf, "\tlimit_conn open 2;") || !strings.Contains(conf, "\tlimit_req zone=rate burst=10 nodelay;") {
				t.Fatalf("the configuration has other limits:\n%s", conf)
			}
			front := startProxy(t, "nginx", strings.Replace(conf, without, "# "+without, 1), hostOf(t, p.queryURL), hostOf(t, p.ingestURL))
			direct := p.server
			p.ingestURL, p.server = "http://"+front+"/ingest", server{"--url", "http://" + front, "--api-key", apiKey, "--view", viewID}
			dir := t.TempDir()
			agent := p.startAgent(dir, "agent-1", "")
			work(t, dir, 23, operationsOf(200), nil)
			direct.equal(t, dir, time.Now(), patience(settle))

			full := make(chan struct{})
			var crowd sync.WaitGroup
			for range 10 { // as many as it takes, at once
				crowd.Go(func() {
					for {
						select {
						case <-full:
							return
						default:
						}
						if what == "requests" {
							answers("http://" + front)
							continue
						}
						occupy(front, full)
					}
				})
			}
			eventually(t, patience(10*time.Second), "a command is refused by the proxy", func() bool {
				r := p.ask(t, "find", "/")
				return r.code == 1 && strings.Contains(r.stderr, "429 too many requests") && strings.Contains(r.stderr, "a proxy on the way limits requests: try again")
			})
			n := 0
			agent.await("to be refused by the proxy", func() bool {
				n++
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("while it is crowded ", n)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				return strings.Contains(agent.log.String(), "429 Too Many Requests")
			})
			close(full)
			crowd.Wait()
			direct.equal(t, dir, time.Now(), patience(settle))
			p.equal(t, dir, time.Now(), patience(settle))
		})
	}
}

// occupy has a request under way, whose body does not come, until the proxy refuses it or done is closed.
func occupy(address string, done <-chan struct{}) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "PUT /ingest/ HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 10\r\n\r\n", apiKey)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.Read(make([]byte, 1))
	}()
	select {
	case <-done:
	case <-ended:
	}
}

// feeds follows a view by server-sent events and by `fustor watch`, each change once, and kills query in between.
func (p *parts) feeds(t *testing.T, dir, front string) {
	t.Helper()
	began := time.Now()
	watch := &watchProcess{args: append([]string{"/", "--json", "--name", "feed-*", "--type", "f"}, p.server...)}
	watch.start(t)
	defer func() { watch.kill() }()
	changes := func(line []byte) (path string) {
		var l watchLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.Complete || l.Change != "added" {
			return ""
		}
		return l.Path
	}
	<-watch.lines // where it begins
	id, lines, end := p.feed(t, front, "")
	for i := range 4 {
		name := fmt.Sprintf("/feed-%d", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		for got := ""; got == ""; {
			line, ok := <-watch.lines
			if !ok {
				t.Fatalf("the watch has ended: %s", watch.said.String())
			}
			if got = changes(line); got != "" && got != name {
				t.Fatalf("the watch prints %q, not %q", got, name)
			}
		}
		for got := ""; got == ""; {
			e, ok := <-lines
			if !ok { // as a browser does
				id, lines, end = p.feed(t, front, id)
				continue
			}
			if e.id != "" {
				id = e.id
			}
			if e.data != nil {
				if got = changes(append(e.data[:len(e.data)-1], `,"cursor":"x"}`...)); got != "" && got != name {
					t.Fatalf("the events have %q, not %q", got, name)
				}
			}
		}
		if i == 1 {
			p.query.Kill()
			p.query.Restart()
		}
	}
	end()
	t.Logf("feeds followed in %v", time.Since(began).Round(time.Millisecond))
}

// serverEvent is an event of a feed.
type serverEvent struct {
	id   string
	data []byte // of a change
}

// feed connects to a feed of server-sent events until there is a server. The channel ends with the connection.
func (p *parts) feed(t *testing.T, front, id string) (last string, events chan serverEvent, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var resp *http.Response
	eventually(t, patience(time.Minute), "the feed is open", func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, front+"/api/v1/views/"+viewID+"/changes?name=feed-*&type=f", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", apiKey)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Last-Event-ID", id)
		if resp, err = http.DefaultClient.Do(req); err != nil {
			return false
		}
		if resp.StatusCode != http.StatusOK {
			resp.Body.Close()
		}
		return resp.StatusCode == http.StatusOK
	})
	events = make(chan serverEvent)
	read := func(lines *bufio.Scanner) (e serverEvent, ok bool) {
		name := ""
		for lines.Scan() {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "event":
				name = value
			case "id":
				e.id = value
			case "data":
				if name == "change" {
					e.data = []byte(value)
				}
			case "":
				if e.id != "" {
					return e, true
				}
			}
		}
		return e, false
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	if id == "" { // where it begins
		e, ok := read(lines)
		if !ok {
			t.Fatal("the feed ends before it begins")
		}
		id = e.id
	}
	go func() {
		defer close(events)
		defer resp.Body.Close()
		for {
			e, ok := read(lines)
			if !ok {
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return id, events, cancel
}
