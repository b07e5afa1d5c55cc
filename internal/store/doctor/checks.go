package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/store"
)

// check tries one rule. What it returns is what was seen, or how the rule was broken.
type check struct {
	name     string
	required bool
	hint     string
	try      func(context.Context, *probe) (detail string, err error)
}

const (
	conditionsHint = "use a server that supports conditional writes (If-None-Match: * and If-Match), such as Amazon S3, MinIO or versitygw"
	consistentHint = "use a strongly consistent store, and no cache or mirror in front of it"
)

// version is raised when checks are added or made stricter, so that stores are probed again.
const version = 1

// checks are all rules. The first rule that a store breaks is the one that writers report, so the plainest come first.
var checks = []check{
	{"create refuses an existing object", true, conditionsHint, createRefuses},
	{"replace refuses another ETag or a missing object", true, conditionsHint, replaceRefuses},
	{"create is exclusive in a race", true, conditionsHint, createRace},
	{"replace loses no update in a race", true, conditionsHint, replaceRace},
	{"body and ETag are of one version", true, "the server mixes versions while an object is overwritten; use another", oneVersion},
	{"a write is seen at once", true, consistentHint, readAfterWrite},
	{"a list shows writes and deletes at once", true, consistentHint, listAfterWrite},
	{"lists are in order and in pages", true, "the server's ListObjectsV2 is broken; use another", listOrder},
	{"ranges are exact", true, "the server, or a proxy before it, ignores the Range header", ranges},
	{"keys differ by case", true, "the file system under the store ignores case; use another", caseMatters},
	{"answers carry the clock", true, "the server, or a proxy before it, sends no Date or Last-Modified header that can be used for leases", clock},
	{"uploads can be granted", false, "agents send their segments through ingest instead; where signed uploads are refused, start them with --sender http", presign},
	{"new objects are announced", false, "compactors poll instead; of the backends only minio:// can notify", announce},
}

// parallel runs do(0) to do(n-1) at once.
func parallel(n int, do func(i int) error) error {
	var group errgroup.Group
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

func createRefuses(ctx context.Context, p *probe) (string, error) {
	key := p.key("create")
	if _, err := p.store.Create(ctx, key, []byte("first")); err != nil {
		return "", err
	}
	_, err := p.store.Create(ctx, key, []byte("second"))
	return refused(ctx, p, key, err, store.ErrExists, "first")
}

// refused checks that a write ended as it should have, and left body there.
func refused(ctx context.Context, p *probe, key string, got, want error, body string) (string, error) {
	if got == nil {
		return "", errors.New("the condition was ignored: the write went through")
	}
	if !errors.Is(got, want) {
		return "", fmt.Errorf("answered %w instead of %q", got, want)
	}
	object, err := p.store.Get(ctx, key)
	if err == nil && string(object.Body) != body {
		err = errors.New("the store refused a write and carried it out")
	}
	return "", err
}

func replaceRefuses(ctx context.Context, p *probe) (string, error) {
	key := p.key("replace")
	first, err := p.store.Create(ctx, key, []byte("first"))
	if err != nil {
		return "", err
	}
	if _, err = p.store.Replace(ctx, key, []byte("second"), first.ETag); err != nil {
		return "", fmt.Errorf("with the right ETag: %w", err)
	}
	_, err = p.store.Replace(ctx, key, []byte("third"), first.ETag)
	if detail, err := refused(ctx, p, key, err, store.ErrChanged, "second"); err != nil {
		return detail, fmt.Errorf("with a stale ETag: %w", err)
	}
	missing := p.key("replace-missing")
	_, err = p.store.Replace(ctx, missing, []byte("x"), first.ETag)
	if !errors.Is(err, store.ErrChanged) {
		return "", fmt.Errorf("of a missing object: answered %v instead of %q", err, store.ErrChanged)
	}
	if _, err = p.store.Get(ctx, missing); !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("of a missing object: the object exists afterwards (%v)", err)
	}
	return "", nil
}

func readAfterWrite(ctx context.Context, p *probe) (string, error) {
	return "", parallel(8, func(i int) error {
		key, etag := p.key(fmt.Sprintf("seen-%d", i)), ""
		for v := range 4 {
			body := fmt.Appendf(nil, "%d of %d", v, i)
			meta, err := store.Swap(ctx, p.store, key, body, etag)
			if err != nil {
				return err
			}
			object, err := p.store.Get(ctx, key)
			if err != nil {
				return err
			}
			if !bytes.Equal(object.Body, body) || object.ETag != meta.ETag {
				return fmt.Errorf("version %d was written, then %q was read", v, object.Body)
			}
			etag = meta.ETag
		}
		if err := p.store.Delete(ctx, key); err != nil {
			return err
		}
		if _, err := p.store.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("a deleted object was read (%v)", err)
		}
		return nil
	})
}

func listAfterWrite(ctx context.Context, p *probe) (string, error) {
	return "", parallel(8, func(i int) error {
		key := p.key(fmt.Sprintf("listed-%d/x", i))
		for range 3 {
			if _, err := p.store.Create(ctx, key, []byte("x")); err != nil {
				return err
			}
			page, err := p.store.List(ctx, key, "", 0)
			if err != nil {
				return err
			}
			if len(page.Items) != 1 || page.Items[0].Key != key {
				return errors.New("an object was written and was not in the list")
			}
			if err = p.store.Delete(ctx, key); err != nil {
				return err
			}
			if page, err = p.store.List(ctx, key, "", 0); err != nil {
				return err
			}
			if len(page.Items) != 0 {
				return errors.New("an object was deleted and was in the list")
			}
		}
		return nil
	})
}

func listOrder(ctx context.Context, p *probe) (string, error) {
	var keys []string
	for _, name := range []string{"a-b", "a.b", "a/b", "a/b.c", "a0", "b/1/2", "b/1-2", "b/10/x", "b c", "ü/+%"} {
		keys = append(keys, p.key("order/"+name))
	}
	err := parallel(len(keys), func(i int) error { _, err := p.store.Create(ctx, keys[i], nil); return err })
	if err != nil {
		return "", err
	}
	slices.Sort(keys)
	for _, limit := range []int{1, 3, 0} {
		var got []string
		for after, more := "", true; more && len(got) <= len(keys); {
			page, err := p.store.List(ctx, p.key("order/"), after, limit)
			if err != nil {
				return "", err
			}
			for _, item := range page.Items {
				got = append(got, item.Key)
			}
			if more = page.More && len(page.Items) > 0; more {
				after = got[len(got)-1]
			}
		}
		if !slices.Equal(got, keys) {
			return "", fmt.Errorf("in pages of %d: %q instead of %q", limit, got, keys)
		}
	}
	page, err := p.store.List(ctx, p.key("order/"), p.key("order/a/"), 2)
	if err == nil && (len(page.Items) != 2 || page.Items[0].Key != p.key("order/a/b")) {
		err = fmt.Errorf("after a key that does not exist: %v", page.Items)
	}
	return "", err
}

func ranges(ctx context.Context, p *probe) (string, error) {
	key, body := p.key("range"), bytes.Repeat([]byte("0123456789abcdef"), 4096)
	if _, err := p.store.Create(ctx, key, body); err != nil {
		return "", err
	}
	for _, at := range [][2]int{{0, 1}, {1, 1000}, {len(body) - 5, 5}} {
		got, err := p.store.GetRange(ctx, key, int64(at[0]), int64(at[1]))
		if err != nil || !bytes.Equal(got, body[at[0]:at[0]+at[1]]) {
			return "", fmt.Errorf("%d bytes from %d: %d bytes, %v", at[1], at[0], len(got), err)
		}
	}
	return "", nil
}

func caseMatters(ctx context.Context, p *probe) (string, error) {
	lower, upper := p.key("case/k"), p.key("case/K")
	if _, err := p.store.Create(ctx, lower, []byte("lower")); err != nil {
		return "", err
	}
	if _, err := p.store.Create(ctx, upper, []byte("upper")); err != nil {
		return "", err
	}
	object, err := p.store.Get(ctx, lower)
	if err == nil && string(object.Body) != "lower" {
		err = errors.New("two keys that differ by case are one object")
	}
	return "", err
}

// clockSlack is how much a store's Date may be before an object's Last-Modified, or after it just after the write.
// Leases last at least some seconds; both are whole seconds on S3.
const clockSlack = 3 * time.Second

func clock(ctx context.Context, p *probe) (string, error) {
	key := p.key("clock")
	begun := time.Now()
	written, err := p.store.Create(ctx, key, []byte("x"))
	if err != nil {
		return "", err
	}
	object, err := p.store.Get(ctx, key)
	if err != nil {
		return "", err
	}
	took := time.Since(begun)
	switch {
	case object.Date.IsZero() || written.Date.IsZero():
		return "", errors.New("an answer has no Date")
	case object.LastModified.IsZero():
		return "", errors.New("an object has no Last-Modified")
	}
	if age := object.Date.Sub(object.LastModified); age < -clockSlack || age > took+clockSlack {
		return "", fmt.Errorf("an object written %v ago was %v old by the store's clock", took, age)
	}
	return fmt.Sprintf("the store's clock is %v from this machine's", time.Until(object.Date).Round(time.Second)), nil
}

func presign(ctx context.Context, p *probe) (string, error) {
	key := p.key("granted")
	upload, err := p.store.PresignCreate(ctx, key, time.Minute)
	if err != nil {
		return "", err
	}
	for i, want := range []int{http.StatusOK, http.StatusPreconditionFailed} {
		request, err := http.NewRequestWithContext(ctx, upload.Method, upload.URL, strings.NewReader(fmt.Sprint(i)))
		if err != nil {
			return "", errors.New("the store returned a presigned upload without a URL")
		}
		request.Header, request.Close = upload.Header.Clone(), true
		response, err := httpclient.New(nil).Do(request)
		if err != nil {
			return "", errors.New("the presigned upload got no answer") // err would quote the signature
		}
		response.Body.Close()
		if response.StatusCode != want {
			return "", fmt.Errorf("presigned upload %d: HTTP %d, want %d", i+1, response.StatusCode, want)
		}
	}
	return "", nil
}

// announceLimit is how long a notice may take.
const announceLimit = 10 * time.Second

func announce(ctx context.Context, p *probe) (string, error) {
	notifier, ok := store.AsNotifier(p.store)
	if !ok {
		return "", fmt.Errorf("the backend has none: %w", store.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, announceLimit)
	defer cancel()
	keys, err := notifier.Notify(ctx, p.key("announced/"))
	if err != nil {
		return "", err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		begun := time.Now()
		if _, err := p.store.Create(ctx, p.key(fmt.Sprintf("announced/%d", n)), nil); err != nil {
			return "", err
		}
		select {
		case _, open := <-keys:
			if !open {
				return "", errors.New("the subscription ended by itself")
			}
			return fmt.Sprintf("%v after the write, with the notice of write number %d", time.Since(begun).Round(time.Millisecond), n), nil
		case <-tick.C:
		}
	}
}
