package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/query"
)

// answers checks that the query code tells what the rows say.
func (w *world) answers(ctx context.Context, rows map[string]evidence.Row) error {
	server, err := query.New(query.Options{Store: w.store, Authenticator: w.keys, CacheBytes: 1 << 20})
	if err != nil {
		return err
	}
	ask := func(call string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://query/api/v1/views/"+view+"/"+call, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-API-Key", apiKey)
		req.Header.Set("Accept", "application/x-ndjson")
		resp, err := send.Handler(server.Handler()).Do(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("query answers %d to %s: %s", resp.StatusCode, call, body)
		}
		return body, err
	}
	tree, err := ask("tree?path=/&recursive=true")
	if err != nil {
		return err
	}
	if err := sameNodes(tree, rows); err != nil {
		return err
	}
	stats, err := ask("stats")
	if err != nil {
		return err
	}
	var s struct {
		Items int64 `json:"item_count"`
		Bytes int64 `json:"total_size"`
	}
	if err := json.Unmarshal(stats, &s); err != nil {
		return err
	}
	if root := rows["/"].Sub; s.Items != int64(len(rows)) || s.Bytes != root.Bytes {
		return fmt.Errorf("stats are %+v, of %d rows with %+v", s, len(rows), root)
	}
	return nil
}

// sameNodes compares a stream of nodes with the rows.
func sameNodes(tree []byte, rows map[string]evidence.Row) error {
	seen := 0
	lines := bufio.NewScanner(bytes.NewReader(tree))
	for lines.Scan() {
		var n struct {
			Path    string `json:"path"`
			PathB64 string `json:"path_b64"`
			Size    int64  `json:"size"`
			MtimeNs int64  `json:"mtime_ns"`
			Mode    uint32 `json:"mode"`
			Missing bool   `json:"agent_missing"`
		}
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return fmt.Errorf("tree: %w", err)
		}
		if n.Path == "" {
			continue // the end of the stream
		}
		path := n.Path
		if n.PathB64 != "" {
			b, err := base64.RawURLEncoding.DecodeString(n.PathB64)
			if err != nil {
				return fmt.Errorf("path_b64 %s: %w", n.PathB64, err)
			}
			path = string(b)
		}
		r, ok := rows[path]
		if !ok || r.Size != n.Size || r.MtimeNs != n.MtimeNs || r.Mode != n.Mode || r.AgentMissing != n.Missing {
			return fmt.Errorf("the query's node is %s, the row %+v", lines.Bytes(), r)
		}
		seen++
	}
	if seen != len(rows) {
		return fmt.Errorf("the query tells %d nodes of %d", seen, len(rows))
	}
	return lines.Err()
}

// leaders checks that no two sessions scanned as leaders of one term, and that there is one leader now.
func (w *world) leaders(ctx context.Context) error {
	page, err := w.store.List(ctx, layout.AllSegments(view), "", 1_000_000)
	if err != nil {
		return err
	}
	led := map[uint64]string{}
	var reader *event.Reader
	for _, item := range page.Items {
		o, err := w.store.Get(ctx, item.Key)
		if err != nil {
			return err
		}
		if reader == nil {
			reader, err = event.NewReader(item.Key, bytes.NewReader(o.Body), event.Limits{})
		} else {
			err = reader.Reset(item.Key, bytes.NewReader(o.Body), event.Limits{})
		}
		if err != nil {
			return err
		}
		if err := ledBy(led, reader); err != nil {
			return err
		}
	}
	return w.oneLeader(ctx)
}

// ledBy notes who began a leader's scan under which term.
func ledBy(led map[uint64]string, r *event.Reader) error {
	h := r.Header()
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if ev.Kind != event.Marked || ev.Mark.Kind != event.SnapshotBegin && ev.Mark.Kind != event.AuditBegin {
			continue
		}
		if other, ok := led[h.Term]; ok && other != h.Session {
			return fmt.Errorf("sessions %s and %s both lead term %d", other, h.Session, h.Term)
		}
		led[h.Term] = h.Session
	}
}

// oneLeader checks that the lease is held.
func (w *world) oneLeader(ctx context.Context) error {
	o, err := w.store.Get(ctx, layout.Lease(view))
	if err != nil {
		return err
	}
	var lease struct {
		Session string  `json:"session_id"`
		TTL     float64 `json:"ttl_s"`
	}
	if err := json.Unmarshal(o.Body, &lease); err != nil {
		return err
	}
	if age := o.Date.Sub(o.LastModified); lease.Session == "" || age.Seconds() > lease.TTL {
		return fmt.Errorf("nobody leads: the lease %+v is %v old", lease, age)
	}
	return nil
}
