package viewconfig

import (
	"fmt"
	"slices"

	"github.com/fustor/fustor/internal/history"
)

// Kind is what a setting is.
type Kind string

// The kinds of Setting.
const (
	Seconds Kind = "seconds"
	Count   Kind = "count"
	Switch  Kind = "switch"
	Texts   Kind = "texts" // a list
)

// Setting describes one of the settings, for Check and for whoever shows them to people.
type Setting struct {
	Name  string `json:"name"` // in JSON
	Flag  string `json:"flag"` // of `fustor admin view configure`
	Title string `json:"title"`
	Text  string `json:"text"` // what it means
	Kind  Kind   `json:"kind"`
	// Minimum and Maximum bound seconds and counts. What is outside of them and means something besides: Zero says what 0 means, and with
	// Unlimited -1 stands for no bound.
	Minimum   float64 `json:"minimum"`
	Maximum   float64 `json:"maximum"`
	Zero      string  `json:"zero,omitempty"`
	Unlimited bool    `json:"unlimited"`
	// Default is a number, a boolean, or null of a list, which is empty.
	Default any `json:"default"`
	// OfForests: it is a forest's own; the others mean nothing to a forest.
	OfForests bool `json:"of_forests"`

	value func(Config) float64
}

// Settings are all settings, in the order in which people care for them.
func Settings() []Setting { return slices.Clone(settings) }

var settings = describe(Default("v"))

func describe(d Config) []Setting {
	number := func(s Setting, least, most float64, value func(Config) float64) Setting {
		s.Minimum, s.Maximum, s.Default, s.value = least, most, value(d), value
		return s
	}
	seconds := func(name, flag, title, text string, least, most float64, value func(Config) float64) Setting {
		return number(Setting{Name: name, Flag: flag, Title: title, Text: text, Kind: Seconds}, least, most, value)
	}
	count := func(name, flag, title, text string, most float64, value func(Config) float64) Setting {
		return number(Setting{Name: name, Flag: flag, Title: title, Text: text, Kind: Count}, 0, most, value)
	}
	zero := func(means string, s Setting) Setting { s.Zero = means; return s }
	unlimited := func(s Setting) Setting { s.Unlimited = true; return s }
	kept := func(name, flag, title, text string, value func(Config) float64) Setting {
		return unlimited(count(name, flag, title, text, MaxKept, value))
	}
	yes := func(name, flag, title, text string, is bool) Setting {
		return Setting{Name: name, Flag: flag, Title: title, Text: text, Kind: Switch, Default: is}
	}
	list := func(name, flag, title, text string) Setting {
		return Setting{Name: name, Flag: flag, Title: title, Text: text, Kind: Texts}
	}
	members := list("members", "--members", "Members", "Makes the view a forest, answered from these views: names, and globs of names (*, ?, [a-z]).")
	members.OfForests = true
	return []Setting{
		zero("never", seconds("audit_interval_sec", "--audit-interval", "Audit every", "How often the leader audits the tree.", 1, MaxSeconds, func(c Config) float64 { return c.AuditIntervalSeconds })),
		zero("never", seconds("sentinel_interval_sec", "--sentinel-interval", "Look at suspect files every", "How often agents look at files that may still be written to.", 1, MaxSeconds, func(c Config) float64 { return c.SentinelIntervalSeconds })),
		seconds("session_timeout_seconds", "--session-timeout", "Session time-out", "The least time-out of a session; an agent may ask for more. A lost leader is replaced after this time.", 1, MaxSeconds, func(c Config) float64 { return c.SessionTimeoutSeconds }),
		yes("allow_concurrent_push", "--concurrent-agents", "Several agents at once", "Several sessions may feed the view at once, one of them as its leader.", d.AllowConcurrentPush),
		seconds("hot_s", "--hot", "Counts as being written for", "How long a file counts as being written after a change.", 0, MaxSeconds, func(c Config) float64 { return c.HotSeconds }),
		seconds("staleness_s", "--staleness", "Staleness of the file system", "How old what a network file system shows may be.", 0, MaxSeconds, func(c Config) float64 { return c.StalenessSeconds }),
		seconds("tombstone_ttl_s", "--tombstone-ttl", "Remember deletions for", "How long a deletion is remembered.", 0, MaxSeconds, func(c Config) float64 { return c.TombstoneTTLSeconds }),
		unlimited(seconds("keep_within_s", "--keep-within", "Keep every version for", "For how long every version is kept; an hour is the least that holds.", 0, MaxKeepSeconds, func(c Config) float64 { return c.KeepWithinSeconds })),
		kept("keep_hourly", "--keep-hourly", "Keep hourly", "Of how many of the last hours the version at their end is kept.", func(c Config) float64 { return float64(c.KeepHourly) }),
		kept("keep_daily", "--keep-daily", "Keep daily", "The same by days, in UTC.", func(c Config) float64 { return float64(c.KeepDaily) }),
		kept("keep_weekly", "--keep-weekly", "Keep weekly", "The same by weeks, which begin on Monday.", func(c Config) float64 { return float64(c.KeepWeekly) }),
		kept("keep_monthly", "--keep-monthly", "Keep monthly", "The same by months.", func(c Config) float64 { return float64(c.KeepMonthly) }),
		kept("keep_yearly", "--keep-yearly", "Keep yearly", "The same by years.", func(c Config) float64 { return float64(c.KeepYearly) }),
		zero("any number", count("max_entries", "--max-entries", "Entries at most", "How many files, directories and others the view may have. New names beyond it are left out.", MostEntries, func(c Config) float64 { return float64(c.MaxEntries) })),
		zero("any number", count("sessions_per_key", "--sessions-per-key", "Sessions of a key at most", "How many live sessions one API key may have in the view.", MaxSessionsPerKey, func(c Config) float64 { return float64(c.SessionsPerKey) })),
		list("open_to", "--open-to", "Open to", "Who may ask without a key, and sees what file permissions allow: socket, oidc, proxy, group:NAME."),
		zero("none", count("user_scans_per_hour", "--user-scans", "Scans of a user in an hour", "How many scans in an hour a user may request who does not see everything.", MaxUserScans, func(c Config) float64 { return float64(c.UserScans) })),
		yes("root_squash", "--root-squash", "Squash root", "A user who is root sees what the user nobody may see.", d.RootSquash),
		yes("trust_modes", "--trust-modes", "Trust modes", "The group bits of directories whose ACL is not known are the rights of their group.", d.TrustModes),
		yes("live", "--live", "Answer only while fed", "The view is answered only while a session feeds it.", d.Live),
		list("mounts", "--mount", "Mounts", "Absolute paths where hosts mount the view's root, beyond those that its agents read."),
		zero("never", seconds("iceberg_interval_sec", "--iceberg-interval", "Publish as a table every", "How often the view is published as an Iceberg table while it changes.", 60, MaxSeconds, func(c Config) float64 { return c.IcebergIntervalSeconds })),
		zero("there is none", unlimited(seconds("iceberg_changes_s", "--iceberg-changes", "Keep a table of changes for", "For how long the view's changes are kept as a second Iceberg table.", 0, MaxKeepSeconds, func(c Config) float64 { return c.IcebergChangesSeconds }))),
		members,
	}
}

// check says what is wrong with the setting of a configuration.
func (s Setting) check(c Config) error {
	if s.value == nil {
		return nil
	}
	v := s.value(c)
	if v >= s.Minimum && v <= s.Maximum || s.Zero != "" && v == 0 || s.Unlimited && v == history.Unlimited {
		return nil
	}
	unit, beyond := "", ""
	if s.Kind == Seconds {
		unit = " seconds"
	}
	if s.Unlimited && s.Kind == Seconds {
		beyond = fmt.Sprintf(", or %d for ever", history.Unlimited)
	} else if s.Unlimited {
		beyond = fmt.Sprintf(", or %d for all", history.Unlimited)
	}
	return fmt.Errorf("%s must be from %g to %d%s%s", s.Name, s.Minimum, int64(s.Maximum), unit, beyond)
}
