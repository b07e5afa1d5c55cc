package query

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// accessAnswer is what a user may see of a path, and by which entry of which directory.
type accessAnswer struct {
	View    string `json:"view_id"`
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
	Version uint64 `json:"version"`

	User       string   `json:"user"`
	UID        uint32   `json:"uid"`
	Groups     []uint32 `json:"groups"`
	Squashed   bool     `json:"root_squash,omitempty"` // the user is root, and is judged as nobody
	TrustModes bool     `json:"trust_modes"`

	Visible  bool   `json:"visible"`
	Listed   bool   `json:"listed"`
	Contents bool   `json:"contents"`
	DeniedAt string `json:"denied_at,omitempty"`
	DeniedIn string `json:"denied_at_b64,omitempty"`

	Directories []directoryAccess `json:"directories"`
	Today       []directoryAccess `json:"directories_today,omitempty"` // of an earlier version
}

// directoryAccess are the user's rights to a directory.
type directoryAccess struct {
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
	Mode    uint32 `json:"mode"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	Owner   string `json:"owner"`
	Group   string `json:"group"`
	Read    bool   `json:"read"`
	Search  bool   `json:"search"`
	By      string `json:"by"`
}

// access explains what a user may see of a path: to that user, and to administrators who ask as the user.
func (s *Server) access(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	of, err := s.open(r, q, view)
	if err != nil {
		return err
	}
	if of.forest != nil {
		return &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("view %q is a forest, and rights are those of one view", view),
			Hint: "ask its members one by one; /views lists them"}
	}
	of.varies = true // on the view's settings and today's rights
	who, restricted := access.ReaderFrom(r.Context())
	if !restricted {
		return httpapi.BadRequest("there is nothing to explain: you may see everything", "say as which user to ask: the flag --as USER, or the header "+access.AsHeader)
	}
	found, err := of.version.Access(r.Context(), path, who.Asked)
	if err != nil {
		return err
	}
	if err := of.nameRows(r.Context(), of.version); err != nil {
		return err
	}
	a := accessAnswer{View: view, Version: of.version.Manifest.Version, User: who.Name, UID: found.Who.UID, Groups: found.Who.Groups, Squashed: found.Squashed,
		TrustModes: found.TrustModes, Visible: found.Visible, Listed: found.Listed, Contents: found.Contents}
	a.Path, a.PathB64 = values.PathFields(path)
	if found.DeniedAt != "" {
		a.DeniedAt, a.DeniedIn = values.PathFields(found.DeniedAt)
	}
	shown := func(all []engine.DirectoryAccess) []directoryAccess {
		out := make([]directoryAccess, len(all))
		for i, d := range all {
			out[i] = directoryAccess{Mode: d.Mode, UID: d.UID, GID: d.GID, Owner: of.names.Shown(false, d.Source, d.UID), Group: of.names.Shown(true, d.Source, d.GID),
				Read: d.Has(permission.Read), Search: d.Has(permission.Search), By: d.By}
			out[i].Path, out[i].PathB64 = values.PathFields(d.Path)
		}
		return out
	}
	a.Directories, a.Today = shown(found.Directories), shown(found.Today)
	body, err := json.Marshal(&a)
	if err != nil {
		return err
	}
	writeBody(w, of, 0, body)
	return nil
}
