//go:build !reading

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fustor/fustor/agent/config"
	"github.com/fustor/fustor/internal/v2config"
)

type agentImportCmd struct {
	Path   []string `arg:"" help:"Files of Fustor V2, or directories such as ~/.fustor."`
	Output string   `short:"o" placeholder:"FILE" help:"Write the config file here (default: stdout)."`
	Force  bool     `help:"Overwrite files that exist."`
	Ingest string   `placeholder:"URL" help:"URL of the new server (default: where V2's agent sends)."`
	View   []string `placeholder:"[PIPE=]VIEW" help:"View that a pipe feeds, or all pipes for which the files do not say it; may be repeated."`
	Keys   string   `enum:"inline,file,env" default:"inline" placeholder:"HOW" help:"Where the API keys go: inline, file (beside FILE) or env (default: ${default})."`
}

// Help implements kong.HelpProvider.
func (agentImportCmd) Help() string {
	return `Reads the configuration of a Fustor V2 agent and writes a config file for fustor agent.
It reads all layouts: agent-config/, sources-config.yaml with senders-config.yaml and
agent-pipes-config/, and the deprecated pushers and syncs. What has no counterpart is
named on stderr with its file and line, and in a comment of the new file. If anything
is wrong, nothing is written and the exit code is 2.

V2's agents do not name the views that they feed: the server knows them by the agent's
key. Pass the server's files too, or name the views with --view.

Examples:

    fustor agent import ~/.fustor -o agent.yaml
    fustor agent import ~/.fustor --view research --ingest https://ingest.example.org
    fustor agent import agent-config/ server/fusion-config/ --keys file -o agent.yaml
    fustor agent import ~/.fustor -o agent.yaml && fustor agent check --config agent.yaml`
}

func (c *agentImportCmd) Run(a *app) error {
	o := config.Import{Ingest: c.Ingest, Keys: c.Keys, Views: map[string]string{}}
	for _, word := range c.View {
		pipe, view, named := strings.Cut(word, "=")
		if !named {
			pipe, view = "", word
		}
		if err := checkView(view); err != nil {
			return err
		}
		if named {
			o.Views[pipe] = view
		} else {
			o.View = view
		}
	}
	if c.Keys == config.KeysFile && c.Output == "" {
		return usageError("--keys file puts the keys beside the config file: name that with -o FILE")
	}
	if u, err := url.Parse(c.Ingest); c.Ingest != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return usageError("--ingest %q is not the URL of an ingest: write http://HOST:PORT", c.Ingest)
	}
	v2, err := v2config.Load(c.Path...)
	if err != nil {
		return v2Failure(err)
	}
	for _, pipe := range sortedKeys(o.Views) {
		if !slices.ContainsFunc(v2.AgentPipes, func(p *v2config.AgentPipe) bool { return p.ID == pipe }) {
			return usageError("--view %s=%s: the files have no pipe %q", pipe, o.Views[pipe], pipe)
		}
	}
	m, err := config.FromV2(v2, o)
	if m != nil {
		a.warnOfV2(m.Warnings)
	}
	switch {
	case errors.Is(err, config.ErrNoAgent):
		return &cliError{msg: err.Error(), hint: "`fustor admin import` makes views and keys of them", code: exitUsage, err: err}
	case err != nil:
		return &cliError{msg: err.Error(), hint: "the warnings say why", code: exitUsage, err: err}
	}
	if c.Output == "" {
		_, err := a.stdout.Write(m.Body)
		return err
	}
	if err := c.write(m); err != nil {
		return err
	}
	for _, variable := range sortedKeys(m.KeyEnv) {
		a.say("set %s to the key of V2's sender %s before you run the agent", variable, m.KeyEnv[variable])
	}
	a.say("%s is written; `fustor agent check --config %s` shows its pipes", c.Output, c.Output)
	return nil
}

// write writes the config file and its key files, none of them if one is there already.
func (c *agentImportCmd) write(m *config.Imported) error {
	type file struct {
		path, body string
		mode       fs.FileMode
	}
	var files []file
	for _, name := range sortedKeys(m.KeyFiles) {
		files = append(files, file{filepath.Join(filepath.Dir(c.Output), name), m.KeyFiles[name] + "\n", 0o600})
	}
	mode := fs.FileMode(0o644)
	if m.Secret {
		mode = 0o600
	}
	files = append(files, file{c.Output, string(m.Body), mode})
	for _, f := range files {
		if _, err := os.Lstat(f.path); err == nil && !c.Force {
			return &cliError{msg: fmt.Sprintf("%s exists", f.path), hint: "choose another file with -o, or overwrite it with --force", code: exitUsage}
		}
	}
	for _, f := range files {
		if err := replaceFile(f.path, f.body, f.mode); err != nil {
			return &cliError{msg: fmt.Sprintf("cannot write %s: %v", f.path, plain(err)), code: exitUsage, err: err}
		}
	}
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(path, body string, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it was renamed
	_, err = f.WriteString(body)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// warnOfV2 prints what is not taken over, one line each.
func (a *app) warnOfV2(warnings []v2config.Warning) {
	for _, w := range warnings {
		a.warn("%s", w)
	}
}

// v2Failure tells what is wrong with a configuration of V2's.
func v2Failure(err error) error {
	var e *v2config.Error
	switch {
	case errors.As(err, &e):
		word := "problems"
		if len(e.Problems) == 1 {
			word = "problem"
		}
		return &cliError{msg: fmt.Sprintf("the configuration of Fustor V2 has %d %s\n%s", len(e.Problems), word, e),
			hint: "nothing was written; mend the files, or a copy of them, and try again", code: exitUsage, err: err}
	case errors.Is(err, v2config.ErrNothing):
		return &cliError{msg: err.Error(), hint: "name V2's home (~/.fustor), one of its directories such as agent-config, or files", code: exitUsage, err: err}
	}
	return &cliError{msg: err.Error(), code: exitUsage, err: err}
}
