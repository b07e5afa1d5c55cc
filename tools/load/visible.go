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
)

// visible writes files into a tree that an agent watches, one after the other at random intervals, and prints how long
// after each was closed a query shows it. The parts are those that run already.
func visible(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("visible", flag.ExitOnError)
	dir := flags.String("dir", "", "directory in the tree to write into; it is made, and removed at the end")
	path := flags.String("path", "", "the directory's path in the view")
	base := flags.String("url", "", "the query server's `URL`")
	key := flags.String("key", "", "API key")
	view := flags.String("view", "default", "the view")
	n := flags.Int("n", 200, "how many files")
	between := flags.Duration("every", 2*time.Second, "the mean time between two; 0: each as soon as the last shows")
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
	rng := rand.New(rand.NewPCG(6, uint64(time.Now().UnixNano())))
	var took durations
	for i := range *n {
		name := fmt.Sprintf("file-%05d", i)
		if err := os.WriteFile(filepath.Join(*dir, name), []byte(name), 0o644); err != nil {
			return err
		}
		closed := time.Now()
		if err := awaitShown(ctx, *base+"/api/v1/views/"+*view+"/metadata?path="+url.QueryEscape(*path+"/"+name), *key); err != nil {
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
