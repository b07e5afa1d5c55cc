package seal_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/seal"
)

const key = "views/lab/lease.json"

type lease struct {
	Term    uint64 `json:"term"`
	Session string `json:"session_id"`
}

func sealed(t testing.TB, key string, v any) []byte {
	t.Helper()
	body, err := seal.JSON(key, v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestSealedObjectIsReadAsItWas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := map[string]string{"n": rapid.String().Draw(rt, "value"), rapid.StringMatching(`[a-z]{1,9}`).Draw(rt, "name"): "x"}
		key := rapid.StringMatching(`[a-z0-9/._:@-]{1,60}`).Draw(rt, "key")
		plain, err := seal.Open(key, sealed(t, key, in))
		if err != nil {
			rt.Fatal(err)
		}
		if want, _ := json.Marshal(in); string(plain) != string(want) {
			rt.Fatalf("%s, want %s", plain, want)
		}
	})
}

// TestEveryByteCounts changes each byte to each other value.
func TestEveryByteCounts(t *testing.T) {
	body := sealed(t, key, lease{7, "01J"})
	for i := range body {
		for with := range 256 {
			if byte(with) == body[i] {
				continue
			}
			damaged := append([]byte(nil), body...)
			damaged[i] = byte(with)
			if plain, err := seal.Open(key, damaged); !errors.Is(err, seal.ErrBroken) {
				t.Fatalf("byte %d as %#x: %s, %v", i, with, plain, err)
			}
		}
	}
	for n := 1; n < len(body); n++ {
		if plain, err := seal.Open(key, body[:n]); err == nil && json.Unmarshal(plain, &lease{}) == nil {
			t.Fatalf("cut after %d bytes: %s", n, plain)
		}
	}
}

func TestOnlyItsOwnKeyHasIt(t *testing.T) {
	body := sealed(t, key, lease{7, "01J"})
	_, err := seal.Open("views/ward/lease.json", body)
	if !errors.Is(err, seal.ErrBroken) || !strings.Contains(err.Error(), key) {
		t.Errorf("%v", err)
	}
}

// TestWhatPeopleWriteNeedsNoSeal, and neither does what earlier builds wrote. Taking both members away is how an edited object is
// read again.
func TestWhatPeopleWriteNeedsNoSeal(t *testing.T) {
	for _, plain := range []string{`{"term": 7}`, ``, `{`, "no JSON"} {
		if got, err := seal.Open(key, []byte(plain)); err != nil || string(got) != plain {
			t.Errorf("%q: %q, %v", plain, got, err)
		}
	}
	edited := strings.Replace(string(sealed(t, key, lease{7, "01J"})), "7", "8", 1)
	if _, err := seal.Open(key, []byte(edited)); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("edited: %v", err)
	}
	for _, v := range []any{struct{}{}, 7, []int{1}} {
		if body, err := seal.JSON(key, v); err == nil {
			t.Errorf("sealed %v: %s", v, body)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	body := sealed(b, key, map[string]string{"x": strings.Repeat("y", 6000)})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := seal.Open(key, body); err != nil {
			b.Fatal(err)
		}
	}
}
