package access

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// TestWrongKeysOfAnAddress: an address is told to wait after so many, until its minute is over. What is remembered of addresses is bounded.
func TestWrongKeysOfAnAddress(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := wrong{now: func() time.Time { return now }, by: map[string]wrongCount{}}
	for i := range wrongKeys {
		if wait := w.add("a"); wait != 0 {
			t.Fatalf("wrong key %d: wait %s", i+1, wait)
		}
	}
	now = now.Add(20 * time.Second)
	if wait := w.add("a"); wait != 40*time.Second {
		t.Errorf("wait %s", wait)
	}
	if wait := w.add("b"); wait != 0 {
		t.Errorf("another address: wait %s", wait)
	}
	for i := range 2 * maxWrong {
		w.add(fmt.Sprint("crowd ", i))
	}
	if len(w.by) > maxWrong {
		t.Errorf("%d addresses are remembered", len(w.by))
	}
	now = now.Add(time.Minute)
	if wait := w.add("a"); wait != 0 {
		t.Errorf("a minute later: wait %s", wait)
	}
	now = now.Add(time.Second)
	w.by = map[string]wrongCount{"over": {1, now}}
	for i := range maxWrong {
		w.add(fmt.Sprint("crowd ", i))
	}
	if _, there := w.by["over"]; there || len(w.by) != maxWrong {
		t.Errorf("those whose minute is over do not go first: %d are left", len(w.by))
	}
	w.swept, now = now, now.Add(time.Second)
	w.by = map[string]wrongCount{"over": {1, now}}
	for i := range maxWrong - 1 {
		w.by[fmt.Sprint("crowd ", i)] = wrongCount{1, now.Add(time.Second)}
	}
	w.add("a second after the last look")
	if _, there := w.by["over"]; there || len(w.by) != maxWrong {
		t.Errorf("one whose minute is not over was forgotten for one whose minute is: %d are left", len(w.by))
	}
}

// TestAddressOf: the proxy that is trusted says who its client is; others do not.
func TestAddressOf(t *testing.T) {
	a, err := New(Options{Proxy: Proxy{Header: "X-Remote-User", From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		remote, want string
		forwarded    []string
	}{
		{"192.0.2.7:80", "192.0.2.7", nil},
		{"192.0.2.7:80", "192.0.2.7", []string{"198.51.100.1"}},
		{"10.1.2.3:80", "10.1.2.3", nil},
		{"10.1.2.3:80", "198.51.100.1", []string{"198.51.100.1"}},
		{"10.1.2.3:80", "198.51.100.1", []string{"203.0.113.9, 198.51.100.1"}},
		{"10.1.2.3:80", "198.51.100.1", []string{"203.0.113.9", "198.51.100.1, 10.1.9.9"}},
		{"10.1.2.3:80", "10.1.2.3", []string{"nonsense"}},
		{"[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64", nil},
		{"[::ffff:192.0.2.7]:80", "192.0.2.7", nil},
		{"@", "@", nil},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := a.addressOf(r); got != c.want {
			t.Errorf("%s, forwarded for %q: %s, not %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

// TestCodesAreBounded: codes that nobody uses do not pile up.
func TestCodesAreBounded(t *testing.T) {
	a, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * maxCodes {
		a.NewCode("key")
	}
	if n := len(a.codes.all); n > maxCodes {
		t.Errorf("%d codes", n)
	}
	if made := a.NewCode("key"); a.codes.take(made, a.now()) != "key" || a.codes.take(made, a.now()) != "" {
		t.Error("the last code is not good for one use")
	}
	first, second := a.NewCode("one"), a.NewCode("two")
	if a.codes.take(first, a.now()) != "one" || a.codes.take(second, a.now()) != "two" {
		t.Error("a code ends with the next one")
	}
}
