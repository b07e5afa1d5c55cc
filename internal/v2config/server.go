package v2config

import (
	"github.com/goccy/go-yaml/ast"
)

func (r *reader) receiver(name string, key, n ast.Node) {
	what := "receiver " + printable(name)
	v := &Receiver{Place: r.place(key), ID: name}
	r.config.Receivers = replace(r, r.config.Receivers, key, "receiver", name, func(v *Receiver) string { return v.ID }, v)
	take := map[string]func(ast.Node){
		"driver":                  r.text(&v.Driver),
		"port":                    r.number(&v.Port, 1, 65535),
		"session_timeout_seconds": r.seconds(&v.SessionTimeout),
		"allow_concurrent_push":   r.yes(&v.Concurrent),
		"api_keys":                func(n ast.Node) { r.receiverKeys(v, what, n) },
	}
	r.off(take, &v.Disabled)
	r.read(n, shape{what: what, take: take, old: map[string]string{"host": "bind_host"},
		other: map[string]string{"bind_host": "", "id": "", "extra": "", "driver_params": "the server's limits are fixed"}})
}

// receiverKeys are a list of {key, pipe_id}, a list of keys, or in older files a mapping of keys to views.
func (r *reader) receiverKeys(v *Receiver, what string, n ast.Node) {
	add := func(k ReceiverKey) {
		if k.Given() {
			v.Keys = append(v.Keys, k)
		}
	}
	if _, list := r.tree.Plain(n).(*ast.SequenceNode); !list {
		if _, mapping := r.tree.Pairs(n); !mapping {
			r.problem(n, "api_keys must be a list of key and pipe_id")
			return
		}
		r.deprecated(n, "a mapping of keys in api_keys", "a list of key and pipe_id")
		for _, p := range r.pairs(n, "api_keys") {
			var k ReceiverKey
			r.key(&k.Key)(p.key)
			r.read(p.value, shape{what: what, take: map[string]func(ast.Node){"view_mappings": r.texts(&k.Views)}, other: map[string]string{"role": ""}})
			add(k)
		}
		return
	}
	r.list(n, "api_keys", func(n ast.Node) {
		k := ReceiverKey{}
		if _, mapping := r.tree.Pairs(n); !mapping { // a key alone is for the pipe of the receiver's name
			r.key(&k.Key)(n)
			k.Pipe = Text{r.place(n), v.ID}
			add(k)
			return
		}
		before := len(r.problems)
		r.read(n, shape{what: what, take: map[string]func(ast.Node){"key": r.key(&k.Key), "pipe_id": r.text(&k.Pipe)},
			old: map[string]string{"pipeline_id": "pipe_id", "view_id": "pipe_id", "datastore_id": "pipe_id"}})
		if len(r.problems) == before && (!k.Given() || !k.Pipe.Given()) {
			r.problem(n, "an entry of api_keys needs key and pipe_id")
			return
		}
		add(k)
	})
}

func (r *reader) view(name string, key ast.Node, pairs []pair) {
	what := "view " + printable(name)
	v := &View{Place: r.place(key), ID: name, Driver: Text{r.place(key), FS}}
	r.config.Views = replace(r, r.config.Views, key, "view", name, func(v *View) string { return v.ID }, v)
	params := map[string]func(ast.Node){
		"hot_file_threshold": r.seconds(&v.Hot),
		"members":            func(n ast.Node) { r.list(n, "members", func(n ast.Node) { r.member(v, n) }) },
		"live_mode":          r.yes(&v.Live),
		"consistency": func(n ast.Node) {
			r.read(n, shape{what: what, take: map[string]func(ast.Node){"tombstone_ttl_seconds": r.seconds(&v.Tombstone)}})
		},
		"tombstone_ttl_seconds": r.seconds(&v.Tombstone),
	}
	old := map[string]string{"hot_file_threshold_sec": "hot_file_threshold", "hot_item_threshold": "hot_file_threshold"}
	take := map[string]func(ast.Node){
		"id": func(ast.Node) {}, "driver": r.driver(&v.Driver), "view_id": r.text(&v.Group),
		"session_timeout_seconds": r.seconds(&v.SessionTimeout), "allow_concurrent_push": r.yes(&v.Concurrent), "live_mode": r.yes(&v.Live),
		"api_keys": func(n ast.Node) {
			r.list(n, "api_keys", func(n ast.Node) {
				var k Key
				if r.key(&k)(n); k.Given() {
					v.Keys = append(v.Keys, k)
				}
			})
		},
		"driver_params": func(n ast.Node) {
			r.read(n, shape{what: what, take: params, old: old, other: map[string]string{
				"suspect_ttl_seconds": "hot_file_threshold alone says how long a file counts as being written",
				"max_tree_items":      "V2's calls under /v2 answer trees of at most 100,000 nodes, and native answers come in pages",
				"blind_spot_style":    "blind spots are always marked", "uri": "", "root_path": "", "create_dirs": "",
			}})
		},
	}
	r.off(take, &v.Disabled)
	r.readPairs(pairs, shape{what: what, take: take, old: map[string]string{"datastore_id": "view_id", "config": "driver_params"}, other: map[string]string{"name": "", "extra": ""}})
}

// driver reads a view's driver. Each kind of forest has one name here.
func (r *reader) driver(to *Text) func(ast.Node) {
	return func(n ast.Node) {
		r.text(to)(n)
		switch to.Value {
		case "fs-forest", "fs_forest", "view-fs-forest", "forest-fs":
			to.Value = Forest
		case "multi_fs", "view-multi-fs":
			to.Value = MultiFS
		}
	}
}

// member is a view's name, or {id: NAME}.
func (r *reader) member(v *View, n ast.Node) {
	var t Text
	if _, mapping := r.tree.Pairs(n); mapping {
		r.read(n, shape{what: v.About(), take: map[string]func(ast.Node){"view_id": r.text(&t)}, old: map[string]string{"id": "view_id"}})
	} else {
		r.text(&t)(n)
	}
	if t.Given() {
		v.Members = append(v.Members, t)
	}
}

func (r *reader) fusionPipe(name string, key ast.Node, pairs []pair) {
	what := "pipe " + printable(name)
	p := &FusionPipe{Place: r.place(key), ID: name}
	r.config.FusionPipes = replace(r, r.config.FusionPipes, key, "pipe", name, func(p *FusionPipe) string { return p.ID }, p)
	take := map[string]func(ast.Node){
		"id": func(ast.Node) {}, "receiver": r.text(&p.Receiver), "views": r.texts(&p.Views),
		"session_timeout_seconds": r.seconds(&p.SessionTimeout), "allow_concurrent_push": r.yes(&p.Concurrent),
		"audit_interval_sec": r.seconds(&p.Audit), "sentinel_interval_sec": r.seconds(&p.Sentinel),
	}
	r.off(take, &p.Disabled)
	r.readPairs(pairs, shape{what: what, take: take, old: map[string]string{"pipeline_id": "id", "pipe_id": "id", "view_ids": "views"}, other: map[string]string{"extra": ""}})
}

func (r *reader) datastore(name string, key, n ast.Node) {
	d := &Datastore{Place: r.place(key), ID: name}
	r.config.Datastores = replace(r, r.config.Datastores, key, "datastore", name, func(d *Datastore) string { return d.ID }, d)
	before := len(r.problems)
	r.read(n, shape{what: "datastore " + printable(name), take: map[string]func(ast.Node){
		"api_key": r.key(&d.Key), "session_timeout_seconds": r.seconds(&d.SessionTimeout), "allow_concurrent_push": r.yes(&d.Concurrent),
	}, other: map[string]string{"name": "", "id": "", "driver": ""}})
	if !d.Key.Given() && len(r.problems) == before {
		r.problem(key, "datastore %q has no api_key", printable(name))
	}
}
