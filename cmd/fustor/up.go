package main

import "context"

type upCmd struct {
	Dir              string   `arg:"" optional:"" default:"." help:"Directory to index (default: the current one)."`
	Data             string   `placeholder:"DIR" env:"FUSTOR_DATA" help:"Where the index, the key and up.json are kept (default ~/.local/share/fustor)."`
	Listen           string   `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to serve on (default 127.0.0.1:8080)."`
	View             string   `default:"default" placeholder:"VIEW" env:"FUSTOR_VIEW" help:"Name of the view (default: default)."`
	APIKey           string   `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Key that clients must send; without it one is made and kept."`
	Exclude          []string `sep:"none" placeholder:"GLOB" help:"Leave out what this glob matches; may be repeated."`
	Watch            string   `placeholder:"HOW" enum:"auto,fanotify,inotify,none" default:"auto" env:"FUSTOR_AGENT_WATCH" help:"How to watch: auto, the best that works; fanotify or inotify; none, to leave it to audits (default: ${default})."`
	CrossFileSystems bool     `help:"Also index other file systems that are mounted below DIR."`
	JSON             bool     `name:"json" help:"Print where the server is as a JSON object."`
}

// Help implements kong.HelpProvider.
func (upCmd) Help() string {
	return `Indexes DIR, keeps the index current while DIR changes, and serves it, all in
this process. The index lies in the data directory; a restart goes on from there.
The reading commands on this machine find it by themselves.

Examples:

    fustor up /usr
    fustor up /srv/data --data /var/lib/fustor --listen 0.0.0.0:8080
    fustor up . --exclude '*.tmp' --exclude '.git'`
}

func (c *upCmd) Run(ctx context.Context, a *app) error {
	u := &up{upCmd: c, app: a}
	if err := u.prepare(ctx); err != nil {
		return err
	}
	defer u.close()
	return u.run(ctx)
}
