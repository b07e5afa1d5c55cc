//go:build !reading

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/values"
)

type adminVersionPins struct {
	Pin   adminPinCmd   `cmd:"" overview:"no" help:"Keep a version by name."`
	Unpin adminUnpinCmd `cmd:"" overview:"no" help:"Keep a version no longer by that name."`
}

type adminPinCmd struct {
	View    string `arg:"" help:"View whose version it is."`
	Name    string `arg:"" help:"Name for the version, such as before-cleanup."`
	Version uint64 `placeholder:"N" xor:"which" help:"Version with that number (default: the newest)."`
	AsOf    string `placeholder:"TIME" xor:"which" help:"Version that was current at that time: 7d, yesterday, 2024-05-01."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminPinCmd) Help() string {
	return `A pinned version is kept until it is unpinned, with all that only it refers to,
whatever the settings of the view say. fustor versions shows pins.

Examples:

    fustor admin version pin research before-cleanup
    fustor admin version pin research 2024-audit --as-of 2025-01-01
    fustor admin version pin research v412 --version 412 --store s3://bucket/fustor`
}

func (c *adminPinCmd) Run(ctx context.Context, a *app) error {
	at := int64(0)
	if c.AsOf != "" {
		var err error
		if at, err = values.ParseTime(c.AsOf, time.Now()); err != nil {
			return usageError("--as-of: %v", err)
		}
	}
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	p, err := d.Pin(ctx, c.View, c.Name, c.Version, at)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, p, func(out *show.Output) {
		fmt.Fprintf(out, "pinned version %d of view %s, published %s, as %s\n", p.Version, p.View, time.Unix(0, int64(p.PublishedAt)).Format(time.DateTime), p.Name)
	})
}

type adminUnpinCmd struct {
	View string `arg:"" help:"View whose version it is."`
	Name string `arg:"" help:"Name of the pin."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminUnpinCmd) Help() string {
	return `The version goes once the settings of the view do not keep it either.

Examples:

    fustor admin version unpin research before-cleanup`
}

func (c *adminUnpinCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	if err := d.Unpin(ctx, c.View, c.Name); err != nil {
		return adminFailure(err)
	}
	return c.print(a, map[string]any{"view_id": c.View, "name": c.Name}, func(out *show.Output) {
		fmt.Fprintf(out, "unpinned %s\n", c.Name)
	})
}
