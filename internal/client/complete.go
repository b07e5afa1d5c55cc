package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// Completeness says whether what is at and below a path is complete. Times are Unix seconds; nil: not known, or none.
type Completeness struct {
	Raw      json.RawMessage `json:"-"` // as it came
	Complete bool            `json:"complete"`
	Reasons  []Reason        `json:"reasons"`

	KnownUntil *float64 `json:"known_until"`
	LastChange *struct {
		At      float64 `json:"at"`
		Path    string  `json:"path"`
		PathB64 string  `json:"path_b64"`
	} `json:"last_change"`
	Exists      bool  `json:"exists"`
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Bytes       int64 `json:"bytes"`
	Suspects    struct {
		Count int64 `json:"count"`
		First []struct {
			Path    string `json:"path"`
			PathB64 string `json:"path_b64"`
		} `json:"first"`
	} `json:"suspects"`
	Unreadable int   `json:"unreadable"`
	BlindSpots int64 `json:"blind_spots"`
	RestsOn    struct {
		Realtime bool `json:"realtime"`
		Agents   []struct {
			Agent      string   `json:"agent_id"`
			Role       string   `json:"role"`
			Coverage   string   `json:"coverage"`
			Local      bool     `json:"local_file_system"`
			KnownUntil *float64 `json:"known_until"`
		} `json:"agents"`
		Scan *struct {
			Scan    string  `json:"scan"`
			BeganAt float64 `json:"began_at"`
		} `json:"scan"`
	} `json:"rests_on"`
	NextAudit *float64 `json:"next_audit"`
	Version   uint64   `json:"version"`
	Now       float64  `json:"now"`
}

// Reason is why something is not complete.
type Reason struct {
	Code  string `json:"code"`
	Text  string `json:"text"`
	Agent string `json:"agent"`
}

// CompleteQuery asks whether a path is complete.
type CompleteQuery struct {
	Path               string
	Quiet              time.Duration
	MinFiles, MinBytes int64
	Wait               time.Duration // for a yes, or something new, in whole seconds
	Known              uint64        // the version of the answer before; 0: none
}

// Complete asks whether what is at and below a path is complete. That there is no such path is an answer.
func (c *Client) Complete(ctx context.Context, query CompleteQuery) (*Completeness, error) {
	q := url.Values{"quiet": {query.Quiet.String()}, "min_files": {strconv.FormatInt(query.MinFiles, 10)}, "min_bytes": {strconv.FormatInt(query.MinBytes, 10)},
		"wait": {strconv.Itoa(int(query.Wait.Seconds()))}, "known": {strconv.FormatUint(query.Known, 10)}}
	setPath(q, query.Path)
	var raw json.RawMessage
	if err := c.getJSON(ctx, "/complete", q, &raw, "complete", "reasons", "rests_on"); err != nil {
		return nil, err
	}
	a := &Completeness{Raw: raw}
	if err := unmarshal("/complete", raw, a); err != nil {
		return nil, err
	}
	for i := range a.Suspects.First {
		s := &a.Suspects.First[i]
		exact, err := exactPath(s.Path, s.PathB64)
		if err != nil {
			return nil, err
		}
		s.Path = exact
	}
	return a, nil
}
