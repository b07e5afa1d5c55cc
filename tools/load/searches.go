package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/store/open"
)

// searchKinds are the kinds of questions that cost differently, for views of gentree.
var searchKinds = []struct{ name, query string }{
	{"part-common", "pattern=txt"},
	{"part-rare", "pattern=S0999_L002_R2_001.bam.bai"},
	{"part-absent", "pattern=nothing-has-this"},
	{"ext-common", "pattern=*.txt"},
	{"ext-absent", "pattern=*.so"},
	{"glob-prefix", "pattern=IMG_20240607_1*"},
	{"one-letter", "pattern=q"},
	{"letter-absent", "pattern=~"},
	{"two-letters", "pattern=qz"},
	{"path-part", "pattern=review1/alpha"},
	{"dirs", "pattern=*&type=d"},
	{"dirs-part", "pattern=mouse&type=d"},
	{"owner", "pattern=*&owner=1007"},
	{"owner-absent", "pattern=*&owner=77"},
	{"size-60G", "pattern=*&min_size=60G"},
	{"size-1T", "pattern=*&min_size=1T"},
	{"newer", "pattern=*&newer_than=2026-11-20"},
	{"older", "pattern=*&older_than=2010-01-01"},
	{"owner+size", "pattern=*&owner=1007&min_size=20G"},
	{"ext+size", "pattern=*.bam&min_size=40G"},
	{"ext+older", "pattern=*.txt&older_than=2015-01-01"},
}

// searches asks a view a question of each kind, one after the other: its first page and, with -whole, all of it.
func searches(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("searches", flag.ExitOnError)
	location := flags.String("store", "", "store that has the view, as `URL`; this process serves it within 256 MiB")
	at := flags.String("url", "", "`URL` of a running fustor query instead, as http://HOST:PORT, that takes the key \""+apiKey+"\"")
	view := flags.String("view", "default", "the view")
	times := flags.Int("times", 10, "how often each is asked, once more beforehand")
	whole := flags.Bool("whole", false, "ask for the whole result too, as a stream")
	only := flags.String("only", "", "kinds to ask, `comma-separated`")
	asCSV := flags.Bool("csv", false, "print CSV")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	base := *at + "/api/v1/views/" + *view
	if *at == "" {
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(256 << 20 / 5 * 4) // as fustor query does
		}
		st, err := open.Open(ctx, *location)
		if err != nil {
			return err
		}
		if base, err = serve(ctx, st, *view, nil); err != nil {
			return err
		}
	}
	t := newTable(*asCSV, "kind", "result", "entries", "p50_ms", "max_ms", "gets", "KiB", "rows", "read", "skipped")
	for _, k := range searchKinds {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), k.name) {
			continue
		}
		for _, stream := range []bool{false, true} {
			if stream && !*whole {
				continue
			}
			r := searchRun{target: base + "/search?explain=true&" + k.query, stream: stream}
			if err := r.run(ctx, *times); err != nil {
				return err
			}
			e := &r.explain
			t.line(k.name, map[bool]string{false: "page", true: "whole"}[stream], strconv.Itoa(r.entries), ms(r.took.at(0.5)), ms(r.took.at(1)),
				strconv.FormatInt(e.Gets, 10), strconv.FormatInt(e.Bytes>>10, 10), strconv.FormatInt(e.Rows, 10),
				strconv.FormatInt(e.GroupsRead, 10), strconv.FormatInt(e.GroupsSkipped, 10))
		}
	}
	return nil
}

// searchRun is one question, asked several times.
type searchRun struct {
	target  string
	stream  bool
	took    durations
	entries int
	explain struct {
		Gets          int64 `json:"gets"`
		Bytes         int64 `json:"bytes"`
		Rows          int64 `json:"rows"`
		GroupsRead    int64 `json:"groups_read"`
		GroupsSkipped int64 `json:"groups_skipped"`
	}
}

func (r *searchRun) run(ctx context.Context, times int) error {
	for i := range times + 1 {
		began := time.Now()
		last, entries, err := r.ask(ctx)
		if err != nil {
			return err
		}
		took := time.Since(began)
		if i > 0 { // the first one warms up
			r.took = append(r.took, took)
		}
		r.entries = entries
		var answer struct {
			Explain any `json:"explain"`
		}
		answer.Explain = &r.explain
		if err := json.Unmarshal(last, &answer); err != nil {
			return fmt.Errorf("%s: %w", r.target, err)
		}
		if took > 2*time.Second && i > 1 { // often enough for what takes long
			return nil
		}
	}
	return nil
}

// ask returns the whole answer, or the last line of a stream, and how many entries there were.
func (r *searchRun) ask(ctx context.Context) (last []byte, entries int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.target, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("X-API-Key", apiKey)
	if r.stream {
		req.Header.Set("Accept", "application/x-ndjson")
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	if !r.stream {
		body, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %s", r.target, answer.Status, body)
		}
		return body, bytes.Count(body, []byte(`{"name":`)), err
	}
	buf, tail := make([]byte, 1<<16), []byte(nil)
	lines := 0
	for {
		n, err := answer.Body.Read(buf)
		lines += bytes.Count(buf[:n], []byte("\n"))
		if tail = append(tail, buf[:n]...); len(tail) > 4096 {
			tail = append(tail[:0], tail[len(tail)-4096:]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, err
		}
	}
	tail = bytes.TrimRight(tail, "\n")
	return tail[bytes.LastIndexByte(tail, '\n')+1:], lines - 1, nil
}
