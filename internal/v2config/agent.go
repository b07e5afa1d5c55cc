package v2config

import (
	"net/url"
	"path"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const (
	byItself   = "the agent sets this by itself"
	byBatches  = "the agent makes its batches by itself"
	byRetries  = "the agent tries again for as long as it takes, and keeps unsent events in its spool (spool_size)"
	byTimeouts = "the agent's time-outs are fixed"
)

// driverOf is a section entry's driver, which decides what else is read.
func (r *reader) driverOf(pairs []pair) (driver Text) {
	for _, p := range pairs {
		if p.name == "driver" || p.name == "type" && driver.Value == "" {
			r.text(&driver)(p.value)
		}
	}
	return driver
}

func (r *reader) source(name string, key, n ast.Node) {
	s := &Source{Place: r.place(key), ID: name}
	pairs := r.pairs(n, "source "+printable(name))
	if s.Driver = r.driverOf(pairs); !s.Driver.Given() {
		r.problem(key, "source %q has no driver", printable(name))
	}
	r.config.Sources = replace(r, r.config.Sources, key, "source", name, func(s *Source) string { return s.ID }, s)
	if s.Driver.Value != FS {
		r.readDisabled(pairs, &s.Disabled)
		return
	}
	what := "source " + printable(name)
	take := map[string]func(ast.Node){
		"driver": func(ast.Node) {},
		"uri":    r.text(&s.Path),
		"paths": func(n ast.Node) {
			var all []Text
			if r.texts(&all)(n); len(all) > 0 && !s.Path.Given() {
				s.Path = all[0]
			}
			if len(all) > 1 {
				r.warn(n, what, "%s: a source has one path here: only %s is taken; add a source and a pipe for each other one", what, printable(all[0].Value))
			}
		},
		"credential": func(n ast.Node) {
			r.warn(n, what, "%s: credential has no counterpart: the agent reads the tree as the user that it runs as", what)
		},
	}
	r.off(take, &s.Disabled)
	params := map[string]func(ast.Node){"max_scan_workers": r.number(&s.Workers, 1, 1024)}
	for _, name := range []string{"exclude", "excludes", "exclude_patterns", "excluded_patterns", "ignore_patterns"} {
		take[name], params[name] = r.texts(&s.Exclude), r.texts(&s.Exclude)
	}
	take["driver_params"] = func(n ast.Node) {
		r.read(n, shape{what: what, take: params, other: map[string]string{
			"throttle_interval_sec":      "the agent waits until a path has settled by itself; scan_rate bounds its scans",
			"min_monitoring_window_days": "the agent watches every directory, or the busiest where watches are short",
			"max_sync_delay_seconds":     "the agent sends a second after a change at the latest",
			"file_pattern":               "the view has every file; exclude leaves some out, and `fustor find --name` finds some",
			"startup_mode":               "a leader always scans the tree first",
		}, quiet: map[string]string{"file_pattern": "*", "startup_mode": "all"}})
	}
	before := len(r.problems)
	r.readPairs(pairs, shape{what: what, take: take, other: map[string]string{
		"type": "", "max_queue_size": byRetries, "max_retries": byRetries, "retry_delay_sec": byRetries,
	}})
	if s.Path.Given() {
		r.sourcePath(s)
	} else if len(r.problems) == before {
		r.problem(key, "source %q has no uri", printable(name))
	}
}

// sourcePath makes a path of a source's uri.
func (r *reader) sourcePath(s *Source) {
	name := s.Path.Value
	if strings.HasPrefix(name, "file://") {
		u, err := url.Parse(name)
		if name = ""; err == nil && (u.Host == "" || u.Host == "localhost") {
			name = u.Path
		}
	}
	if !path.IsAbs(name) {
		r.problemAt(s.Path.Place, "uri %q is not an absolute path", printable(s.Path.Value))
		return
	}
	s.Path.Value = path.Clean(name)
}

func (r *reader) readDisabled(pairs []pair, disabled *bool) {
	take := map[string]func(ast.Node){}
	r.off(take, disabled)
	for _, p := range pairs {
		if f := take[p.name]; f != nil && !r.null(p.value) {
			f(p.value)
		}
	}
}

func (r *reader) sender(name string, key, n ast.Node) {
	what := "sender " + printable(name)
	s := &Sender{Place: r.place(key), ID: name}
	pairs := r.pairs(n, what)
	if s.Driver = r.driverOf(pairs); !s.Driver.Given() {
		r.problem(key, "sender %q has no driver", printable(name))
	}
	r.config.Senders = replace(r, r.config.Senders, key, "sender", name, func(s *Sender) string { return s.ID }, s)
	switch s.Driver.Value {
	case Fusion, HTTP, Echo, OpenAPI:
	default:
		r.readDisabled(pairs, &s.Disabled)
		return
	}
	tuning := map[string]string{
		"batch_size": byBatches, "max_retries": byRetries, "retry_delay_sec": byRetries, "timeout_sec": byTimeouts, "timeout": byTimeouts,
		"request_timeout_seconds": byTimeouts, "max_connections": byItself,
	}
	take := map[string]func(ast.Node){
		"driver": func(ast.Node) {},
		"uri":    r.text(&s.URL),
		"credential": func(n ast.Node) {
			r.read(n, shape{what: what, take: map[string]func(ast.Node){"key": r.key(&s.Key)},
				old: map[string]string{"api_key": "key"}, other: map[string]string{"user": "", "passwd": "a sender has an API key", "password": "a sender has an API key"}})
		},
		"api_key": func(n ast.Node) {
			r.deprecated(n, "a sender's api_key", "credential.key")
			r.key(&s.Key)(n)
		},
		"driver_params": func(n ast.Node) {
			r.read(n, shape{what: what, take: map[string]func(ast.Node){"view_id": r.text(&s.View)}, old: map[string]string{"datastore_id": "view_id"}, other: tuning})
		},
	}
	r.off(take, &s.Disabled)
	other := map[string]string{"type": ""}
	for name, why := range tuning {
		other[name] = why
	}
	before := len(r.problems)
	r.readPairs(pairs, shape{what: what, take: take, old: map[string]string{"endpoint": "uri"}, other: other})
	switch u, err := url.Parse(s.URL.Value); {
	case s.Driver.Value == Echo:
	case !s.URL.Given():
		if len(r.problems) == before {
			r.problem(key, "sender %q has no uri", printable(name))
		}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		r.problemAt(s.URL.Place, "the sender's uri is not a URL such as http://HOST:PORT")
	case u.User != nil:
		r.problemAt(s.URL.Place, "the sender's uri has a password in it: put a key into credential")
	}
}

func (r *reader) agentPipe(name string, key ast.Node, pairs []pair) {
	what := "pipe " + printable(name)
	p := &AgentPipe{Place: r.place(key), ID: name}
	r.config.AgentPipes = replace(r, r.config.AgentPipes, key, "pipe", name, func(p *AgentPipe) string { return p.ID }, p)
	take := map[string]func(ast.Node){
		"id":                      func(ast.Node) {},
		"source":                  r.text(&p.Source),
		"sender":                  r.text(&p.Sender),
		"audit_interval_sec":      r.seconds(&p.Audit),
		"sentinel_interval_sec":   r.seconds(&p.Sentinel),
		"session_timeout_seconds": r.seconds(&p.SessionTimeout),
		"fields_mapping":          func(n ast.Node) { r.list(n, "fields_mapping", func(n ast.Node) { r.field(p, what, n) }) },
	}
	r.off(take, &p.Disabled)
	before := len(r.problems)
	r.readPairs(pairs, shape{what: what, take: take, old: map[string]string{"pusher": "sender", "sync_id": "id", "pipeline_id": "id", "pipe_id": "id"},
		other: map[string]string{
			"heartbeat_interval_sec": "heartbeats follow the session's time-out", "error_retry_interval": byRetries, "max_consecutive_errors": byRetries,
			"backoff_multiplier": byRetries, "max_backoff_seconds": byRetries, "max_retries": byRetries, "request_timeout_seconds": byTimeouts,
			"batch_size": byBatches, "extra": "",
		}})
	if len(r.problems) == before && (!p.Source.Given() || !p.Sender.Given()) {
		r.problem(key, "pipe %q needs a source and a sender", printable(name))
	}
}

func (r *reader) field(p *AgentPipe, what string, n ast.Node) {
	f := Field{Place: r.place(n)}
	before := len(r.problems)
	r.read(n, shape{what: what, take: map[string]func(ast.Node){
		"to": r.text(&f.To),
		"source": func(n ast.Node) {
			var all []Text
			if r.texts(&all)(n); len(all) > 0 { // V2 takes the first
				f.Source = all[0]
				if name, typ, ok := strings.Cut(f.Source.Value, ":"); ok {
					f.Source.Value, f.Type = name, typ
				}
			}
		},
		"hardcoded_value": func(n ast.Node) {
			f.Value = Text{r.place(n), r.written(n)}
			switch t := r.tree.Plain(n).(type) {
			case *ast.StringNode:
				f.Constant = t.Value
			case *ast.BoolNode:
				f.Constant = t.Value
			case *ast.IntegerNode:
				f.Constant = t.Value
			case *ast.FloatNode:
				f.Constant = t.Value
			default:
				r.problem(n, "must be a text, a number, true or false")
			}
		},
	}, other: map[string]string{"required": ""}})
	switch {
	case len(r.problems) > before:
	case !f.To.Given():
		r.problem(n, "a rule of fields_mapping needs to")
	case !f.Source.Given() && f.Constant == nil:
		r.problem(n, "a rule of fields_mapping needs a source or a hardcoded_value")
	default:
		p.Fields = append(p.Fields, f)
	}
}
