// Package cost estimates what a Fustor costs a month: from a workload to requests, bytes and durations, and from those to
// dollars. It is pure. What one unit of work takes (Units) is counted and measured; tests in cmd/fustor/internal/cost hold the figures
// to what the parts do, and the whole to a counted run. docs/cost.md explains every step.
package cost

import "math"

// Workload is what is asked of it.
type Workload struct {
	Files           float64 `json:"files"` // entries of all kinds, over all views
	Views           float64 `json:"views"`
	Agents          float64 `json:"agents"` // of all views
	EventsPerSecond float64 `json:"events_per_second"`
	QueriesPerDay   float64 `json:"queries_per_day"`
	// QueryBytes is the size of an answer, and ColdShare how many of the queries find nothing in memory.
	QueryBytes float64 `json:"query_bytes"`
	ColdShare  float64 `json:"cold_share"`
	// SessionTimeout is the views' setting, BatchWindow how long the queue gathers segments before it wakes the compactor
	// (BatchWindowSeconds of infra/aws/template.yaml); both in seconds.
	SessionTimeout float64 `json:"session_timeout_seconds"`
	BatchWindow    float64 `json:"batch_window_seconds"`
	// Polling: the parts are processes that look at the store once a second, rather than functions that it wakes.
	Polling bool `json:"polling"`
}

// Requests by kind, as stores bill them.
type Requests struct {
	Get  float64 `json:"get"`
	Put  float64 `json:"put"`
	List float64 `json:"list"`
}

// Plus adds n times others.
func (r Requests) Plus(o Requests, n float64) Requests {
	return Requests{r.Get + o.Get*n, r.Put + o.Put*n, r.List + o.List*n}
}

// Estimate is a month.
type Estimate struct {
	Workload Workload `json:"workload"`
	// Requests to the store a month, by what makes them.
	Lines []Line   `json:"requests_by"`
	Total Requests `json:"requests"`
	// What a month's work takes beside requests.
	StoredGB    float64 `json:"stored_gb"`
	Invocations float64 `json:"lambda_invocations"`
	GBSeconds   float64 `json:"lambda_gb_seconds"`
	TransferGB  float64 `json:"transfer_out_gb"`
	Folds       float64 `json:"folds"`
	Segments    float64 `json:"segments"`

	Dollars   Dollars  `json:"dollars"`
	AlwaysOn  AlwaysOn `json:"always_on"`
	PerMFiles float64  `json:"dollars_per_million_files"`
}

// Line is one kind of work.
type Line struct {
	What     string  `json:"what"`
	Times    float64 `json:"times"` // a month
	Requests         // of all of them
	Dollars  float64 `json:"dollars"`
}

// Dollars are a month's, by what they are paid for.
type Dollars struct {
	Requests float64 `json:"requests"`
	Storage  float64 `json:"storage"`
	Lambda   float64 `json:"lambda"`
	Queue    float64 `json:"queue"`
	Transfer float64 `json:"transfer"`
	Total    float64 `json:"total"`
	// Idle is what is paid for the agents alone, though nothing changes and nobody asks: requests only.
	Idle float64 `json:"idle_requests"`
}

// AlwaysOn is a server that holds the view in memory, as Fustor's predecessor did.
type AlwaysOn struct {
	MemoryGB  float64 `json:"memory_gb"`
	Instances float64 `json:"instances"`
	Dollars   float64 `json:"dollars"`
}

// Month is 730 hours, as price lists have it; in seconds.
const Month = 730 * 3600.0

// Of estimates a month of a workload.
func Of(w Workload, u Units, p Prices) Estimate {
	e := Estimate{Workload: w}
	add := func(what string, times float64, each Requests) {
		l := Line{What: what, Times: times, Requests: Requests{}.Plus(each, times)}
		l.Dollars = p.Requests(l.Requests)
		e.Lines = append(e.Lines, l)
		e.Total = e.Total.Plus(l.Requests, 1)
	}
	leaders := min(w.Views, w.Agents)
	followers := w.Agents - leaders
	leaderEvery, followerEvery := w.SessionTimeout*u.LeaderBeats, w.SessionTimeout*u.FollowerBeats
	beats := leaders*Month/leaderEvery + followers*Month/followerEvery
	add("leaders' heartbeats", leaders*Month/leaderEvery, u.LeaderBeat)
	add("leaders' status", leaders*Month/u.StatusEvery, u.Status)
	add("followers' heartbeats", followers*Month/followerEvery, u.FollowerBeat)
	add("followers' status", followers*Month/followerWrites(w, u, followerEvery), u.Status)
	waits := leaders * Month / u.CommandsEvery
	if w.Polling {
		waits = leaders * Month / u.CommandsHeld
		add("leaders wait for jobs", leaders*Month, u.Poll) // a look a second while the call is held
	}
	add("leaders ask for jobs", waits, u.Commands)
	add("leaders ask for suspects", leaders*Month/u.SentinelEvery, u.Sentinel)
	// What is remembered for a time is read by the first heartbeat after it.
	read := func(known, every float64) float64 { return Month / (math.Ceil(known/every) * every) }
	add("agents' keys are read", leaders*read(u.KeyKnown, leaderEvery)+followers*read(u.KeyKnown, followerEvery), u.Key)
	add("settings for agents are read", leaders*read(u.SettingsKnown, leaderEvery), u.Settings)
	add("audits", leaders*Month/u.AuditEvery, u.Audit)
	if !w.Polling {
		add("compactor's ticks", Month/u.TickEvery, u.Tick.Plus(u.TickView, w.Views).Plus(u.TickSession, w.Agents))
	} else {
		add("compactor's looks for new views", Month/u.ViewsEvery, u.ViewsLook)
		add("compactor lists views", Month/u.ViewsListed, u.ViewsList)
	}
	e.Dollars.Idle = p.Requests(e.Total)

	segments, folds := rates(w)
	e.Segments, e.Folds = segments*Month, folds*Month
	add("segments", e.Segments, u.Segment)
	perView := 0.0
	if w.Views > 0 {
		perView = w.Agents / w.Views
	}
	fold := u.Fold.Plus(u.FoldSession, perView)
	add("folds", e.Folds, fold)
	add("segments read by folds", e.Segments, u.FoldSegment)
	add("merges", e.Folds, u.MergePerFold)
	if w.Polling {
		add("compactor's looks for segments", w.Views*Month, u.Look.Plus(u.LookSession, perView))
		e.Dollars.Idle += e.Lines[len(e.Lines)-1].Dollars
	}
	active := 0.0
	if folds > 0 {
		active = w.Views
	}
	add("retention", active*Month/u.RetainEvery, u.Retain)
	queries := w.QueriesPerDay * Month / 86400
	add("queries", queries, u.Query.Plus(u.QueryCold, w.ColdShare))
	add("readers' keys are read", queries/(1+queries/Month*u.KeyKnown), u.Key)

	e.StoredGB = (w.Files*u.RowBytes + e.Segments/Month*u.Kept*u.SegmentBytes + folds*u.Kept*u.FoldBytes) / 1e9
	e.TransferGB = queries * w.QueryBytes / 1e9
	if !w.Polling {
		calls := beats + waits + leaders*Month/u.SentinelEvery + e.Segments*u.CallsPerSegment
		ticks, retains := Month/u.TickEvery, active*Month/u.RetainEvery
		e.Invocations = calls + e.Folds + ticks + queries
		e.GBSeconds = u.IngestGB*calls*u.IngestSeconds + u.CompactGB*(e.Folds*u.FoldSeconds+ticks*w.Views*u.TickSeconds+retains*u.RetainSeconds) + u.QueryGB*queries*u.QuerySeconds
		e.Dollars.Lambda = e.Invocations*p.LambdaInvocation + e.GBSeconds*p.LambdaGBSecond
		e.Dollars.Queue = (e.Segments + e.Folds*2 + p.QueuePollsPerMonth) * p.QueueRequest
	}
	e.Dollars.Requests = p.Requests(e.Total)
	e.Dollars.Storage = e.StoredGB * p.StorageGBMonth
	e.Dollars.Transfer = e.TransferGB * p.TransferGB
	e.Dollars.Total = e.Dollars.Requests + e.Dollars.Storage + e.Dollars.Lambda + e.Dollars.Queue + e.Dollars.Transfer
	e.AlwaysOn.MemoryGB = w.Files*u.RAMPerFile/1e9 + u.RAMBase
	e.AlwaysOn.Instances = math.Ceil(e.AlwaysOn.MemoryGB / p.InstanceGB)
	e.AlwaysOn.Dollars = e.AlwaysOn.Instances * p.InstanceHour * Month / 3600
	if w.Files > 0 {
		e.PerMFiles = e.Dollars.Total / w.Files * 1e6
	}
	return e
}

// followerWrites is how often a follower's record is written, seconds: with each heartbeat before which it has sent something.
func followerWrites(w Workload, u Units, every float64) float64 {
	segments, _ := rates(w)
	if w.Agents == 0 || segments == 0 {
		return u.RecordEvery
	}
	return min(u.RecordEvery, every/-math.Expm1(-segments/w.Agents*every))
}

// rates are segments and folds a second. An agent seals a segment a tenth of a second after the one before it at the soonest, and one a
// second on average; a fold takes what came within the window after its first segment. Both are renewals, with the rate λ/(1+λ·window).
func rates(w Workload) (segments, folds float64) {
	if w.Agents == 0 || w.Views == 0 || w.EventsPerSecond == 0 {
		return 0, 0
	}
	each := w.EventsPerSecond / w.Agents
	segments = w.Agents * min(each/(1+each/10), 1)
	each = segments / w.Views
	window := w.BatchWindow
	if w.Polling { // there is no queue: the compactor takes what has come since its last look
		window = 1
	}
	return segments, w.Views * each / (1 + each*window)
}
