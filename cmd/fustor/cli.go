//go:build !reading

package main

// cli is the command tree. The groups are headings of the overview.
type cli struct {
	globals

	Up      upCmd      `cmd:"" group:"run" help:"Index DIR and serve the index, all in one process."`
	Agent   agentGroup `cmd:"" group:"run" help:"Watch and scan trees, and send the changes."`
	Ingest  ingestCmd  `cmd:"" group:"run" help:"Serve agents: sessions, leases, uploads."`
	Compact compactCmd `cmd:"" group:"run" help:"Fold agents' segments into new versions of the views."`
	Query   queryCmd   `cmd:"" group:"run" help:"Serve the reading HTTP API and the web page."`

	readCommands

	Browse     browseCmd     `cmd:"" group:"read" help:"Browse the view on the whole terminal, as ncdu does."`
	Views      viewsCmd      `cmd:"" overview:"no" group:"read" help:"List the views that the key may read."`
	Report     reportGroup   `cmd:"" overview:"whole" group:"read" help:"Report on sizes, owners, ages, duplicates and growth."`
	Diff       diffCmd       `cmd:"" overview:"no" group:"read" help:"Print what differs between two versions."`
	Export     exportCmd     `cmd:"" overview:"no" group:"read" help:"Write the view, or a part of it, to a file: Parquet, CSV, JSON lines, ncdu."`
	Log        logCmd        `cmd:"" overview:"no" group:"read" help:"Print what a path was in the kept versions."`
	Watch      watchCmd      `cmd:"" overview:"no" group:"read" help:"Print what changes, as it comes, or run a command for it."`
	SQL        sqlCmd        `cmd:"" name:"sql" overview:"no" group:"read" help:"Print the SQL that makes the view one of DuckDB, or ask DuckDB."`
	Access     accessCmd     `cmd:"" overview:"no" group:"read" help:"Explain what a user may see of a path."`
	Versions   versionsCmd   `cmd:"" overview:"no" group:"read" help:"List the versions of the view."`
	Wait       waitCmd       `cmd:"" group:"read" help:"Wait until a path is complete."`
	Suspects   suspectsCmd   `cmd:"" overview:"no" group:"read" help:"Print files that may still be written to."`
	BlindSpots blindSpotsCmd `cmd:"" overview:"no" group:"read" help:"Print changes that no agent reported but a scan found."`
	Sessions   sessionsGroup `cmd:"" group:"read" help:"Show the agents that feed the view, and control them."`
	Scan       scanCmd       `cmd:"" group:"read" help:"Request a scan of PATH; fustor jobs shows its progress."`
	Jobs       jobsCmd       `cmd:"" overview:"no" group:"read" help:"Show requested scans and commands."`

	Admin      adminGroup    `cmd:"" group:"look" overview:"whole" help:"Manage views, API keys, sessions and resets."`
	Cost       costCmd       `cmd:"" overview:"no" group:"look" help:"Estimate the monthly cost in the cloud."`
	Segment    segmentCmd    `cmd:"" group:"look" help:"Read segments, the objects that agents send."`
	Doctor     doctorCmd     `cmd:"" group:"look" help:"Test a store; fustor check checks what is in it."`
	Check      checkCmd      `cmd:"" overview:"no" group:"look" help:"Check everything in a store, and repair it."`
	Health     healthCmd     `cmd:"" name:"healthcheck" overview:"no" group:"look" help:"Check whether a part can do its work; exit code 0 or 1."`
	Version    versionCmd    `cmd:"" overview:"no" group:"look" help:"Print the version."`
	HelpFor    helpCmd       `cmd:"" name:"help" overview:"no" group:"look" help:"Print the help of a command."`
	Completion completionCmd `cmd:"" overview:"no" group:"look" help:"Print a completion script for bash, zsh or fish."`
	Manual     manualCmd     `cmd:"" hidden:"" help:"Print the help of every command, in Markdown."`
}
