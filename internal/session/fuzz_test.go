package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/seal"
)

// readAgain holds that what is read as a T is written so that the same is read again, and that anything else is an error that names the
// object. A damaged body is never taken for another's object: what seals it says whose it is.
func readAgain[T any](t *testing.T, key string, body []byte) {
	t.Helper()
	value, err := decode[T](key, body)
	if err != nil {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Fatalf("%v", err)
		}
		return
	}
	written, err := seal.JSON(key, value)
	if err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	again, err := decode[T](key, written)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v\n%s", err, written)
	}
	if second, err := seal.JSON(key, again); err != nil || !bytes.Equal(written, second) {
		t.Fatalf("%s\n%s, %v", written, second, err)
	}
	if _, err := decode[T](key+"x", written); !errors.Is(err, ErrDamaged) {
		t.Fatalf("it is taken for the object of another key: %v", err)
	}
}

func addSealed(f *testing.F, key string, values ...any) {
	for _, v := range values {
		sealed, err := seal.JSON(key, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
		plain, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain) // as earlier builds wrote it
	}
}

func FuzzRoster(f *testing.F) {
	const key = "views/v/roster.json"
	addSealed(f, key, Roster{Epoch: "e", EpochNumber: 3, Nonce: "n", Sessions: map[string]RosterEntry{
		"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65": {Task: "t", Agent: "a", TimeoutSeconds: 45, CreatedAt: 5, Epoch: "e", Source: "0011", Key: "k"}, "x": {Ended: true}}})
	f.Add([]byte(`{"sessions":{"a":null},"epoch_number":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) { readAgain[Roster](t, key, body) })
}

func FuzzSession(f *testing.F) {
	const key = "views/v/sessions/s.json"
	addSealed(f, key, Record{ID: "s", View: "v", Task: "t", Agent: "a", Source: "fs://a/\xff", ClientIP: "10.0.0.7", TimeoutSeconds: 45, CanRealtime: true,
		AgentStatus: &pipeapi.AgentStatus{State: "watching"}, Silence: &Silence{Since: 1, Term: 2}, Ended: true, EndedReason: Closed, Secret: "00", Nonce: "n"})
	f.Add([]byte(`{"session_id":"s","client_info":{"x":[1,null]},"agent_status":{"rates":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) { readAgain[Record](t, key, body) })
}

func FuzzLease(f *testing.F) {
	const key = "views/v/lease.json"
	addSealed(f, key, Lease{Term: 7, Session: "s", Nonce: "n", TTLSeconds: 45, Work: &Work{}, Yields: true, Terms: []Reign{{}, {}}})
	f.Add([]byte(`{"term":18446744073709551615,"ttl_s":1e308,"terms":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) { readAgain[Lease](t, key, body) })
}
