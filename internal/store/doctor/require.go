package doctor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// Marker is the key of the object that remembers passed probes, so that not every start of a writer probes.
const Marker = "config/doctor.json"

// markerAge is how long a passed probe counts.
const markerAge = 30 * 24 * time.Hour

// marker is the body of Marker.
type marker struct {
	// Passed says when, by the store's clock, and by which version of the checks the store passed, by its URL: the same
	// bucket may be reached through different servers and proxies.
	Passed map[string]pass `json:"passed"`
	Nonce  string          `json:"nonce"`
}

type pass struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
}

// Require returns nil if s is known to keep the required rules: from the marker object, or, if its URL is not in there,
// was probed more than 30 days ago or by an older version of the checks, from a probe now, which is then remembered. A
// probe ends at the first required rule that does not hold.
// Otherwise the error is an ErrUnfit that names the rule, or says why the store could not be probed.
func Require(ctx context.Context, s store.Store) error {
	known, etag, now, err := readMarker(ctx, s)
	if err != nil {
		return fmt.Errorf("check store %s: %w", s, err)
	}
	if p, ok := known.Passed[s.String()]; ok && p.Version >= version && now.Sub(p.At) < markerAge {
		return nil
	}
	report, err := try(ctx, s, func(r Rule) bool { return r.OK || !r.Required })
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return err
	}
	known.Passed[s.String()] = pass{Version: version, At: now}
	known.Nonce = rand.Text()
	body, err := seal.JSON(Marker, known)
	if err != nil {
		return err
	}
	// Whoever loses here, or may not write there, probes again at its next start.
	if _, err := store.Swap(ctx, s, Marker, body, etag); err != nil && !errors.Is(err, store.ErrLost) && !errors.Is(err, store.ErrDenied) {
		return fmt.Errorf("remember that store %s is fit: %w", s, err)
	}
	return nil
}

// Passed reports whether s was found to keep the required rules once, by whatever version of the checks, however long ago:
// for those who may not probe. It is one read.
func Passed(ctx context.Context, s store.Store) (bool, error) {
	known, _, _, err := readMarker(ctx, s)
	if err != nil {
		return false, fmt.Errorf("check store %s: %w", s, err)
	}
	_, ok := known.Passed[s.String()]
	return ok, nil
}

// readMarker returns what is remembered, which may be nothing, and the store's time.
func readMarker(ctx context.Context, s store.Store) (m marker, etag string, now time.Time, err error) {
	object, err := s.Get(ctx, Marker)
	now = object.Date
	switch {
	case errors.Is(err, store.ErrNotFound):
		m.Passed = map[string]pass{}
		return m, "", now, nil
	case err != nil:
		return m, "", now, err
	}
	plain, err := seal.Open(Marker, object.Body)
	if err != nil || json.Unmarshal(plain, &m) != nil || m.Passed == nil {
		m.Passed = map[string]pass{} // foreign or damaged: probe, and write it anew
	}
	return m, object.ETag, now, nil
}
