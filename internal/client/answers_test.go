package client

import (
	"context"
	"reflect"
	"testing"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/testkit/wronganswers"
)

// TestEveryCallChecksItsAnswer makes every call of Client and Admin, by their names, with every answer that is none: no call may take one
// for success, and the key reaches nobody but the server that it is for.
func TestEveryCallChecksItsAnswer(t *testing.T) {
	node, found := func(*Node) error { return nil }, func(*Found) error { return nil }
	reading := map[string]func(context.Context, *Client) error{
		"Tree":          func(ctx context.Context, c *Client) error { return c.Tree(ctx, "/", -1, false, node) },
		"Metadata":      func(ctx context.Context, c *Client) error { _, err := c.Metadata(ctx, "/"); return err },
		"Stat":          func(ctx context.Context, c *Client) error { _, err := c.Stat(ctx, "/"); return err },
		"StatLinksOnce": func(ctx context.Context, c *Client) error { _, err := c.StatLinksOnce(ctx, "/"); return err },
		"List":          func(ctx context.Context, c *Client) error { return c.List(ctx, "/", "", node) },
		"ListPage": func(ctx context.Context, c *Client) error {
			_, err := c.ListPage(ctx, "/", Listing{}, "", 1, node)
			return err
		},
		"Search": func(ctx context.Context, c *Client) error { return c.Search(ctx, Query{Pattern: "x", Limit: 1}, node) },
		"Page": func(ctx context.Context, c *Client) error {
			_, err := c.Page(ctx, Slice{Path: "/", Limit: 1}, node)
			return err
		},
		"Largest":          func(ctx context.Context, c *Client) error { return c.Largest(ctx, Query{}, false, 1, node) },
		"EmptyDirectories": func(ctx context.Context, c *Client) error { return c.EmptyDirectories(ctx, Query{}, node) },
		"Odd":              func(ctx context.Context, c *Client) error { return c.Odd(ctx, Query{}, node) },
		"Usage":            func(ctx context.Context, c *Client) error { _, err := c.Usage(ctx, Query{}, "owner", ""); return err },
		"Histogram":        func(ctx context.Context, c *Client) error { _, err := c.Histogram(ctx, Query{}, "size"); return err },
		"Duplicates":       func(ctx context.Context, c *Client) error { _, err := c.Duplicates(ctx, Query{}, 1); return err },
		"Growth":           func(ctx context.Context, c *Client) error { _, err := c.Growth(ctx, Query{}, "0", 1, 1); return err },
		"Diff": func(ctx context.Context, c *Client) error {
			_, err := c.Diff(ctx, Query{}, "0", "", func(*Change) error { return nil })
			return err
		},
		"Changes": func(ctx context.Context, c *Client) error {
			return c.Changes(ctx, Query{}, "1", 0, func(*FeedLine) error { return nil })
		},
		"DiffSums": func(ctx context.Context, c *Client) error { _, err := c.DiffSums(ctx, Query{}, "0", "", 1); return err },
		"Versions": func(ctx context.Context, c *Client) error {
			return c.Versions(ctx, 1, false, func(*Version) error { return nil })
		},
		"Complete": func(ctx context.Context, c *Client) error {
			_, err := c.Complete(ctx, CompleteQuery{Path: "/"})
			return err
		},
		"Trend": func(ctx context.Context, c *Client) error { _, err := c.Trend(ctx, "/", "1d", "owner", 1); return err },
		"Log": func(ctx context.Context, c *Client) error {
			return c.Log(ctx, "/", false, func(*Stage) error { return nil })
		},
		"Access":     func(ctx context.Context, c *Client) error { _, err := c.Access(ctx, "/"); return err },
		"Suspects":   func(ctx context.Context, c *Client) error { return c.Suspects(ctx, "/", found) },
		"BlindSpots": func(ctx context.Context, c *Client) error { return c.BlindSpots(ctx, "/", found) },
		"Views":      func(ctx context.Context, c *Client) error { _, _, err := c.Views(ctx); return err },
		"Sessions":   func(ctx context.Context, c *Client) error { _, err := c.Sessions(ctx); return err },
		"Feeding": func(ctx context.Context, c *Client) error {
			_, err := c.Feeding(ctx)
			return err
		},
		"Command": func(ctx context.Context, c *Client) error {
			_, err := c.Command(ctx, "s", Order{Command: "pause"})
			return err
		},
		"Moment": func(ctx context.Context, c *Client) error { _, err := c.Moment(ctx); return err },
		"Jobs":   func(ctx context.Context, c *Client) error { _, err := c.Jobs(ctx, 1); return err },
		"Job":    func(ctx context.Context, c *Client) error { _, err := c.Job(ctx, "j"); return err },
		"Scan":   func(ctx context.Context, c *Client) error { _, err := c.Scan(ctx, "/", true); return err },
	}
	managing := map[string]func(context.Context, *Admin) error{
		"Views":      func(ctx context.Context, a *Admin) error { _, err := a.Views(ctx); return err },
		"View":       func(ctx context.Context, a *Admin) error { _, err := a.View(ctx, "v"); return err },
		"CreateView": func(ctx context.Context, a *Admin) error { _, err := a.CreateView(ctx, "v", []byte("{}")); return err },
		"ConfigureView": func(ctx context.Context, a *Admin) error {
			_, err := a.ConfigureView(ctx, "v", []byte("{}"))
			return err
		},
		"DeleteView": func(ctx context.Context, a *Admin) error { _, err := a.DeleteView(ctx, "v"); return err },
		"Reset":      func(ctx context.Context, a *Admin) error { _, err := a.Reset(ctx, "v"); return err },
		"Sessions":   func(ctx context.Context, a *Admin) error { _, err := a.Sessions(ctx, "v"); return err },
		"EndSession": func(ctx context.Context, a *Admin) error { return a.EndSession(ctx, "v", "s") },
		"History":    func(ctx context.Context, a *Admin) error { _, err := a.History(ctx, "v", 1); return err },
		"Pin":        func(ctx context.Context, a *Admin) error { _, err := a.Pin(ctx, "v", "p", 1, 0); return err },
		"Unpin":      func(ctx context.Context, a *Admin) error { return a.Unpin(ctx, "v", "p") },
		"Retain":     func(ctx context.Context, a *Admin) error { _, err := a.Retain(ctx, "v", true); return err },
		"Keys":       func(ctx context.Context, a *Admin) error { _, err := a.Keys(ctx); return err },
		"CreateKey":  func(ctx context.Context, a *Admin) error { _, err := a.CreateKey(ctx, admin.NewKey{}); return err },
		"RevokeKey":  func(ctx context.Context, a *Admin) error { _, err := a.RevokeKey(ctx, "k"); return err },
	}
	silent := map[string]bool{"Cost": true, "Incomplete": true, "IsForest": true, "AnsweredBy": true, "Unreadable": true, "At": true, "WebPage": true, "View": true} // they ask nothing
	for _, of := range []struct {
		kind  reflect.Type
		calls reflect.Value
	}{{reflect.TypeFor[*Client](), reflect.ValueOf(reading)}, {reflect.TypeFor[*Admin](), reflect.ValueOf(managing)}} {
		for i := range of.kind.NumMethod() {
			if name := of.kind.Method(i).Name; !silent[name] && !of.calls.MapIndex(reflect.ValueOf(name)).IsValid() {
				t.Errorf("%v.%s is not in the table", of.kind, name)
			}
		}
	}

	wronganswers.Each(t, func(_, url string, check func(string, error)) {
		o := Options{URL: url, View: "v", Key: "k"}
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		a, err := NewAdmin(o)
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range reading {
			check("Client."+name, call(t.Context(), c))
		}
		for name, call := range managing {
			check(name, call(t.Context(), a))
		}
	})
}
