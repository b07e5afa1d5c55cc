//go:build !reading

package main

import (
	"github.com/fustor/fustor/cmd/fustor/internal/complete"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help implements kong.HelpProvider.
func (completionCmd) Help() string {
	return `Examples:

    source <(fustor completion bash)         # in ~/.bashrc
    fustor completion zsh > "${fpath[1]}/_fustor"
    fustor completion fish > ~/.config/fish/completions/fustor.fish`
}

func (c *completionCmd) Run(a *app) error {
	out := a.out()
	complete.Write(out, c.Shell, a.model)
	return out.Flush()
}
