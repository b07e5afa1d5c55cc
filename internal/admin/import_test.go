package admin_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/v2config"
)

func noEnv(string) string { return "" }

func plan(t *testing.T, body string, getenv func(string) string) *admin.Plan {
	t.Helper()
	v2, err := v2config.Parse(v2config.File{Path: "fusion-config/default.yaml", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := admin.PlanV2(v2, getenv)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func describe(p *admin.Plan) string {
	var lines []string
	for _, v := range p.Views {
		body, _ := json.Marshal([]any{v.Seconds, v.Flags, v.Members})
		lines = append(lines, fmt.Sprintf("view %s %s", v.View, body))
	}
	for _, k := range p.Keys {
		lines = append(lines, fmt.Sprintf("key %s %v on %v", k.Name, k.Roles, k.Views.Names))
	}
	return strings.Join(lines, "\n")
}

func warned(p *admin.Plan) string {
	lines := []string{}
	for _, w := range p.Warnings {
		lines = append(lines, w.String())
	}
	return strings.Join(lines, "\n")
}

// A whole directory comes to these views and keys.
func TestPlanOfFullDirectory(t *testing.T) {
	v2, err := v2config.Load("../v2config/testdata/full")
	if err != nil {
		t.Fatal(err)
	}
	p, err := admin.PlanV2(v2, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := `view lab [{"audit_interval_sec":7200,"hot_s":30,"sentinel_interval_sec":60,"session_timeout_seconds":60,"tombstone_ttl_s":1800},{"allow_concurrent_push":true},null]
view copies [{"audit_interval_sec":7200,"session_timeout_seconds":60},{"allow_concurrent_push":true},null]
view research [{"hot_s":600,"session_timeout_seconds":45},{"live":true},null]
view north [{},{},null]
view south [{},{},null]
view home [{"audit_interval_sec":3600,"session_timeout_seconds":120},{"allow_concurrent_push":false},null]
view everything [{},{},["lab","research"]]
view sites [{},{},["north","south"]]
key v2-lab-in [ingest] on [lab]
key v2-north [ingest query] on [north]
key v2-south [ingest query] on [south]
key v2-archive-in [ingest query] on [research]
key v2-datastore-home [ingest query] on [home]
key v2-reader-lab [query] on [lab]
key v2-reader-everything [query] on [everything lab research]`
	if got := describe(p); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, want := range []string{
		"V2 gives this key's events to the views lab, copies. Here a key feeds one view: it feeds lab", "key v2-datastore-home: it has 13 characters",
		"receiver front: it listens on port 8102: with `--listen HOST:8102`", "view Copies: it is copies here", "view lab: max_tree_items has no counterpart",
		"view sites: each of its pipes feeds a view of its own here, and the forest has them as members: north, south", "receivers-config.yaml:7: the field pipeline_id is deprecated",
	} {
		if strings.Count(warned(p), want) != 1 {
			t.Errorf("not warned once: %q in\n%s", want, warned(p))
		}
	}
	if strings.Contains(warned(p), "fk_") || strings.Contains(warned(p), "heartbeat") {
		t.Errorf("a key, or what is for agents, is in\n%s", warned(p))
	}
}

// One key in several places: what it may do stays what V2's agents need.
func TestPlannedKeys(t *testing.T) {
	p := plan(t, `
receivers:
  r: {driver: http, api_keys: [{key: both, pipe_id: a}, {key: two, pipe_id: a}, {key: two, pipe_id: b}, {key: "${K}", pipe_id: b}, {key: off, pipe_id: gone}]}
views:
  a: {driver: fs, api_keys: [both, shared]}
  b: {driver: fs, api_keys: [both, shared]}
  c: {driver: sql, api_keys: [shared]}
  gone: {driver: fs, disabled: true}
pipes: {}
`, func(name string) string { return map[string]string{"K": "from-the-environment-of-the-server"}[name] })
	if got, want := describe(p), `view a [{},{},null]
view b [{},{},null]
key v2-receiver-r [ingest query] on [a]
key v2-receiver-r-2 [ingest] on [a]
key v2-receiver-r-3 [ingest] on [b]
key v2-reader-a [query] on [a b]`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, want := range []string{"it feeds a, and a key that feeds a view is for that view alone: make another for readers of b", "this key feeds a already", `the driver "sql" has no counterpart`,
		"view gone: it is disabled", "this key is left out, because it leads to no view: gone is left out"} {
		if !strings.Contains(warned(p), want) {
			t.Errorf("no warning of %q in\n%s", want, warned(p))
		}
	}
}

func TestPlanProblems(t *testing.T) {
	for _, body := range []string{"views: {A: {driver: fs}, a: {driver: fs}}", "views: {'--': {driver: fs}}", "receivers: {r: {api_keys: [{key: '${NO}', pipe_id: v}]}}\nviews: {v: {driver: fs}}"} {
		v2, err := v2config.Parse(v2config.File{Path: "fusion-config/default.yaml", Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		var e *v2config.Error
		if _, err := admin.PlanV2(v2, noEnv); !errors.As(err, &e) || e.Problems[0].Line < 1 {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Settings that a view cannot have are brought into its bounds, with a word.
func TestPlannedBounds(t *testing.T) {
	p := plan(t, "views: {v: {driver: fs, session_timeout_seconds: 0.2, driver_params: {hot_file_threshold: 9000000}}}\npipes: {p: {receiver: r, views: [v], audit_interval_sec: 0}}\nreceivers: {r: {api_keys: [{key: k, pipe_id: p}]}}", noEnv)
	if got := describe(p); !strings.HasPrefix(got, `view v [{"audit_interval_sec":0,"hot_s":604800,"session_timeout_seconds":1},{},null]`) || strings.Count(warned(p), "is taken") != 2 {
		t.Errorf("%s\n%s", got, warned(p))
	}
}

func outcomes(steps []admin.Step) string {
	var words []string
	for _, s := range steps {
		words = append(words, s.Name+" "+s.Outcome)
	}
	return strings.Join(words, ", ")
}

// An import does what it says, once; it changes what is there only with force; and V2's keys work.
func TestImport(t *testing.T) {
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, err := admin.New(admin.Options{Store: st, Now: time.Now, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	const secret = "fk_a-key-of-v2-that-is-long-enough-to-keep"
	p := plan(t, "receivers: {r: {api_keys: [{key: "+secret+", pipe_id: v}]}}\nviews: {v: {driver: fs, live_mode: true, api_keys: [q], driver_params: {hot_file_threshold: 30}}, all: {driver: multi-fs, driver_params: {members: [v]}}}", noEnv)
	run := func(dry, force bool, want string) []admin.Step {
		t.Helper()
		steps, err := a.Import(t.Context(), p, dry, force)
		if err != nil || outcomes(steps) != want {
			t.Fatalf("%s, %v; want %s", outcomes(steps), err, want)
		}
		return steps
	}
	run(true, false, "v created, all created, v2-receiver-r created, v2-reader-v created")
	if views, err := a.Views(t.Context(), access.AllViews); err != nil || len(views) != 0 {
		t.Fatalf("a dry run made %v, %v", views, err)
	}
	run(false, false, "v created, all created, v2-receiver-r created, v2-reader-v created")
	run(false, false, "v same, all same, v2-receiver-r same, v2-reader-v same")
	auth, err := access.New(access.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	record, err := auth.Authenticate(context.Background(), secret)
	if view, single := record.Views.Single(); err != nil || !single || view != "v" || !record.Allows(access.Ingest) || record.Allows(access.Query) {
		t.Errorf("the key is %+v, %v", record, err)
	}

	// Somebody has changed the view and the key.
	if _, err := a.ConfigureView(t.Context(), "v", []byte(`{"hot_s": 45, "staleness_s": 7}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RevokeKey(t.Context(), access.AllViews, "v2-receiver-r"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RegisterKey(t.Context(), admin.NewKey{Name: "mine", Roles: []access.Role{access.Admin}, Views: access.AllViews}, secret); err != nil {
		t.Fatal(err)
	}
	steps := run(false, false, "v differs, all same, mine differs, v2-reader-v same")
	if !slices.Equal(steps[0].Detail, []string{"hot_s is 45, V2 has 30"}) || !slices.Equal(steps[2].Detail, []string{"it is admin on all views, V2 has ingest on v"}) {
		t.Errorf("%+v", steps)
	}
	run(true, true, "v changed, all same, mine changed, v2-reader-v same")
	run(false, false, "v differs, all same, mine differs, v2-reader-v same")
	run(false, true, "v changed, all same, mine changed, v2-reader-v same")
	run(false, false, "v same, all same, v2-receiver-r same, v2-reader-v same")
	if v, err := a.View(t.Context(), "v"); err != nil || v.Config.HotSeconds != 30 || v.Config.StalenessSeconds != 7 || !v.Config.Live {
		t.Errorf("%+v, %v", v.Config, err)
	}
}
