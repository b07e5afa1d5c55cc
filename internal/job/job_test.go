package job

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

func open(t *testing.T) (context.Context, store.Store) {
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return t.Context(), st
}

func TestLifeOfAJob(t *testing.T) {
	ctx, st := open(t)
	if jobs, err := List(ctx, st, "v"); err != nil || len(jobs) != 0 {
		t.Fatalf("a view without jobs has %v, %v", jobs, err)
	}
	j, err := Ask(ctx, st, Job{View: "v", Session: "s1", Path: []byte("/a/\xff"), Recursive: true}, 1000, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rung, err := st.Get(ctx, layout.Bell("v"))
	if err != nil {
		t.Fatalf("the bell was not rung: %v", err)
	}
	got, err := Get(ctx, st, "v", j.ID)
	if err != nil || got.State != Queued || string(got.Path) != "/a/\xff" || got.RequestedAt != 1000 {
		t.Fatalf("it is %+v, %v", got, err)
	}
	seq := int64(7)
	for _, step := range []struct {
		r    Report
		want State
	}{
		{Report{State: Running, Files: 5}, Running},
		{Report{State: Done, Files: 9, LastSeq: &seq}, Done},
		{Report{State: Running, Files: 1}, Done}, // too late
	} {
		step.r.For = "s1"
		if got, err = Apply(ctx, st, "v", j.ID, "s2", step.r, 2000, rand.Reader); err != nil || got.State != step.want {
			t.Fatalf("after %+v it is %+v, %v", step.r, got, err)
		}
	}
	if got.Files != 9 || got.LastSeq != 7 || got.Runner != "s2" || got.StartedAt != 2000 || got.FinishedAt != 2000 {
		t.Fatalf("in the end it is %+v", got)
	}
	if _, err := Ask(ctx, st, Job{View: "v", Session: "s2", Path: []byte("/")}, 3000, rand.Reader); err != nil {
		t.Fatal(err)
	}
	again, err := st.Get(ctx, layout.Bell("v"))
	if err != nil || again.ETag == rung.ETag {
		t.Fatalf("a new job did not ring: %v", err)
	}
	if jobs, err := List(ctx, st, "v"); err != nil || len(jobs) != 2 || jobs[0].RequestedAt != 3000 {
		t.Fatalf("jobs are %v, %v", jobs, err)
	}
	for _, id := range []string{"nothing", "../x", ""} {
		if _, err := Get(ctx, st, "v", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("job %q: %v", id, err)
		}
		if _, err := Apply(ctx, st, "v", id, "s1", Report{For: "s1"}, 1, rand.Reader); !errors.Is(err, ErrNotFound) {
			t.Errorf("report on job %q: %v", id, err)
		}
	}
}

// TestConcurrentReports report at once: every report is taken, and the end stands.
func TestConcurrentReports(t *testing.T) {
	ctx, st := open(t)
	j, err := Ask(ctx, st, Job{View: "v", Session: "s", Path: []byte("/"), Recursive: true}, 1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for i := range 16 {
		wg.Go(func() {
			r := Report{State: Running, Files: uint64(i), For: "s"}
			if i == 5 {
				r.State = Done
			}
			_, err := Apply(ctx, st, "v", j.ID, fmt.Sprint("s", i), r, 2, rand.Reader)
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if got, err := Get(ctx, st, "v", j.ID); err != nil || got.State != Done || got.Files != 5 {
		t.Fatalf("it is %+v, %v", got, err)
	}
}
