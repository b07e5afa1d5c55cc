package cost

import (
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Units is what one unit of work takes.
//
// Requests are counted: TestUnits holds them to what the parts do. Seconds of functions are the CPU time that was
// measured plus the waits for the requests that depend on each other, at Latency each.
type Units struct {
	LeaderBeat   Requests `json:"leader_heartbeat"`
	FollowerBeat Requests `json:"follower_heartbeat"`
	Status       Requests `json:"leader_status"` // a session's record, where nothing else is a reason to write it
	Commands     Requests `json:"leader_asks_for_jobs"`
	Poll         Requests `json:"held_call_second"` // of a call that is held, each second
	Sentinel     Requests `json:"leader_asks_for_suspects"`
	Key          Requests `json:"key_is_read"`
	Settings     Requests `json:"settings_are_read"`
	Audit        Requests `json:"audit"`   // of a tree at rest
	Segment      Requests `json:"segment"` // sent by an upload that ingest signs, 16 at once
	Fold         Requests `json:"fold"`
	FoldSession  Requests `json:"fold_per_session"`
	FoldSegment  Requests `json:"fold_per_segment"`
	MergePerFold Requests `json:"merges_per_fold"`
	Look         Requests `json:"compactor_looks"` // and finds nothing
	LookSession  Requests `json:"compactor_looks_per_session"`
	ViewsLook    Requests `json:"compactor_looks_for_new_views"`
	ViewsList    Requests `json:"compactor_lists_views"`
	Tick         Requests `json:"tick"` // of the compactor's schedule, where nothing is to be done
	TickView     Requests `json:"tick_per_view"`
	TickSession  Requests `json:"tick_per_session"`
	Retain       Requests `json:"retention"`
	Query        Requests `json:"query"`
	QueryCold    Requests `json:"query_cold"` // beyond Query

	// Heartbeats come after these shares of the session time-out.
	LeaderBeats   float64 `json:"leader_heartbeat_per_timeout"`
	FollowerBeats float64 `json:"follower_heartbeat_per_timeout"`
	// How often things are done, seconds.
	CommandsEvery float64 `json:"jobs_asked_every_seconds"` // where they are answered at once, as functions do
	CommandsHeld  float64 `json:"jobs_waited_for_seconds"`  // where the call is held
	StatusEvery   float64 `json:"leader_status_every_seconds"`
	RecordEvery   float64 `json:"follower_status_every_seconds"`
	SentinelEvery float64 `json:"suspects_asked_every_seconds"`
	AuditEvery    float64 `json:"audit_every_seconds"`
	TickEvery     float64 `json:"tick_every_seconds"`
	ViewsEvery    float64 `json:"new_views_looked_for_every_seconds"` // where compactors poll
	ViewsListed   float64 `json:"views_listed_every_seconds"`
	KeyKnown      float64 `json:"key_known_seconds"`
	SettingsKnown float64 `json:"settings_known_seconds"`
	RetainEvery   float64 `json:"retention_every_seconds"`
	// Kept is for how long what is superseded stays, seconds: history and grace.
	Kept float64 `json:"superseded_kept_seconds"`

	RowBytes     float64 `json:"bytes_per_row"`
	SegmentBytes float64 `json:"bytes_per_segment"`
	FoldBytes    float64 `json:"bytes_per_fold"` // a delta and a manifest

	// Functions: memory in GB, seconds of a call.
	IngestGB        float64 `json:"ingest_gb"`
	CompactGB       float64 `json:"compactor_gb"`
	QueryGB         float64 `json:"query_gb"`
	IngestSeconds   float64 `json:"ingest_seconds"`
	FoldSeconds     float64 `json:"fold_seconds"`
	TickSeconds     float64 `json:"tick_seconds"` // for each view
	RetainSeconds   float64 `json:"retention_seconds"`
	QuerySeconds    float64 `json:"query_seconds"`
	CallsPerSegment float64 `json:"ingest_calls_per_segment"`

	// The always-on server: bytes of memory for a file, and what it needs beside, GB.
	RAMPerFile float64 `json:"ram_bytes_per_file"`
	RAMBase    float64 `json:"ram_base_gb"`
}

// Latency is what a small request to the store takes from a function in its region, seconds. An assumption: it was not
// measured in a cloud.
const Latency = 0.025

// Measured are the units of this version.
func Measured() Units {
	return Units{
		LeaderBeat:   Requests{Get: 1, Put: 1},
		FollowerBeat: Requests{Get: 1},
		Status:       Requests{Put: 1},
		Commands:     Requests{Get: 2},
		Poll:         Requests{Get: 1},
		Sentinel:     Requests{Get: 1},
		Segment:      Requests{Put: 1, Get: 1.0 / 16},
		Fold:         Requests{Get: 7.5, Put: 3}, // in a process, or a function, that is warm
		FoldSession:  Requests{Get: 2},
		FoldSegment:  Requests{Get: 1},
		MergePerFold: Requests{Get: 0.8, Put: 0.4},
		Look:         Requests{Get: 2},
		LookSession:  Requests{Get: 1},
		Key:          Requests{Get: 1},
		Settings:     Requests{Get: 1},
		Audit:        Requests{Get: 30, Put: 8},
		ViewsLook:    Requests{Get: 1},
		ViewsList:    Requests{List: 1},
		Tick:         Requests{List: 1},
		TickView:     Requests{Get: 6},
		TickSession:  Requests{Get: 2},
		Retain:       Requests{Get: 3, List: 3},
		Query:        Requests{Get: 1},
		QueryCold:    Requests{Get: 2},

		LeaderBeats: lease.Interval(time.Second, true).Seconds(), FollowerBeats: lease.Look(time.Second, time.Second).Seconds(),
		CommandsEvery: 600, CommandsHeld: 25, StatusEvery: 600, RecordEvery: session.RecordEvery.Seconds(), SentinelEvery: 120, AuditEvery: 6 * 3600, TickEvery: 300, ViewsEvery: 3, ViewsListed: 60, KeyKnown: access.KnownFor.Seconds(),
		SettingsKnown: viewconfig.KnownFor.Seconds(),
		RetainEvery:   900, Kept: 2 * 3600,
		RowBytes: 17.8, SegmentBytes: 700, FoldBytes: 12_000,
		IngestGB: 0.25, CompactGB: 0.5, QueryGB: 0.5,
		IngestSeconds: 2 * Latency, FoldSeconds: 0.025 + 8*Latency, TickSeconds: 8 * Latency, RetainSeconds: 10 * Latency, QuerySeconds: 0.005 + 2*Latency,
		CallsPerSegment: 1.0 / 16,
		RAMPerFile:      1000, RAMBase: 1,
	}
}
