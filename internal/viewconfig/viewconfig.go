// Package viewconfig is the settings of a view: config/views/<view>.json, and what holds where there is none.
//
// It owns the format and the defaults. Invariants: decoding is strict, so that a mistyped name is an error and not a
// default; a view without the object has exactly Default. Ingest, compactor and query load it through a Loader, which
// asks the store at most once a minute for each view.
package viewconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
)

// Config is the settings of one view. Fields that the object leaves out have their defaults. Parts that run take a change within KnownFor,
// unless the field says otherwise; testkit/bubble proves it of each.
type Config struct {
	View string `json:"view_id"`
	// SessionTimeoutSeconds is the least time-out of a session; an agent may ask for more. A session keeps the one that it began with.
	SessionTimeoutSeconds float64 `json:"session_timeout_seconds"`
	// AllowConcurrentPush lets several sessions feed the view at once, one of them as its leader. It is asked when a session begins;
	// those that live go on.
	AllowConcurrentPush bool `json:"allow_concurrent_push"`
	// AuditIntervalSeconds is how often the leader audits the tree, SentinelIntervalSeconds how often agents look at
	// suspect files; 0 is never. Agents learn them with each heartbeat.
	AuditIntervalSeconds    float64 `json:"audit_interval_sec"`
	SentinelIntervalSeconds float64 `json:"sentinel_interval_sec"`
	HotSeconds              float64 `json:"hot_s"`           // how long a file counts as being written after a change
	StalenessSeconds        float64 `json:"staleness_s"`     // how old what a network file system shows may be
	TombstoneTTLSeconds     float64 `json:"tombstone_ttl_s"` // how long a deletion is remembered
	// KeepWithinSeconds is for how long every version is kept, -1 for ever; the others are of how many of the last hours, days, weeks,
	// months and years the last version is kept, -1 of all.
	KeepWithinSeconds float64 `json:"keep_within_s"`
	KeepHourly        int     `json:"keep_hourly"`
	KeepDaily         int     `json:"keep_daily"`
	KeepWeekly        int     `json:"keep_weekly"`
	KeepMonthly       int     `json:"keep_monthly"`
	KeepYearly        int     `json:"keep_yearly"`
	// IcebergIntervalSeconds is how often the compactor publishes the view as a table of Iceberg while it changes; 0 is never, and takes
	// the table back.
	IcebergIntervalSeconds float64 `json:"iceberg_interval_sec"`
	// IcebergChangesSeconds is for how long the view's changes are kept as a table of Iceberg, -1 for ever; 0 has no such table.
	IcebergChangesSeconds float64 `json:"iceberg_changes_s"`
	// Live marks a view that is only answered while a session feeds it. Readers take it from the newest version, which the compactor
	// makes for a change if no fold does.
	Live bool `json:"live"`
	// Mounts are absolute paths where hosts mount the view's root, beyond those that its agents read.
	Mounts []string `json:"mounts,omitempty"`
	// RootSquash: a reader who is root sees what the user nobody sees, as on a file server that squashes root.
	RootSquash bool `json:"root_squash,omitempty"`
	// TrustModes: where the ACL of a directory is not known, it has none, and its group bits are the rights of its group.
	TrustModes bool `json:"trust_modes,omitempty"`
	// OpenTo is who may ask without a key: see opento.go. Empty: nobody.
	OpenTo []string `json:"open_to,omitempty"`
	// UserScans is how many scans in an hour a user may ask for who does not see everything; 0: none.
	UserScans int `json:"user_scans_per_hour"`
	// SessionsPerKey is how many live sessions one API key may have in the view; 0: any number. It is asked when a session begins.
	SessionsPerKey int `json:"sessions_per_key"`
	// MaxEntries is how many files, directories and others the view may have; 0: any number. Folds leave out new names beyond it, and once
	// there is room again the view is scanned anew.
	MaxEntries int64 `json:"max_entries"`
	// Members makes the view a forest: see members.go. The other settings mean nothing then.
	Members []string `json:"members,omitempty"`
}

// Default is the configuration of a view that has none.
func Default(view string) Config {
	return Config{
		View: view, SessionTimeoutSeconds: 45, AllowConcurrentPush: true, AuditIntervalSeconds: 6 * 3600, SentinelIntervalSeconds: 120,
		HotSeconds: 60, StalenessSeconds: 120, TombstoneTTLSeconds: 3600,
		KeepWithinSeconds: 3600, KeepHourly: 48, KeepDaily: 90, KeepMonthly: 60, IcebergIntervalSeconds: 300, UserScans: 12, SessionsPerKey: 512, MaxEntries: 1e9,
	}
}

// MaxSeconds bounds every duration of a view, and the time-out that a session may ask for: a week.
const MaxSeconds = 7 * 24 * 3600

// SessionTimeout, Hot, Staleness and TombstoneTTL are the settings as durations.
func (c Config) SessionTimeout() time.Duration { return seconds(c.SessionTimeoutSeconds) }
func (c Config) Hot() time.Duration            { return seconds(c.HotSeconds) }
func (c Config) Staleness() time.Duration      { return seconds(c.StalenessSeconds) }
func (c Config) TombstoneTTL() time.Duration   { return seconds(c.TombstoneTTLSeconds) }

// IcebergInterval is IcebergIntervalSeconds as a duration.
func (c Config) IcebergInterval() time.Duration { return seconds(c.IcebergIntervalSeconds) }

// IcebergChanges is for how long changes are kept as a table, if they are; 0: for ever.
func (c Config) IcebergChanges() (keep time.Duration, wanted bool) {
	if c.IcebergChangesSeconds == history.Unlimited {
		return 0, true
	}
	return seconds(c.IcebergChangesSeconds), c.IcebergChangesSeconds > 0
}

// MaxUserScans bounds UserScans, MaxSessionsPerKey SessionsPerKey, and MostEntries MaxEntries.
const (
	MaxUserScans      = 1000
	MaxSessionsPerKey = 2048
	MostEntries       = 1e12
)

// MaxKeepSeconds bounds KeepWithinSeconds and IcebergChangesSeconds, and MaxKept the counts of versions that are kept.
const (
	MaxKeepSeconds = 100 * 366 * 24 * 3600
	MaxKept        = 100_000
)

// Keep are the settings of the view's history.
func (c Config) Keep() history.Policy {
	p := history.Policy{Within: history.Unlimited, Hourly: c.KeepHourly, Daily: c.KeepDaily, Weekly: c.KeepWeekly, Monthly: c.KeepMonthly, Yearly: c.KeepYearly}
	if c.KeepWithinSeconds != history.Unlimited {
		p.Within = seconds(c.KeepWithinSeconds)
	}
	return p
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Check says what is wrong with a configuration.
func (c Config) Check() error {
	if !layout.ValidView(c.View) {
		return fmt.Errorf("view_id %q is not a view's name", c.View)
	}
	for _, setting := range settings {
		if err := setting.check(c); err != nil {
			return err
		}
	}
	if err := c.checkMounts(); err != nil {
		return err
	}
	if err := CheckOpenTo(c.OpenTo); err != nil {
		return err
	}
	return c.checkMembers()
}

// maxMounts bounds the mounts that a configuration names.
const maxMounts = 1000

// checkMounts says what is wrong with the mounts.
func (c Config) checkMounts() error {
	if len(c.Mounts) > maxMounts {
		return fmt.Errorf("mounts names more than %d paths", maxMounts)
	}
	if len(c.Mounts) > 0 && c.IsForest() {
		return fmt.Errorf("a forest has no mounts; set those of its members")
	}
	for i, m := range c.Mounts {
		switch {
		case !path.IsAbs(m) || path.Clean(m) != m || m == "/" || len(m) > 4096 || !utf8.ValidString(m) || strings.ContainsFunc(m, unicode.IsControl):
			return fmt.Errorf("mount %q is not the absolute path of a mount, such as /srv/lab", m)
		case slices.Contains(c.Mounts[:i], m):
			return fmt.Errorf("mount %q is named twice", m)
		}
	}
	return nil
}

// ErrInvalid: the object is not the configuration of that view.
var ErrInvalid = errors.New("invalid view configuration")

// Encode writes a configuration as Decode reads it.
func (c Config) Encode() ([]byte, error) {
	body, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		body, err = seal.Seal(layout.ViewConfig(c.View), body)
	}
	if err != nil {
		return nil, fmt.Errorf("encode configuration of view %s: %w", c.View, err)
	}
	return body, nil
}

// Decode reads the configuration of view strictly; object is the name that errors give. One that people wrote is not sealed.
func Decode(object, view string, body []byte) (Config, error) {
	c := Default(view)
	plain, err := seal.Open(layout.ViewConfig(view), body)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w: %w; if it was edited, remove its members $object and $xxh64", object, ErrInvalid, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&c)
	if err == nil {
		if _, tail := decoder.Token(); !errors.Is(tail, io.EOF) {
			err = errors.New("something follows the configuration")
		}
	}
	if err == nil && c.View != view {
		err = fmt.Errorf("its view_id is %q, not %q", c.View, view)
	}
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w: %v", object, ErrInvalid, err)
	}
	return c, nil
}
