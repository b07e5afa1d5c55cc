package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// The outcomes of a step.
const (
	Created = "created" // or will be, in a dry run
	Changed = "changed"
	Same    = "same"    // it was there as planned
	Differs = "differs" // it is there with other settings or rights, and is left as it is
)

// Step is what an import does for one view or key.
type Step struct {
	What    string   `json:"what"` // view or key
	Name    string   `json:"name"`
	Outcome string   `json:"outcome"`
	Detail  []string `json:"detail"` // settings or rights; where it differs or is changed, what from and to
}

// Import makes what the plan has. What is there with other settings is left as it is, unless force is given. With dry it
// only says what it would do. Imports may be repeated, and may run at once.
func (a *Admin) Import(ctx context.Context, p *Plan, dry, force bool) ([]Step, error) {
	steps := []Step{}
	for _, v := range p.Views {
		s, err := a.importView(ctx, v, dry, force)
		if err != nil {
			return steps, err
		}
		steps = append(steps, s)
	}
	for _, k := range p.Keys {
		s, err := a.importKey(ctx, k, dry, force)
		if err != nil {
			return steps, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// fields are the planned settings, as JSON has them.
func (v PlannedView) fields() map[string]any {
	out := map[string]any{}
	for name, s := range v.Seconds {
		out[name] = s
	}
	for name, b := range v.Flags {
		out[name] = b
	}
	if v.Members != nil {
		out = map[string]any{"members": v.Members}
	}
	return out
}

func (a *Admin) importView(ctx context.Context, v PlannedView, dry, force bool) (Step, error) {
	step := Step{What: "view", Name: v.View, Outcome: Created, Detail: []string{}}
	fields := v.fields()
	body, err := json.Marshal(fields)
	if err != nil {
		return step, fmt.Errorf("encode settings: %w", err)
	}
	before, there := viewconfig.Default(v.View), true
	object, err := a.store.Get(ctx, layout.ViewConfig(v.View))
	var refused *Error
	switch {
	case err == nil:
		before, err = viewconfig.Decode(layout.ViewConfig(v.View), v.View, object.Body)
	case errors.Is(err, store.ErrNotFound):
		if err = a.exists(ctx, v.View); errors.As(err, &refused) && refused.Kind == NotFound {
			there, err = false, nil
		}
	}
	if err != nil {
		return step, err
	}
	if !there {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			step.Detail = append(step.Detail, fmt.Sprintf("%s %s", name, word(fields[name])))
		}
		if !dry {
			_, err = a.CreateView(ctx, v.View, body)
		}
		return step, err
	}
	if step.Detail, err = differences(before, fields); err != nil {
		return step, err
	}
	switch {
	case len(step.Detail) == 0:
		step.Outcome = Same
	case !force:
		step.Outcome = Differs
	default:
		step.Outcome = Changed
		if !dry {
			_, err = a.ConfigureView(ctx, v.View, body)
		}
	}
	return step, err
}

// differences are the planned settings that a view has otherwise.
func differences(c viewconfig.Config, fields map[string]any) ([]string, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	var now map[string]any
	if err := json.Unmarshal(body, &now); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if is, want := word(now[name]), word(fields[name]); is != want {
			out = append(out, fmt.Sprintf("%s is %s, V2 has %s", name, is, want))
		}
	}
	return out, nil
}

// word is a setting's value for people.
func word(v any) string {
	switch t := v.(type) {
	case nil:
		return "unset"
	case []any:
		words := make([]string, len(t))
		for i, m := range t {
			words[i] = word(m)
		}
		return strings.Join(words, ",")
	case []string:
		return strings.Join(t, ",")
	}
	return fmt.Sprint(v)
}

func (a *Admin) importKey(ctx context.Context, k PlannedKey, dry, force bool) (Step, error) {
	step := Step{What: "key", Name: k.Name, Outcome: Created, Detail: []string{rights(k.Roles, k.Views)}}
	record := access.Record{Name: k.Name, Roles: k.Roles, Views: k.Views, CreatedAt: a.now().UnixNano()}
	object, err := a.store.Get(ctx, layout.KeyConfig(access.Hash(k.secret)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		if dry {
			return step, nil
		}
		_, err := a.RegisterKey(ctx, k.NewKey, k.secret)
		return step, err
	case err != nil:
		return step, err
	}
	known, err := access.DecodeRecord("the record", access.Hash(k.secret), object.Body)
	is := "damaged"
	if err == nil {
		is = rights(known.Roles, known.Views)
	}
	if is == step.Detail[0] {
		step.Name, step.Outcome = known.Name, Same
		return step, nil
	}
	step.Name, step.Outcome = cmp.Or(known.Name, k.Name), Differs
	step.Detail = []string{fmt.Sprintf("it is %s, V2 has %s", is, step.Detail[0])}
	if !force {
		return step, nil
	}
	step.Outcome = Changed
	if dry {
		return step, nil
	}
	body, err := json.Marshal(record)
	if err != nil {
		return step, fmt.Errorf("encode key record: %w", err)
	}
	_, err = store.Swap(ctx, a.store, layout.KeyConfig(access.Hash(k.secret)), body, object.ETag)
	return step, err
}

// rights are what a key may do, in one order.
func rights(roles []access.Role, views access.Views) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	slices.Sort(words)
	names := "all views"
	if !views.All {
		names = strings.Join(slices.Sorted(slices.Values(views.Names)), ",")
	}
	return strings.Join(words, ",") + " on " + names
}
