//go:build unix

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/wait"
)

// TestEveryLineOfTheLogIsJSON has all parts, through both SDKs, meet what makes libraries print lines of their own: peers that speak
// another protocol, that go away in the middle, a store that says what nobody asked for, that goes away and comes back. With
// --log-format json every line of stderr is JSON and has a time, a level and a message.
func TestEveryLineOfTheLogIsJSON(t *testing.T) {
	t.Parallel()
	flags := []string{"--log-format", "json", "--log-level", "debug"}
	minio := s3test.MinIO(t)
	for _, sdk := range []string{"minio", "s3"} {
		t.Run(sdk, func(t *testing.T) {
			t.Parallel()
			line := newLine(t, minio.Endpoint())
			storeURL := line.over(minio.URL(sdk, "json-"+sdk))
			setSessionTimeout(t, storeURL, 6*time.Second) // so that ingest asks the store often
			p := startParts(t, storeURL, flags...)
			dir := t.TempDir()
			agent := p.startAgent(dir, "agent-1", storeURL)
			work(t, dir, 21, operationsOf(300), nil)
			p.equal(t, dir, time.Now(), patience(settle))
			all := []*process{p.ingest, p.compact, p.query, agent}

			for _, address := range []string{hostOf(t, p.ingestURL), hostOf(t, p.queryURL)} {
				misbehave(t, address)
			}

			// Connections that wait for their next request are told something, as by a load balancer that has had enough of them.
			p.each(all, "to log what the store said by itself", func() { line.speak("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") },
				func(_ int, log string) bool { return strings.Contains(log, "Unsolicited response") })

			// The agent and the parts complain, each in its own way, while there is no store.
			line.cut()
			from := make([]int, len(all))
			for i, each := range all {
				from[i] = len(each.log.String())
			}
			n := 0
			p.each(all, "to log that the store is away", func() {
				n++
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("while the store is away ", n)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}, func(i int, log string) bool {
				return strings.Contains(log[from[i]:], `"level":"WARN"`) || strings.Contains(log[from[i]:], `"level":"ERROR"`)
			})
			line.mend()
			p.equal(t, dir, time.Now(), patience(30*time.Second))
			for _, each := range all {
				each.Stop()
				linesAreJSON(t, each)
			}
		})
	}
	t.Run("up", func(t *testing.T) {
		t.Parallel()
		u := &up{dir: t.TempDir(), data: t.TempDir()}
		u.server = server{"--data", u.data}
		work(t, u.dir, 22, operationsOf(300), nil)
		if err := os.Mkdir(filepath.Join(u.dir, "closed"), 0); err != nil {
			t.Fatal(err)
		}
		u.process = start(t, nil, append([]string{"up", u.dir, "--data", u.data, "--listen", "127.0.0.1:0"}, flags...)...)
		u.serves()
		u.await("to be ready", func() bool { return strings.Contains(u.log.String(), "ready after") })
		b, err := os.ReadFile(filepath.Join(u.data, "up.json"))
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ URL string }
		if err := json.Unmarshal(b, &said); err != nil {
			t.Fatal(err)
		}
		misbehave(t, hostOf(t, said.URL))
		u.Stop()
		linesAreJSON(t, u.process)
	})
	t.Run("ends at once", func(t *testing.T) {
		t.Parallel()
		for _, args := range []string{
			"ingest --no-such-flag", "ingest --store s3://127.0.0.1:1/nothing", "ingest --store file:///no/such/directory", "query --store nonsense://x",
			"compact --store minio://127.0.0.1:1/b?insecure=1", "agent --config /no/such/file", "agent /no/such/dir --ingest http://127.0.0.1:1",
			"doctor file:///no/such/directory", "healthcheck http://127.0.0.1:1", "up /no/such/dir --data " + t.TempDir(),
		} {
			end := command(t, nil, append(strings.Fields(args), flags...)...)
			if end.code == 0 || end.stderr == "" {
				t.Errorf("fustor %s: exit code %d; stderr %q", args, end.code, end.stderr)
			}
			for line := range strings.Lines(end.stderr) {
				if err := inJSON(line); err != nil {
					t.Errorf("fustor %s: %v", args, err)
				}
			}
		}
	})
}

// each asks query, which reads the store only then, and does something, until every process is as wanted.
func (p *parts) each(all []*process, what string, do func(), done func(i int, log string) bool) {
	p.t.Helper()
	for i, each := range all {
		each.await(what, func() bool {
			if done(i, each.log.String()) {
				return true
			}
			do()
			p.ask(p.t, "ls", "/")
			return done(i, each.log.String())
		})
	}
}

// misbehave does to a server on a plain port what clients should not do, and waits until it has dealt with that.
func misbehave(t *testing.T, address string) {
	t.Helper()
	dial := func() *net.TCPConn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(wait.Limit(10 * time.Second))); err != nil {
			t.Fatal(err)
		}
		return c.(*net.TCPConn)
	}
	c := dial()
	if err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a plain port speaks TLS")
	}
	c.Close()
	auth := "Host: x\r\nX-API-Key: " + apiKey + "\r\n"
	for _, said := range []string{
		"", "GET", "GET / HTTP/1.1\r\nHost:", "\x00\xff\x16\x03\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"POST /api/v1/views/" + viewID + "/scan HTTP/1.1\r\n" + auth + "Content-Length: 1000\r\n\r\n{",
		"POST /pipe/sessions HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET /api/v1/views/" + viewID + "/tree?path=/ HTTP/1.1\r\n" + auth + "\r\nGET / HTTP/1.1\r\n",
		"HEAD / HTTP/1.1\r\n" + auth + "Expect: 200-ok\r\n\r\n",
		"GET /" + strings.Repeat("x", 1<<19) + " HTTP/1.1\r\n\r\n",
	} {
		for _, reset := range []bool{false, true} {
			c := dial()
			_, _ = c.Write([]byte(said)) // the server may have had enough
			if reset {
				_ = c.SetLinger(0)
				c.Close()
				continue
			}
			_ = c.CloseWrite()
			answer := make([]byte, 1<<16)
			for {
				if _, err := c.Read(answer); err != nil {
					if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
						t.Errorf("%.40q is not answered, and the connection not ended", said)
					}
					break
				}
			}
			c.Close()
		}
	}
	if !answers((&url.URL{Scheme: "http", Host: address}).String()) {
		t.Errorf("%s does not answer afterwards", address)
	}
}

// linesAreJSON looks at all that a process has said.
func linesAreJSON(t *testing.T, p *process) {
	t.Helper()
	log := p.log.String()
	if strings.Count(log, "\n") < 2 {
		t.Errorf("fustor %s said nothing: %q", p.name, log)
	}
	for line := range strings.Lines(log) {
		if err := inJSON(line); err != nil {
			t.Errorf("fustor %s: %v", p.name, err)
		}
	}
}

// inJSON says what keeps a line from being one of a log in JSON.
func inJSON(line string) error {
	var entry struct {
		Time       time.Time
		Level, Msg string
	}
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		return fmt.Errorf("%w: %.300q", err, line)
	}
	if entry.Time.IsZero() || entry.Level == "" || entry.Msg == "" {
		return fmt.Errorf("no time, level or msg: %.300q", line)
	}
	return nil
}
