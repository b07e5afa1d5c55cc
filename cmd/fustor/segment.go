//go:build !reading

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/fustor/fustor/internal/event"
)

type segmentCmd struct {
	Cat segmentCatCmd `cmd:"" help:"Print a segment as NDJSON, one event per line."`
}

type segmentCatCmd struct {
	Object string `arg:"" help:"File, - for stdin, or with --store the key of an object."`
	Store  string `placeholder:"URL" env:"FUSTOR_STORE" help:"Store to read the object from."`
}

// Help implements kong.HelpProvider.
func (segmentCatCmd) Help() string {
	return `The first line is the header, the last line the trailer. Names that are not UTF-8 have
a second field in base64url.

Examples:

    fustor segment cat 00000000000000000000.zst
    fustor segment cat --store file:///srv/fustor views/default/segments/…/….zst
    ssh host cat segment.zst | fustor segment cat - | jq 'select(.kind=="delete").path'`
}

func (c *segmentCatCmd) Run(ctx context.Context, a *app) error {
	in, err := c.open(ctx, a)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := event.NewReader(c.Object, in, event.Limits{})
	if err != nil {
		return segmentFailure(err)
	}
	out := a.out()
	err = event.Cat(out, r)
	return errors.Join(out.Flush(), segmentFailure(err))
}

func (c *segmentCatCmd) open(ctx context.Context, a *app) (io.ReadCloser, error) {
	if c.Object == "-" {
		return io.NopCloser(a.stdin), nil
	}
	if c.Store == "" {
		f, err := os.Open(c.Object)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &cliError{
				msg: fmt.Sprintf("file %s does not exist", c.Object), code: exitNotFound, err: err,
				hint: "for an object in a store, pass the store with --store or FUSTOR_STORE",
			}
		}
		return f, err
	}
	s, err := openExisting(ctx, c.Store)
	if err != nil {
		return nil, err
	}
	object, err := s.Get(ctx, c.Object)
	if err != nil {
		return nil, storeFailure(err)
	}
	return io.NopCloser(bytes.NewReader(object.Body)), nil
}

// segmentFailure adds to a damaged or foreign segment what that means.
func segmentFailure(err error) error {
	var damaged *event.FormatError
	if !errors.As(err, &damaged) {
		return err
	}
	return &cliError{
		msg: err.Error(), code: exitFailure, err: err,
		hint: "the object is not a segment, is damaged, or was written by a newer fustor; nothing was changed",
	}
}
