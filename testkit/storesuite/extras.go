package storesuite

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// presign: whoever holds the grant may create that one object, and may do nothing else with it.
func (r *run) presign(t *testing.T) {
	s := r.open(t)
	const key = "up loads/ü+1.zst"
	upload, err := s.PresignCreate(t.Context(), key, time.Minute)
	if errors.Is(err, store.ErrUnsupported) {
		r.deviates(t, NoPresign, false, err.Error())
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(upload.Expires); left < 50*time.Second || left > time.Minute {
		t.Errorf("it expires in %v, want a minute", left)
	}
	bare := upload
	bare.Header = nil
	if status := send(t, bare, []byte("unconditional")); status/100 == 2 {
		t.Errorf("without the signed headers: HTTP %d", status)
	}
	other := upload
	other.URL = strings.Replace(upload.URL, "1.zst", "2.zst", 1)
	if status := send(t, other, []byte("elsewhere")); status != http.StatusForbidden {
		t.Errorf("to another key: HTTP %d, want 403", status)
	}
	if status := send(t, upload, []byte("granted")); status != http.StatusOK {
		t.Fatalf("HTTP %d, want 200", status)
	}
	if status := send(t, upload, []byte("again")); status != http.StatusPreconditionFailed {
		t.Errorf("second time: HTTP %d, want 412", status)
	}
	wantBody(t, s, key, []byte("granted"), "")
	r.deviates(t, NoPresign, true, "a presigned create works once")
}

func send(t *testing.T, upload store.Upload, b []byte) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), upload.Method, upload.URL, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = upload.Header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// notify: a store that offers notices sends the keys of new objects, under the prefix asked for, until told to stop.
func (r *run) notify(t *testing.T) {
	s := r.open(t)
	notifier, ok := store.AsNotifier(s)
	if !ok {
		r.deviates(t, NoNotify, false, "the backend has no such method")
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	keys, err := notifier.Notify(ctx, "watched/")
	if errors.Is(err, store.ErrUnsupported) {
		r.deviates(t, NoNotify, false, err.Error())
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	create(t, s, "not-watched/x", []byte("0"))
	creates := awaitNotice(t, s, keys)
	cancel()
	select {
	case _, open := <-keys:
		for open {
			_, open = <-keys
		}
	case <-time.After(10 * time.Second):
		t.Error("the channel is open 10 s after the end")
	}
	r.deviates(t, NoNotify, true, "there are notices")
	r.deviates(t, LateNotify, creates <= 10, fmt.Sprintf("the first notice came after %d creates, one every 100 ms", creates))
}

// awaitNotice creates objects until there is a notice of one, which it may miss while the subscription is on its way,
// and returns how many it took. Their keys are long and random, so that a server that holds notices back until a buffer
// is full, compressed or not, must come out with them.
func awaitNotice(t *testing.T, s store.Store, keys <-chan string) int {
	t.Helper()
	tick, deadline := time.NewTicker(100*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		create(t, s, "watched/a b/ü+/"+strings.Repeat(rand.Text()+rand.Text()+rand.Text()+"/", 5)+"x", []byte("1"))
		select {
		case key, open := <-keys:
			if !open || !strings.HasPrefix(key, "watched/a b/ü+/") {
				t.Errorf("notice of %q, open %v", key, open)
			}
			return n
		case <-tick.C:
		case <-deadline:
			t.Fatal("no notice within 30 s")
		}
	}
}

// upload: a body of any length becomes an object at its end, and one that fails leaves what was there.
func (r *run) upload(t *testing.T) {
	s := r.open(t)
	uploader, is := s.(store.Uploader)
	if r.deviates(t, NoUpload, is, "the backend has such a method: "+strconv.FormatBool(is)); !is {
		return
	}
	for _, n := range []int{0, 1000, 16 << 20, 16<<20 + 1} {
		b := body(n, "upload of %d bytes", n)[:n]
		key := fmt.Sprintf("up loads/ü%d.bin", n)
		if err := uploader.Upload(t.Context(), key, bytes.NewReader(b)); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		wantBody(t, s, key, b, "")
	}
	key := "up loads/ü1000.bin"
	broken := errors.New("broken")
	err := uploader.Upload(t.Context(), key, io.MultiReader(bytes.NewReader(make([]byte, 17<<20)), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("an upload that breaks off: %v", err)
	}
	wantBody(t, s, key, body(1000, "upload of %d bytes", 1000)[:1000], "")
}
