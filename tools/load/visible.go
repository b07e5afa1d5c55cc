package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/client"
)

// visible writes files into a tree that an agent watches, one after the other at random intervals, and prints how long
// after each was closed a query shows it, or a feed tells of it. The parts are those that run already.
func visible(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("visible", flag.ExitOnError)
	dir := flags.String("dir", "", "directory in the tree to write into; it is made, and removed at the end")
	path := flags.String("path", "", "the directory's path in the view")
	base := flags.String("url", "", "the query server's `URL`")
	key := flags.String("key", "", "API key")
	view := flags.String("view", "default", "the view")
	n := flags.Int("n", 200, "how many files")
	between := flags.Duration("every", 2*time.Second, "the mean time between two; 0: each as soon as the last shows")
	feed := flags.Bool("feed", false, "wait for the line of a feed, as fustor watch prints it, instead of asking again and again")
	asCSV := flags.Bool("csv", false, "print CSV")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *base == "" || *path == "" {
		return errors.New("visible needs -dir, -path and -url")
	}
	if err := os.Mkdir(*dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(*dir)
	shown := func(name string) error {
		return awaitShown(ctx, *base+"/api/v1/views/"+*view+"/metadata?path="+url.QueryEscape(*path+"/"+name), *key)
	}
	if *feed {
		if err := os.WriteFile(filepath.Join(*dir, "first"), nil, 0o644); err != nil { // so that there is such a path
			return err
		}
		if err := shown("first"); err != nil {
			return err
		}
		f, err := follow(ctx, client.Options{URL: *base, Key: *key, View: *view}, *path, *path+"/first")
		if err != nil {
			return err
		}
		shown = f.await
	}
	rng := rand.New(rand.NewPCG(6, uint64(time.Now().UnixNano())))
	var took durations
	for i := range *n {
		name := fmt.Sprintf("file-%05d", i)
		if err := os.WriteFile(filepath.Join(*dir, name), []byte(name), 0o644); err != nil {
			return err
		}
		closed := time.Now()
		if err := shown(name); err != nil {
			return err
		}
		took = append(took, time.Since(closed))
		select {
		case <-time.After(time.Duration(rng.ExpFloat64() * float64(*between))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t := newTable(*asCSV, "files", "p50_ms", "p90_ms", "p99_ms", "max_ms")
	t.line(strconv.Itoa(*n), ms(took.at(0.5)), ms(took.at(0.9)), ms(took.at(0.99)), ms(took.at(1)))
	return nil
}

// follower has what a feed tells.
type follower struct {
	path   string
	told   chan string // paths
	failed chan error
}

// follow begins to follow a path from the version on that shows an entry of it.
func follow(ctx context.Context, o client.Options, path, shown string) (*follower, error) {
	c, err := client.New(o)
	if err != nil {
		return nil, err
	}
	after, err := versionOf(ctx, o.URL+"/api/v1/views/"+o.View+"/metadata?path="+url.QueryEscape(shown), o.Key)
	if err != nil {
		return nil, err
	}
	f := &follower{path: path, told: make(chan string, 1<<10), failed: make(chan error, 1)}
	each := func(l *client.FeedLine) error {
		if l.Cursor != "" {
			after = l.Cursor
		}
		if l.Change != nil {
			f.told <- l.Change.Path
		}
		return nil
	}
	go func() {
		for {
			if err := c.Changes(ctx, client.Query{Path: path}, after, 50*time.Second, each); err != nil {
				f.failed <- err
				return
			}
		}
	}()
	return f, nil
}

// versionOf is the number of the version that answers a question.
func versionOf(ctx context.Context, target, key string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-API-Key", key)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	answer.Body.Close()
	version := answer.Header.Get("Fustor-Version")
	if version == "" {
		return "", fmt.Errorf("%s: %s, without a version", target, answer.Status)
	}
	return version, nil
}

// await waits until a name was told.
func (f *follower) await(name string) error {
	for {
		select {
		case path := <-f.told:
			if path == f.path+"/"+name {
				return nil
			}
		case err := <-f.failed:
			return err
		}
	}
}

// awaitShown asks every 5 ms until the path is there.
func awaitShown(ctx context.Context, target, key string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return err
		}
		req.Header.Set("X-API-Key", key)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		answer.Body.Close()
		switch answer.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusNotFound:
		default:
			return fmt.Errorf("%s: %s", target, answer.Status)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
