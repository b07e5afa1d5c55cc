package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// A version is published by one conditional write. Of two writers who started from the same version, one gets ErrLost.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "fustor-example-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	st, err := local.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}

	_, _, err = manifest.Load(ctx, st, "research")
	fmt.Println("no version yet:", errors.Is(err, manifest.ErrNoHead))

	for _, nonce := range []string{"a1", "b2"} {
		next := &manifest.Manifest{Format: manifest.Format, View: "research", Version: 1, Nonce: nonce, Reason: "fold"}
		_, err := manifest.Commit(ctx, st, next, "")
		fmt.Println(nonce, "lost:", errors.Is(err, store.ErrLost))
	}

	m, _, err := manifest.Load(ctx, st, "research")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("version", m.Version, "of", m.View, "is kept as", m.Key())
	// Output:
	// no version yet: true
	// a1 lost: false
	// b2 lost: true
	// version 1 of research is kept as views/research/manifests/00000000000000000001-a1
}
