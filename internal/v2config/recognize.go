package v2config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/fustor/fustor/internal/yamltree"
)

// Recognize reports whether a file that something else cannot read is one of V2's. An agent's config file of ours has sources,
// senders and pipes, too, but they have no driver.
func Recognize(body []byte) bool {
	tree, problems := yamltree.Parse(body)
	if len(problems) > 0 || tree.Root == nil {
		return false
	}
	r := &reader{loader: &loader{config: &Config{}, told: map[string]bool{}}, tree: tree}
	root, ok := tree.Pairs(tree.Root)
	if !ok {
		return false
	}
	driven, entries, names := 0, 0, map[string]bool{}
	count := func(n ast.Node) {
		if entries++; r.hasField(n, "driver") || r.hasField(n, "api_keys") {
			driven++
		}
	}
	for _, p := range root {
		name := yamltree.KeyText(p.Key)
		names[name] = true
		if below, mapping := tree.Pairs(p.Value); mapping {
			if _, section := sectionNames[name]; !section {
				count(p.Value)
				continue
			}
			for _, b := range below {
				count(b.Value)
			}
		}
	}
	has := func(any ...string) bool {
		return slices.ContainsFunc(any, func(n string) bool { return names[n] })
	}
	return driven > 0 || has("pushers", "syncs", "datastores", "receivers") ||
		has("source") && has("sender", "pusher") || has("receiver") && has("views") || has("driver") && has("view_id", "datastore_id", "driver_params")
}
