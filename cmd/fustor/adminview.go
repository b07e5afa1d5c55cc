//go:build !reading

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/internal/viewconfig"
)

type adminViewGroup struct {
	Create    adminViewCreateCmd    `cmd:"" overview:"no" help:"Create a view with its settings."`
	List      adminViewListCmd      `cmd:"" overview:"no" help:"List the views."`
	Show      adminViewShowCmd      `cmd:"" overview:"no" help:"Show a view and its settings."`
	Configure adminViewConfigureCmd `cmd:"" overview:"no" help:"Change settings of a view."`
	Delete    adminViewDeleteCmd    `cmd:"" overview:"no" help:"Delete a view and all of its data."`
}

// viewFlags are the settings of a view. Those that are not given stay as they are.
type viewFlags struct {
	SessionTimeout   *time.Duration `placeholder:"TIME" group:"settings" help:"Lowest time-out of a session (default 45s). A lost leader is replaced after this time."`
	ConcurrentAgents *bool          `negatable:"" group:"settings" help:"Allow several agents to feed the view at once (default)."`
	AuditInterval    *time.Duration `placeholder:"TIME" group:"settings" help:"How often the leader audits the tree (default 6h); 0 means never."`
	SentinelInterval *time.Duration `placeholder:"TIME" group:"settings" help:"How often it observes files that may still be written to (default 2m); 0 means never."`
	Hot              *time.Duration `placeholder:"TIME" group:"settings" help:"How long a file counts as being written after a change (default 60s)."`
	Staleness        *time.Duration `placeholder:"TIME" group:"settings" help:"How old the state shown by a network file system may be (default 2m)."`
	TombstoneTTL     *time.Duration `name:"tombstone-ttl" placeholder:"TIME" group:"settings" help:"How long a deletion is remembered (default 1h)."`
	KeepWithin       *keepTime      `placeholder:"TIME" group:"settings" help:"Keep every version for this time (default 1h, the least); 'unlimited' keeps all."`
	KeepHourly       *keepCount     `placeholder:"N" group:"settings" help:"Keep the version at the end of each of the last N hours (default 48), or 'unlimited'."`
	KeepDaily        *keepCount     `placeholder:"N" group:"settings" help:"The same by days, in UTC (default 90)."`
	KeepWeekly       *keepCount     `placeholder:"N" group:"settings" help:"The same by weeks, which begin on Monday (default 0)."`
	KeepMonthly      *keepCount     `placeholder:"N" group:"settings" help:"The same by months (default 60)."`
	KeepYearly       *keepCount     `placeholder:"N" group:"settings" help:"The same by years (default 0)."`
	IcebergInterval  *time.Duration `placeholder:"TIME" group:"settings" help:"How often the view is published as an Iceberg table while it changes (default 5m); 0 means never."`
	IcebergChanges   *keepTime      `placeholder:"TIME" group:"settings" help:"Publish the view's changes as a second Iceberg table, and keep them for this time, or 'unlimited'; 0 means none (default)."`
	Mount            *[]string      `placeholder:"DIR,…" group:"settings" help:"Where hosts without an agent mount the view's root, for PATH arguments; '' for nowhere."`
	Members          []string       `placeholder:"VIEW,…" group:"settings" help:"Make the view a forest, answered from these views: names, or globs such as 'scratch-*'."`
	RootSquash       *bool          `negatable:"" group:"settings" help:"Show a user who is root what the user nobody may see."`
	TrustModes       *bool          `negatable:"" group:"settings" help:"Believe the group bits of directories whose ACL is not known, as on NFS: for file systems without ACLs."`
	OpenTo           *[]string      `placeholder:"WHO,…" group:"settings" help:"Who may ask without a key: socket, oidc, proxy, group:NAME; '' for nobody (default)."`
	UserScans        *uint          `placeholder:"N" group:"settings" help:"How many scans in an hour a user may request who does not see everything (default 12); 0 means none."`
	SessionsPerKey   *uint          `placeholder:"N" group:"settings" help:"How many live sessions one API key may have in the view (default 512)."`
	MaxEntries       *uint64        `placeholder:"N" group:"settings" help:"How many files, directories and others the view may have (default 1000000000); 0 means any number."`
	Live             *bool          `negatable:"" group:"settings" help:"Answer for the view only while an agent leads it."`
}

// fields are those that are given, as JSON.
func (f *viewFlags) fields() ([]byte, int) {
	fields := map[string]any{}
	for name, d := range map[string]*time.Duration{
		"session_timeout_seconds": f.SessionTimeout, "audit_interval_sec": f.AuditInterval, "sentinel_interval_sec": f.SentinelInterval,
		"hot_s": f.Hot, "staleness_s": f.Staleness, "tombstone_ttl_s": f.TombstoneTTL,
		"iceberg_interval_sec": f.IcebergInterval,
	} {
		if d != nil {
			fields[name] = d.Seconds()
		}
	}
	if f.KeepWithin != nil {
		fields["keep_within_s"] = float64(*f.KeepWithin)
	}
	if f.IcebergChanges != nil {
		fields["iceberg_changes_s"] = float64(*f.IcebergChanges)
	}
	for name, n := range map[string]*keepCount{"keep_hourly": f.KeepHourly, "keep_daily": f.KeepDaily, "keep_weekly": f.KeepWeekly,
		"keep_monthly": f.KeepMonthly, "keep_yearly": f.KeepYearly} {
		if n != nil {
			fields[name] = *n
		}
	}
	for name, b := range map[string]*bool{"allow_concurrent_push": f.ConcurrentAgents, "live": f.Live, "root_squash": f.RootSquash, "trust_modes": f.TrustModes} {
		if b != nil {
			fields[name] = *b
		}
	}
	if f.UserScans != nil {
		fields["user_scans_per_hour"] = *f.UserScans
	}
	if f.SessionsPerKey != nil {
		fields["sessions_per_key"] = *f.SessionsPerKey
	}
	if f.MaxEntries != nil {
		fields["max_entries"] = *f.MaxEntries
	}
	if f.Members != nil {
		fields["members"] = f.Members
	}
	if f.Mount != nil {
		fields["mounts"] = f.mounts()
	}
	if f.OpenTo != nil {
		fields["open_to"] = slices.DeleteFunc(slices.Clone(*f.OpenTo), func(to string) bool { return to == "" })
	}
	body, err := json.Marshal(fields)
	if err != nil { // numbers, booleans and strings
		panic(err)
	}
	return body, len(fields)
}

// keepTime is for how long versions are kept, seconds, and keepCount how many; history.Unlimited: for ever, all.
type (
	keepTime  float64
	keepCount int
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *keepTime) UnmarshalText(text []byte) error {
	if string(text) == "unlimited" {
		*k = history.Unlimited
		return nil
	}
	d, err := values.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a time such as 1h or 7d, or 'unlimited'", text)
	}
	*k = keepTime(d.Seconds())
	return nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *keepCount) UnmarshalText(text []byte) error {
	if string(text) == "unlimited" {
		*k = history.Unlimited
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a number, or 'unlimited'", text)
	}
	*k = keepCount(n)
	return nil
}

// mounts are the paths as the settings have them: clean, none empty.
func (f *viewFlags) mounts() []string {
	mounts := []string{}
	for _, m := range *f.Mount {
		if m != "" {
			mounts = append(mounts, path.Clean(m))
		}
	}
	return mounts
}

type adminViewCreateCmd struct {
	View string `arg:"" help:"Name of the view: 1 to 63 of a-z 0-9 - _."`
	viewFlags
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminViewCreateCmd) Help() string {
	return `Without this command, the first agent of a view creates it with the default settings,
which the flags below show. A view with members is a forest: every reading command asks
all of them at once. Views that match a glob later are in it, too.

Examples:

    fustor admin view create research --store s3://bucket/fustor
    fustor admin view create scratch --audit-interval 24h --live
    fustor admin view create all --members nfs01,nfs02,'scratch-*'`
}

func (c *adminViewCreateCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	fields, _ := c.fields()
	config, err := d.CreateView(ctx, c.View, fields)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, config, func(out *show.Output) { printConfig(out, config) })
}

type adminViewConfigureCmd struct {
	View string `arg:"" help:"View to configure."`
	viewFlags
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminViewConfigureCmd) Help() string {
	return `Settings that you do not name stay as they are. Running parts apply them within a
minute, live sessions with their next registration.

Examples:

    fustor admin view configure research --audit-interval 1h
    fustor admin view configure research --no-concurrent-agents --staleness 0s
    fustor admin view configure research --keep-daily 30 --keep-monthly 12
    fustor admin view configure research --mount /srv/lab,/mnt/lab
    fustor admin view configure research --open-to socket
    fustor admin view configure all --members 'nfs*','scratch-*'`
}

func (c *adminViewConfigureCmd) Run(ctx context.Context, a *app) error {
	fields, n := c.fields()
	if n == 0 {
		return usageError("no setting given; `fustor admin view show %s` shows the current ones", c.View)
	}
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	config, err := d.ConfigureView(ctx, c.View, fields)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, config, func(out *show.Output) { printConfig(out, config) })
}

func printConfig(out *show.Output, c viewconfig.Config) {
	seconds := func(s float64) string {
		if s == 0 {
			return "0"
		}
		return time.Duration(s * float64(time.Second)).String()
	}
	interval := func(s float64) string {
		if s == 0 {
			return "never"
		}
		return "every " + seconds(s)
	}
	openTo := []string{"open to", cmp.Or(strings.Join(c.OpenTo, " "), "keys alone")}
	if c.IsForest() {
		columns(out, []string{"view", c.View}, [][]string{{"members", strings.Join(c.Members, " ")}, openTo})
		return
	}
	rows := [][]string{
		{"session timeout", seconds(c.SessionTimeoutSeconds)}, {"concurrent agents", yesNo(c.AllowConcurrentPush)},
		{"audits", interval(c.AuditIntervalSeconds)}, {"sentinel", interval(c.SentinelIntervalSeconds)}, {"hot", seconds(c.HotSeconds)},
		{"staleness", seconds(c.StalenessSeconds)}, {"tombstones", seconds(c.TombstoneTTLSeconds)}, {"live", yesNo(c.Live)},
		{"history", keepText(c)}, {"iceberg table", interval(c.IcebergIntervalSeconds)}, {"iceberg changes", changesText(c)}}
	if rows = append(rows, openTo); c.MaxEntries > 0 {
		rows = append(rows, []string{"max entries", show.Count(c.MaxEntries)})
	}
	if c.RootSquash {
		rows = append(rows, []string{"root squash", yesNo(c.RootSquash)})
	}
	if c.TrustModes {
		rows = append(rows, []string{"trust modes", yesNo(c.TrustModes)})
	}
	if len(c.Mounts) > 0 {
		rows = append(rows, []string{"mounts", strings.Join(c.Mounts, " ")})
	}
	columns(out, []string{"view", c.View}, rows)
}

// keepText says which versions a view keeps: "all of 1h, 48 hourly, 90 daily, 60 monthly".
// changesText says for how long changes are kept as a table.
func changesText(c viewconfig.Config) string {
	switch keep, wanted := c.IcebergChanges(); {
	case !wanted:
		return "none"
	case keep == 0:
		return "all"
	default:
		return "of " + keep.String()
	}
}

func keepText(c viewconfig.Config) string {
	if c.KeepWithinSeconds == history.Unlimited {
		return "all"
	}
	parts := []string{"all of " + (time.Duration(c.KeepWithinSeconds * float64(time.Second))).String()}
	for _, k := range []struct {
		n   int
		why string
	}{{c.KeepHourly, history.Hourly}, {c.KeepDaily, history.Daily}, {c.KeepWeekly, history.Weekly}, {c.KeepMonthly, history.Monthly}, {c.KeepYearly, history.Yearly}} {
		switch {
		case k.n == history.Unlimited:
			parts = append(parts, "every "+k.why)
		case k.n > 0:
			parts = append(parts, fmt.Sprint(k.n, " ", k.why))
		}
	}
	return strings.Join(parts, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

type adminViewListCmd struct{ adminFlags }

// Help implements kong.HelpProvider.
func (adminViewListCmd) Help() string {
	return `Examples:

    fustor admin view list --store s3://bucket/fustor
    fustor admin view list --json | jq -r '.[] | select(.live_sessions == 0) | .view_id'`
}

func (c *adminViewListCmd) Run(ctx context.Context, a *app) error {
	d, err := c.open(ctx, a, false)
	if err != nil {
		return err
	}
	views, err := d.Views(ctx)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, views, func(out *show.Output) {
		var rows [][]string
		for _, v := range views {
			if v.Config.IsForest() {
				rows = append(rows, []string{v.ID, viewState(v), "-", "-", "-", "-", "of " + strings.Join(v.Config.Members, " ")})
				continue
			}
			rows = append(rows, []string{v.ID, viewState(v), show.Count(v.Files), show.Count(v.Dirs), show.Size(v.Bytes), fmt.Sprint(v.Sessions), dash(v.Leader)})
		}
		columns(out, []string{"VIEW", "STATE", "FILES", "DIRS", "SIZE", "SESSIONS", "LEADER"}, rows)
	})
}

func viewState(v admin.View) string {
	switch {
	case v.Config.IsForest():
		return "forest"
	case v.Ready:
		return "ready"
	case v.Sessions > 0 || v.Version > 0:
		return "first scan"
	}
	return "no agent yet"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

type adminViewShowCmd struct {
	View string `arg:"" help:"View to show."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminViewShowCmd) Help() string {
	return `Examples:

    fustor admin view show research --store s3://bucket/fustor
    fustor admin view show research --json | jq .config`
}

func (c *adminViewShowCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, false)
	if err != nil {
		return err
	}
	v, err := d.View(ctx, c.View)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, v, func(out *show.Output) {
		printConfig(out, v.Config)
		if v.Config.IsForest() {
			return
		}
		rows := [][]string{{"version", fmt.Sprint(v.Version)}, {"epoch", dash(v.Epoch)}, {"files", show.Count(v.Files)}, {"directories", show.Count(v.Dirs)},
			{"size", show.Size(v.Bytes)}, {"sessions", fmt.Sprint(v.Sessions)}, {"leader", dash(v.Leader)}}
		if v.FoldedAt != nil {
			rows = append(rows, []string{"last change", ago(float64(*v.FoldedAt) / 1e9)})
		}
		fmt.Fprintln(out)
		columns(out, []string{"state", viewState(v)}, rows)
	})
}

type adminViewDeleteCmd struct {
	View string `arg:"" help:"View to delete."`
	yesFlag
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminViewDeleteCmd) Help() string {
	return `Deletes the view's versions, layers, segments, sessions and settings. The server
refuses this while agents feed the view. API keys for the view stay: revoke them.

Examples:

    fustor admin view delete scratch --store s3://bucket/fustor
    fustor admin view delete scratch --yes`
}

func (c *adminViewDeleteCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	if err := c.confirm(a, fmt.Sprintf("delete view %s and all of its data?", c.View)); err != nil {
		return err
	}
	n, err := d.DeleteView(ctx, c.View)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, map[string]any{"view_id": c.View, "objects": n}, func(out *show.Output) {
		fmt.Fprintf(out, "deleted view %s, %s\n", c.View, values.Plural(n, "object", "objects"))
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
