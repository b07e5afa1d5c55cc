//go:build !reading

package main

import "context"

type upCmd struct {
	Dir              string   `arg:"" optional:"" default:"." help:"Directory to index (default: the current one)."`
	Data             string   `placeholder:"DIR" env:"FUSTOR_DATA" help:"Directory for the index, the key and up.json (default ~/.local/share/fustor)."`
	Listen           string   `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to serve on (default 127.0.0.1:8080)."`
	View             string   `default:"default" placeholder:"VIEW" env:"FUSTOR_VIEW" help:"Name of the view (default: default)."`
	APIKey           string   `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Key that clients must send (default: create one and keep it)."`
	Exclude          []string `sep:"none" placeholder:"PATTERN" help:"Leave out what matches this pattern, as in .gitignore; may be repeated."`
	Watch            string   `placeholder:"HOW" enum:"auto,fanotify,inotify,none" default:"auto" env:"FUSTOR_AGENT_WATCH" help:"Watching method: auto (the best that works), fanotify, inotify or none (audits only) (default: ${default})."`
	CrossFileSystems bool     `help:"Also index other file systems mounted below DIR, but never proc, sysfs and their like."`
	Replace          bool     `help:"Replace the view if it is an index of another directory."`
	JSON             bool     `name:"json" help:"Print the server's address and key file as a JSON object."`
	apiFlags         `embed:""`
	callerFlags      `embed:""`
	tlsFlags         `embed:""`
}

// Help implements kong.HelpProvider.
func (upCmd) Help() string {
	return `Indexes DIR, keeps the index current while DIR changes, and serves it, all in this
process. The index is in the data directory; a restart continues from there. Reading
commands on this machine find the server by themselves.

Examples:

    fustor up /usr
    fustor up /srv/data --data /var/lib/fustor --listen 0.0.0.0:8080
    fustor up /srv/data --listen 0.0.0.0:443 --tls-cert /etc/fustor/tls.crt --tls-key /etc/fustor/tls.key
    fustor up . --exclude '*.tmp' --exclude '.git'`
}

func (c *upCmd) Run(ctx context.Context, a *app) error {
	end, err := a.startTraces(ctx, "up", a.logger("up"))
	if err != nil {
		return err
	}
	defer end()
	u := &up{upCmd: c, app: a}
	if err := u.prepare(ctx); err != nil {
		return err
	}
	defer u.close()
	return u.run(ctx)
}
