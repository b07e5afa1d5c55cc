package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/values"
)

// Each is called for every entry of an answer, in the answer's order. The node is its own until it returns; an error
// ends the call and is returned as it is.
type Each func(n *Node) error

// Tree streams the entry at path and, below it, everything down to depth levels (negative: all). A directory comes
// before everything in it. With onlyPath the nodes have path and type alone.
func (c *Client) Tree(ctx context.Context, path string, depth int, onlyPath bool, each Each) error {
	q := url.Values{"recursive": {"true"}}
	setPath(q, path)
	if depth >= 0 {
		q.Set("max_depth", strconv.Itoa(depth))
	}
	if onlyPath {
		q.Set("only_path", "true")
	}
	return c.stream(ctx, "/tree", q, each)
}

// Metadata reads the entry at path. Of a forest, it is the first member's that has one.
func (c *Client) Metadata(ctx context.Context, path string) (*Node, error) {
	all, err := c.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

// Stat reads the entry at path: one, or of a forest that of each member that has one, by member.
func (c *Client) Stat(ctx context.Context, path string) ([]Node, error) {
	return c.stat(ctx, path, url.Values{})
}

// StatLinksOnce is Stat where the allocated bytes of a directory count each file once, not each of its names.
func (c *Client) StatLinksOnce(ctx context.Context, path string) ([]Node, error) {
	return c.stat(ctx, path, url.Values{"links_once": {"true"}})
}

func (c *Client) stat(ctx context.Context, path string, q url.Values) ([]Node, error) {
	setPath(q, path)
	var raw json.RawMessage
	if err := c.getJSON(ctx, "/metadata", q, &raw); err != nil {
		return nil, err
	}
	entries := []json.RawMessage{raw}
	var of page
	if err := json.Unmarshal(raw, &of); err == nil && len(of.Entries) > 0 {
		entries = of.Entries
	}
	nodes := make([]Node, len(entries))
	d := decoder{}
	for i, entry := range entries {
		if err := d.node(entry, &nodes[i]); err != nil {
			return nil, fmt.Errorf("the answer to /metadata is not a valid answer of a fustor server: %w", err)
		}
	}
	return nodes, nil
}

// List calls each for the entries of the directory at path, in the order of sort: name, size or mtime.
func (c *Client) List(ctx context.Context, path, sort string, each Each) error {
	q := url.Values{}
	setPath(q, path)
	if sort != "" {
		q.Set("sort", sort)
	}
	return c.pages(ctx, "/list", q, 0, each)
}

// Query is what Search looks for, and what reports are about. Zero fields ask for nothing.
type Query struct {
	Pattern     string   // a glob or a part of the name or path, see docs/api.md; a report needs none
	Names       []string // globs, one of which the name matches; none: any name
	NotNames    []string // globs, none of which the name matches
	Path        string   // look below this directory only
	Regex       string   // of RE2, which the whole path matches; empty: any path
	Types       string   // letters of f, d, l, o
	MinSize     *int64   // bytes
	MaxSize     *int64
	NewerThanNs *int64 // mtime, ns since 1970
	OlderThanNs *int64
	Owner       string // a name that the hosts of the view know, or a uid; empty: any
	Group       string
	Perm        string // as find -perm has it
	Empty       bool   // files of size 0, directories with nothing in them
	// What the inode tells; entries of which the view does not know it do not match.
	MinLinks, MaxLinks         *int64
	Inode                      uint64 // of a file with several names; 0: any
	MinAllocated, MaxAllocated *int64 // bytes
	ChangedAfterNs             *int64 // ctime, ns since 1970
	ChangedBeforeNs            *int64
	BornAfterNs                *int64 // birth, by its second
	BornBeforeNs               *int64
	AccessedAfterNs            *int64 // atime, by its day
	AccessedBeforeNs           *int64
	Limit                      int // entries; 0: all
}

// Search calls each for every entry that the query asks for.
func (c *Client) Search(ctx context.Context, query Query, each Each) error {
	q := query.values()
	q.Set("pattern", query.Pattern)
	if query.Limit == 0 {
		return c.stream(ctx, "/search", q, each)
	}
	return c.pages(ctx, "/search", q, query.Limit, each)
}

// values are the query as parameters, the limit apart.
func (query *Query) values() url.Values {
	q := url.Values{}
	if query.Pattern != "" {
		q.Set("pattern", query.Pattern)
	}
	if query.Path != "" {
		setPath(q, query.Path)
	}
	if query.Types != "" {
		q.Set("type", strings.Join(strings.Split(query.Types, ""), ","))
	}
	for _, name := range query.Names {
		q.Add("name", name)
	}
	for _, name := range query.NotNames {
		q.Add("not_name", name)
	}
	if query.Regex != "" {
		q.Set("regex", query.Regex)
	}
	setAttributes(q, query)
	return q
}

// setAttributes sends what a search wants of an entry beside its name and type.
func setAttributes(q url.Values, query *Query) {
	setInt(q, "min_size", query.MinSize)
	setInt(q, "max_size", query.MaxSize)
	setInt(q, "min_allocated", query.MinAllocated)
	setInt(q, "max_allocated", query.MaxAllocated)
	setInt(q, "min_links", query.MinLinks)
	setInt(q, "max_links", query.MaxLinks)
	setSeconds(q, "newer_than", query.NewerThanNs)
	setSeconds(q, "older_than", query.OlderThanNs)
	setSeconds(q, "changed_after", query.ChangedAfterNs)
	setSeconds(q, "changed_before", query.ChangedBeforeNs)
	setSeconds(q, "born_after", query.BornAfterNs)
	setSeconds(q, "born_before", query.BornBeforeNs)
	setSeconds(q, "accessed_after", query.AccessedAfterNs)
	setSeconds(q, "accessed_before", query.AccessedBeforeNs)
	if query.Owner != "" {
		q.Set("owner", query.Owner)
	}
	if query.Group != "" {
		q.Set("group", query.Group)
	}
	if query.Perm != "" {
		q.Set("perm", query.Perm)
	}
	if query.Inode != 0 {
		q.Set("inode", strconv.FormatUint(query.Inode, 10))
	}
	if query.Empty {
		q.Set("empty", "true")
	}
}

func setInt(q url.Values, name string, v *int64) {
	if v != nil {
		q.Set(name, strconv.FormatInt(*v, 10))
	}
}

// setSeconds sends ns since 1970 as exact decimal Unix seconds.
func setSeconds(q url.Values, name string, ns *int64) {
	if ns == nil {
		return
	}
	sign, v := "", uint64(*ns)
	if *ns < 0 {
		sign, v = "-", -v
	}
	q.Set(name, fmt.Sprintf("%s%d.%09d", sign, v/1e9, v%1e9))
}

// stream reads an answer in NDJSON: one node a line.
func (c *Client) stream(ctx context.Context, call string, q url.Values, each Each) error {
	var d decoder
	var n Node
	_, err := c.lines(ctx, call, q, func(line []byte) error { return d.node(line, &n) }, func() error { return each(&n) })
	return err
}

// Slice is a part of an answer: what Page reads.
type Slice struct {
	Path   string
	Query  *Query // of entries at and below Path, without a limit; nil: Path and everything below it, the root included
	Cursor string // where the slice begins: what Page returned of the slice before; empty: at the beginning
	Limit  int    // entries, at most 10,000
}

// Page calls each for a slice of an answer, in the order of the keys, with the days of the last access, and returns where the next slice
// begins; empty: there is none. All slices are of one version.
func (c *Client) Page(ctx context.Context, s Slice, each Each) (next string, err error) {
	call, q := "/tree", url.Values{"recursive": {"true"}}
	if s.Query != nil {
		call, q = "/search", s.Query.values()
		q.Set("pattern", s.Query.Pattern)
	}
	setPath(q, s.Path)
	q.Set("atime", "true")
	q.Set("limit", strconv.Itoa(s.Limit))
	if s.Cursor != "" {
		q.Set("cursor", s.Cursor)
	}
	var d decoder
	var n Node
	other := func(line []byte) bool {
		var of page
		if !bytes.HasPrefix(line, []byte(`{"next_cursor":`)) || json.Unmarshal(line, &of) != nil {
			return false
		}
		next = of.NextCursor
		return true
	}
	_, err = c.linesAnd(ctx, call, q, other, func(line []byte) error { return d.node(line, &n) }, func() error { return each(&n) })
	return next, err
}

// lines reads an answer in NDJSON, whose header it returns: decode reads the line of an entry, and then each takes the entry.
func (c *Client) lines(ctx context.Context, call string, q url.Values, decode func(line []byte) error, each func() error) (http.Header, error) {
	return c.linesAnd(ctx, call, q, func([]byte) bool { return false }, decode, each)
}

// linesAnd is lines where other takes the lines that are no entries.
func (c *Client) linesAnd(ctx context.Context, call string, q url.Values, other func(line []byte) bool, decode func(line []byte) error, each func() error) (http.Header, error) {
	resp, err := c.ask(ctx, call, q, acceptStream)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 256<<10)
	end := streamEnd{promised: endPromised(resp)}
	for count := 0; ; {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			err = end.check(count)
			if err == nil {
				return resp.Header, nil
			}
		}
		if err != nil {
			return nil, broken(ctx, call, count, err)
		}
		if end.is(line) || other(line) {
			continue
		}
		if c.explain {
			if cost, ok := costOfLine(line); ok {
				c.costs.add(cost)
				continue
			}
		}
		if members, ok := membersOfLine(line); ok {
			c.members.note(members)
			continue
		}
		if err := decode(line); err != nil {
			return nil, broken(ctx, call, count, err)
		}
		count++
		if err := each(); err != nil {
			return nil, err
		}
	}
}

// broken says that a stream ended too early; count entries had come.
func broken(ctx context.Context, call string, count int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) { // in the middle of a line
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the answer to %s ended early, after %s: %w", call, values.Plural(count, "entry", "entries"), err)
}

// maxLine bounds a line: the longest path and target, every byte of them escaped, are far below it.
const maxLine = 4 << 20

// readLine reads up to a newline, which it leaves out. The line is good until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := append([]byte(nil), line...)
		for errors.Is(err, bufio.ErrBufferFull) && len(long) < maxLine {
			line, err = r.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err != nil {
		return line, err
	}
	return line[:len(line)-1], nil
}

// pages reads an answer page by page, all of one version, until limit entries came (0: all).
func (c *Client) pages(ctx context.Context, call string, q url.Values, limit int, each Each) error {
	var d decoder
	var n Node
	for left := limit; ; {
		q.Set("limit", strconv.Itoa(pageSize))
		if limit > 0 && left < pageSize {
			q.Set("limit", strconv.Itoa(left))
		}
		var page page
		if err := c.getJSON(ctx, call, q, &page); err != nil {
			return err
		}
		if page.Entries == nil {
			return httpclient.Lacking(c.server, "entries")
		}
		for _, raw := range page.Entries {
			if err := d.node(raw, &n); err != nil {
				return fmt.Errorf("the answer to %s is not a valid answer of a fustor server: %w", call, err)
			}
			if err := each(&n); err != nil {
				return err
			}
		}
		left -= len(page.Entries)
		if page.NextCursor == "" || limit > 0 && left <= 0 {
			return nil
		}
		q.Set("cursor", page.NextCursor)
	}
}

// pageSize is how many entries a page is asked for: the most that the API gives.
const pageSize = 10000

// page is one page of nodes. The next is asked for with its cursor, and is of the same version.
type page struct {
	Entries    []json.RawMessage `json:"entries"`
	NextCursor string            `json:"next_cursor"`
}
