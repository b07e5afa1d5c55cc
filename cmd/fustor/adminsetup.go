//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

type adminSetupCmd struct {
	Store      string        `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store to prepare."`
	MakeBucket bool          `help:"Create the bucket if it is missing (minio:// stores)."`
	View       []string      `placeholder:"VIEW" help:"Create this view if it is missing; separate several with commas."`
	Key        []string      `sep:"none" placeholder:"VARIABLE=ROLES:VIEWS" help:"Register the key in this environment variable; may be repeated."`
	Wait       time.Duration `default:"0s" placeholder:"TIME" help:"Wait this long for a store that does not answer yet."`
	JSON       bool          `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (adminSetupCmd) Help() string {
	return `For scripts and tools such as Compose, which make the keys themselves (openssl rand
-hex 32). Existing objects stay as they are, so it may run at every start. ROLES and
VIEWS are lists separated by commas; the view * means all views. The store is probed
first, as fustor doctor does.

Examples:

    fustor admin setup --store 'minio://127.0.0.1:9000/fustor?tls=false' \
        --make-bucket --view demo --wait 1m --key AGENT_KEY=ingest:demo --key READER_KEY=query:demo
    fustor admin setup --store file:///srv/fustor --view research`
}

func (c *adminSetupCmd) Run(ctx context.Context, a *app) error {
	keys := make([]admin.NewKey, len(c.Key))
	secrets := make([]string, len(c.Key))
	for i, word := range c.Key {
		var err error
		if keys[i], secrets[i], err = parseSetupKey(a, word); err != nil {
			return err
		}
	}
	for _, v := range c.View {
		if err := checkView(v); err != nil {
			return err
		}
	}
	st, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	d, err := openDirect(a, st)
	if err != nil {
		return err
	}
	var done []string
	for _, v := range c.View {
		var refused *admin.Error
		_, err := d.CreateView(ctx, v, nil)
		switch {
		case errors.As(err, &refused) && refused.Kind == admin.Conflict:
			done = append(done, fmt.Sprintf("view %s exists already", v))
		case err != nil:
			return adminFailure(err)
		default:
			done = append(done, fmt.Sprintf("view %s is created", v))
		}
	}
	for i, k := range keys {
		made, err := d.RegisterKey(ctx, k, secrets[i])
		if err != nil {
			return adminFailure(err)
		}
		verb := "is registered"
		if !made {
			verb = "exists already"
		}
		done = append(done, fmt.Sprintf("key %s %s: %s on %s", k.Name, verb, roleNames(k.Roles), viewNames(k.Views)))
	}
	f := adminFlags{JSON: c.JSON}
	return f.print(a, map[string]any{"store": st.String(), "done": done}, func(out *show.Output) {
		for _, line := range append(done, st.String()+" is ready") {
			fmt.Fprintln(out, line)
		}
	})
}

// prepare makes the bucket and probes it, as soon as the store answers.
func (c *adminSetupCmd) prepare(ctx context.Context) (store.Store, error) {
	give := time.Now().Add(c.Wait)
	for {
		st, err := c.tryOpen(ctx)
		if err == nil || lasting(err) || time.Now().After(give) {
			return st, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// lasting reports whether a store will say the same again. One that is starting answers nothing, or that it is not ready.
func lasting(err error) bool {
	var e *cliError
	return errors.As(err, &e) && e.code == exitUsage || errors.Is(err, store.ErrDenied) || errors.Is(err, doctor.ErrUnfit) || errors.Is(err, context.Canceled)
}

func (c *adminSetupCmd) tryOpen(ctx context.Context) (store.Store, error) {
	if c.MakeBucket {
		st, err := openStore(ctx, c.Store)
		if err != nil {
			return nil, err
		}
		maker, ok := st.(interface{ MakeBucket(context.Context) error })
		if !ok {
			return nil, usageError("--make-bucket works for minio:// stores only; create other buckets with your provider's tools")
		}
		if err := maker.MakeBucket(ctx); err != nil {
			return nil, storeFailure(fmt.Errorf("create the bucket of %s: %w", st, err))
		}
	}
	return openForWriting(ctx, c.Store)
}

// parseSetupKey reads VARIABLE=ROLES:VIEWS, and the key from the variable. No error has the key in it.
func parseSetupKey(a *app, word string) (k admin.NewKey, secret string, err error) {
	variable, what, ok := strings.Cut(word, "=")
	roles, views, both := strings.Cut(what, ":")
	if !ok || !both || variable == "" {
		return k, "", usageError("--key must have the form VARIABLE=ROLES:VIEWS, such as AGENT_KEY=ingest:demo")
	}
	if secret = a.getenv(variable); len(secret) < 32 {
		return k, "", &cliError{msg: fmt.Sprintf("the variable %s does not hold a key of at least 32 characters", variable), hint: "create one with `openssl rand -hex 32`", code: exitUsage}
	}
	k.Name = strings.ReplaceAll(strings.ToLower(variable), "_", "-")
	for _, r := range strings.Split(roles, ",") {
		k.Roles = append(k.Roles, access.Role(r))
	}
	if k.Views.All = views == "*"; !k.Views.All {
		k.Views.Names = strings.Split(views, ",")
	}
	if err := (access.Record{Name: k.Name, Roles: k.Roles, Views: k.Views}).Check(); err != nil {
		return k, "", usageError("--key %s=…: %v", variable, err)
	}
	return k, secret, nil
}
