package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// pacedServer serves h at short times, and reports what each request ended with.
func pacedServer(t *testing.T, pace Pace, h func(w http.ResponseWriter, r *http.Request) error) (address string, ended chan error) {
	t.Helper()
	ended = make(chan error, 100)
	frame := Frame{}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ended <- h(w, r) }))
	server := httptest.NewServer(pace.Wrap(Compress(frame)))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), ended
}

func dial(t *testing.T, address, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ends waits until a handler is done.
func ends(t *testing.T, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("a request is held open")
		return nil
	}
}

// A body that never comes ends the request, with a key and without, and where the handler does not read it.
func TestPaceOfBodies(t *testing.T) {
	address, ended := pacedServer(t, Pace{Stranger: 100 * time.Millisecond, Body: 400 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path == "/known" {
			Trust(w)
		}
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		}
		_, err := ReadBody(w, r, 1<<20)
		return err
	})
	for _, path := range []string{"/stranger", "/known"} {
		began := time.Now()
		dial(t, address, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n0123")
		if err := ends(t, ended); err == nil {
			t.Errorf("%s: a body of 4 bytes of 100 was whole", path)
		}
		if took := time.Since(began); path == "/known" && took < 400*time.Millisecond {
			t.Errorf("with a key it took %s only", took)
		}
	}
	conn := dial(t, address, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n0123")
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if all, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 401") {
		t.Errorf("%v %q", err, all)
	}
}

// A client that does not take its answer ends it; one that is slow but goes on gets all of it, compressed or not.
func TestPaceOfAnswers(t *testing.T) {
	const parts = 400
	line := []byte(strings.Repeat("0123456789abcde\n", 4<<10))
	address, ended := pacedServer(t, Pace{Answer: 3 * time.Second}, func(w http.ResponseWriter, _ *http.Request) error {
		Trust(w)
		w.Header().Set("Content-Type", "application/octet-stream")
		for range parts {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	})
	for range 20 {
		dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	for range 20 {
		if err := ends(t, ended); err == nil {
			t.Error("26 MB went to a client that reads nothing")
		}
	}
	conn := dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	total, beat := int64(0), time.NewTicker(time.Millisecond)
	defer beat.Stop()
	for {
		<-beat.C
		n, err := io.CopyN(io.Discard, resp.Body, int64(len(line)))
		if total += n; err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
	}
	if want := int64(parts * len(line)); total != want || ends(t, ended) != nil {
		t.Errorf("%d bytes of %d", total, want)
	}
}

// An answer that takes long to make is not bounded, nor is a stream with pauses, nor an upload that goes on; and the connection serves
// the next request.
func TestPaceLetsThrough(t *testing.T) {
	address, ended := pacedServer(t, Pace{Stranger: 2 * time.Second}, func(w http.ResponseWriter, r *http.Request) error {
		got, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return err
		}
		select {
		case <-time.After(2500 * time.Millisecond): // more than the time of a stranger
		case <-r.Context().Done():
			return r.Context().Err()
		}
		for range 3 {
			fmt.Fprintf(w, "%d\n", got)
			_ = http.NewResponseController(w).Flush()
		}
		return nil
	})
	client := &http.Client{}
	for range 2 {
		reader, writer := io.Pipe()
		go func() {
			beat := time.NewTicker(50 * time.Millisecond)
			defer beat.Stop()
			for range 60 { // longer than the time, but each part within it
				<-beat.C
				_, _ = writer.Write(bytes.Repeat([]byte("x"), PaceBytes))
			}
			writer.Close()
		}()
		for _, body := range []io.Reader{nil, strings.NewReader("four"), reader} {
			resp, err := client.Post("http://"+address, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || strings.Count(string(text), "\n") != 3 || ends(t, ended) != nil {
				t.Errorf("%q %v", text, err)
			}
		}
	}
}
