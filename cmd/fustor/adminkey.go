//go:build !reading

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
)

type adminKeyGroup struct {
	Create adminKeyCreateCmd `cmd:"" overview:"no" help:"Create an API key. It is shown only once."`
	List   adminKeyListCmd   `cmd:"" overview:"no" help:"List the API keys, without the keys themselves."`
	Revoke adminKeyRevokeCmd `cmd:"" overview:"no" help:"Revoke an API key."`
}

type adminKeyCreateCmd struct {
	Name    string        `arg:"" help:"Name for the key, such as its owner."`
	Role    []string      `enum:"ingest,query,admin" placeholder:"ROLE" help:"Role: ingest (agents), query (readers) or admin; separate several with commas."`
	As      string        `placeholder:"USER" help:"The key sees what this user's file permissions allow: a user of the host of fustor query, or uid:gid,gid. Its role is query."`
	View    []string      `placeholder:"VIEW" help:"View that the key is for; separate several with commas."`
	All     bool          `name:"all-views" help:"The key is for all views, future ones included."`
	Expires time.Duration `placeholder:"TIME" help:"How long the key is valid, such as 720h (default: until it is revoked)."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminKeyCreateCmd) Help() string {
	return `The key is printed on stdout, only once: the store keeps only its SHA-256. With an
admin key for some views, over HTTP, you can create keys for those views.

Examples:

    fustor admin key create nfs07 --role ingest --view research > ingest.key
    fustor admin key create alice --role query --view research,scratch --expires 720h
    fustor admin key create alice-notebook --as alice --all-views
    fustor admin key create ops --role admin --all-views --store s3://bucket/fustor`
}

func (c *adminKeyCreateCmd) Run(ctx context.Context, a *app) error {
	if c.All == (len(c.View) > 0) {
		return usageError("the key has no views: pass --view VIEW or --all-views")
	}
	if c.Expires < 0 {
		return usageError("--expires is in the past")
	}
	if len(c.Role) == 0 && c.As == "" {
		return usageError("missing flags: --role=ROLE")
	}
	if len(c.Role) == 0 {
		c.Role = []string{string(access.Query)}
	}
	n := admin.NewKey{Name: c.Name, As: c.As, Views: access.Views{All: c.All, Names: c.View}}
	for _, v := range c.View {
		if err := checkView(v); err != nil {
			return err
		}
	}
	for _, r := range c.Role {
		n.Roles = append(n.Roles, access.Role(r))
	}
	if c.Expires > 0 {
		n.ExpiresAt = time.Now().Add(c.Expires).UnixNano()
	}
	d, err := c.open(ctx, a, true)
	if err != nil {
		return err
	}
	made, err := d.CreateKey(ctx, n)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, made, func(out *show.Output) {
		fmt.Fprintln(out, made.Secret)
		a.say("created key %s (%s): %s on %s, %s; it is not shown again", made.ID, made.Name, keyRights(made.Key), viewNames(made.Views), expiry(made.Key))
	})
}

func roleNames(roles []access.Role) string {
	names := make([]string, 0, len(roles))
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ",")
}

// keyRights are the roles of a key, and as whom it acts.
func keyRights(k admin.Key) string {
	if k.As == "" {
		return roleNames(k.Roles)
	}
	return roleNames(k.Roles) + " as " + k.As
}

func viewNames(v access.Views) string {
	if v.All {
		return "all views"
	}
	return strings.Join(v.Names, ",")
}

func expiry(k admin.Key) string {
	switch {
	case k.Damaged != "":
		return "DAMAGED: " + k.Damaged
	case k.ExpiresAt == 0:
		return "until revoked"
	case k.Expired:
		return "EXPIRED " + show.Time(k.ExpiresAt, time.Local)
	}
	return "until " + show.Time(k.ExpiresAt, time.Local)
}

type adminKeyListCmd struct{ adminFlags }

// Help implements kong.HelpProvider.
func (adminKeyListCmd) Help() string {
	return `The list does not include the key that a server got at its start (--api-key).

Examples:

    fustor admin key list --store s3://bucket/fustor
    fustor admin key list --json | jq -r '.[] | select(.expired) | .id'`
}

func (c *adminKeyListCmd) Run(ctx context.Context, a *app) error {
	d, err := c.open(ctx, a, false)
	if err != nil {
		return err
	}
	keys, err := d.Keys(ctx)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, keys, func(out *show.Output) {
		var rows [][]string
		for _, k := range keys {
			rows = append(rows, []string{k.ID, dash(out.Name(k.Name)), dash(keyRights(k)), viewNames(k.Views), show.Time(k.CreatedAt, time.Local), expiry(k)})
		}
		columns(out, []string{"ID", "NAME", "ROLES", "VIEWS", "MADE", "WORKS"}, rows)
	})
}

type adminKeyRevokeCmd struct {
	Key string `arg:"" help:"Id or name of the key, as key list shows it; never the key itself."`
	yesFlag
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminKeyRevokeCmd) Help() string {
	return `Servers remember keys for 30 seconds; after that, all servers refuse the key.

Examples:

    fustor admin key revoke 3f1c0a9b7d52
    fustor admin key revoke nfs07 --yes --store s3://bucket/fustor`
}

func (c *adminKeyRevokeCmd) Run(ctx context.Context, a *app) error {
	d, err := c.open(ctx, a, true)
	if err != nil {
		return err
	}
	if strings.HasPrefix(c.Key, access.KeyPrefix) {
		return &cliError{msg: "this is the key itself, which does not belong on a command line", hint: "use its id or name; `fustor admin key list` shows them", code: exitUsage}
	}
	if err := c.confirm(a, fmt.Sprintf("revoke key %s?", c.Key)); err != nil {
		return err
	}
	k, err := d.RevokeKey(ctx, c.Key)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, k, func(out *show.Output) {
		fmt.Fprintf(out, "revoked key %s (%s); servers refuse it within 30 s\n", k.ID, k.Name)
	})
}

type adminSessions struct {
	List adminSessionListCmd `cmd:"" overview:"no" help:"List a view's sessions, ended ones included."`
	End  adminSessionEndCmd  `cmd:"" overview:"no" help:"End a session."`
}

type adminSessionListCmd struct {
	View string `arg:"" help:"View whose sessions to list."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminSessionListCmd) Help() string {
	return `Ended sessions stay listed for an hour, and until all of their segments are folded.

Examples:

    fustor admin session list research --store s3://bucket/fustor
    fustor admin session list research --json | jq -r '.[] | select(.role == "leader") | .agent_id'`
}

func (c *adminSessionListCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, false)
	if err != nil {
		return err
	}
	sessions, err := d.Sessions(ctx, c.View)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, sessions, func(out *show.Output) {
		var rows [][]string
		for _, s := range sessions {
			state, last := s.State, "-"
			if s.EndedReason != "" {
				state += " (" + s.EndedReason + ")"
			}
			if s.LastActivity != nil {
				last = ago(float64(*s.LastActivity) / 1e9)
			}
			rows = append(rows, []string{s.ID, s.Role, state, s.Agent, last, ago(float64(s.CreatedAt) / 1e9), dash(out.Name(s.Source))})
		}
		columns(out, []string{"SESSION", "ROLE", "STATE", "AGENT", "HEARD", "BEGAN", "SOURCE"}, rows)
	})
}

type adminSessionEndCmd struct {
	View    string `arg:"" help:"View that the session feeds."`
	Session string `arg:"" help:"Id of the session, as session list shows it."`
	yesFlag
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminSessionEndCmd) Help() string {
	return `If the session leads, another one takes over. A running agent begins a new session
with its next heartbeat; to keep it out, revoke its key.

Examples:

    fustor admin session end research 01KBS2V9Q3E8Y7-9f86d081884c7d65
    fustor admin session end research 01KBS2V9Q3E8Y7-9f86d081884c7d65 --yes`
}

func (c *adminSessionEndCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	if err := c.confirm(a, fmt.Sprintf("end session %s of view %s?", c.Session, c.View)); err != nil {
		return err
	}
	if err := d.EndSession(ctx, c.View, c.Session); err != nil {
		return adminFailure(err)
	}
	return c.print(a, map[string]any{"view_id": c.View, "session_id": c.Session, "state": "ended"}, func(out *show.Output) {
		fmt.Fprintf(out, "ended session %s\n", c.Session)
	})
}
