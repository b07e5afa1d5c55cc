package manifest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

func user(id uint32, name string, at int64) event.OwnerName {
	return event.OwnerName{ID: id, Name: name, ResolvedAt: at}
}

func TestNamesNewestWinsPerSource(t *testing.T) {
	a := []event.OwnerName{user(1, "alice", 5), user(2, "bob", 5), {Group: true, ID: 1, Name: "staff", ResolvedAt: 5}, user(3, "bob", 5)}
	b := []event.OwnerName{user(1, "mallory", 7), user(4, "4711", 7)}
	one, changed := (*Names)(nil).With(map[string][]event.OwnerName{"fs://a/x\xff": a, "fs://b/x": b})
	if !changed {
		t.Fatal("nothing changed")
	}
	// The same in another order, with an older name that comes late.
	var other *Names
	for _, told := range []map[string][]event.OwnerName{{"fs://b/x": b}, {"fs://a/x\xff": a}, {"fs://a/x\xff": {user(1, "al", 4)}}} {
		other, _ = other.With(told)
	}
	body, err := one.Encode("test")
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := other.Encode("test"); string(same) != string(body) {
		t.Errorf("the order counts:\n%s\n%s", body, same)
	}
	if _, changed := one.With(map[string][]event.OwnerName{"fs://a/x\xff": a}); changed {
		t.Error("names that are known change something")
	}
	n, err := DecodeNames("test", body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		group  bool
		source string
		id     uint32
		want   string
	}{
		{false, "fs://a/x\xff", 1, "alice"}, {false, "fs://b/x", 1, "mallory"}, {false, "fs://c/x", 1, "mallory"},
		{false, "fs://b/x", 2, "bob"}, {true, "fs://b/x", 1, "staff"}, {true, "", 2, "2"}, {false, "fs://b/x", 4, "4711"}, {false, "", 77, "77"},
	} {
		if got := n.Shown(c.group, c.source, c.id); got != c.want {
			t.Errorf("%v %s %d: %s, want %s", c.group, c.source, c.id, got, c.want)
		}
	}
	for name, want := range map[string]string{"bob": "[2 3]", "alice": "[1]", "mallory": "[1]", "staff": "[]"} {
		if ids := n.IDs(false, name); fmt.Sprint(ids) != want {
			t.Errorf("%s: %v, want %s", name, ids, want)
		}
	}
	if _, err := DecodeNames("test", []byte(`{"format":2}`)); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestNamesAreBounded(t *testing.T) {
	var first, second []event.OwnerName
	for i := range uint32(MaxNames) {
		first = append(first, user(i, fmt.Sprint("u", i), 1))
	}
	for i := range uint32(10) {
		second = append(second, event.OwnerName{Group: true, ID: i, Name: "g", ResolvedAt: 2})
	}
	n, _ := (*Names)(nil).With(map[string][]event.OwnerName{"a": first})
	m, changed := n.With(map[string][]event.OwnerName{"b": second})
	if !changed || m.Len() != MaxNames || n.Len() != MaxNames || m.Name(true, "b", 9) != "g" || m.Name(false, "a", 0) == "" || m.Name(false, "a", MaxNames-1) != "" {
		t.Errorf("%v: %d names, %d before", changed, m.Len(), n.Len())
	}
	if ids := m.IDs(true, "g"); !slices.Equal(ids, []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Error(ids)
	}
}
