package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// Everything that several writers may replace goes through conditional writes. Swap creates an object, or replaces the
// version that was read; who comes second gets ErrLost, and starts again from what is there now.
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

	first, err := store.Swap(ctx, st, "views/research/head", []byte(`{"version":1,"nonce":"a"}`), "")
	fmt.Println("create:", err)

	_, err = store.Swap(ctx, st, "views/research/head", []byte(`{"version":2,"nonce":"b"}`), first.ETag)
	fmt.Println("replace what was read:", err)

	_, err = store.Swap(ctx, st, "views/research/head", []byte(`{"version":2,"nonce":"c"}`), first.ETag)
	fmt.Println("replace what is no longer there: lost is", errors.Is(err, store.ErrLost))

	now, err := st.Get(ctx, "views/research/head")
	fmt.Println(string(now.Body), err)
	// Output:
	// create: <nil>
	// replace what was read: <nil>
	// replace what is no longer there: lost is true
	// {"version":2,"nonce":"b"} <nil>
}
