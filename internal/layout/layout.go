// Package layout names every object that Fustor keeps, and splits those names again. It is the only place that knows
// the keys of the storage protocol (docs/formats.md, "Keys").
package layout

import (
	"fmt"
	"strconv"
	"strings"
)

// ValidView reports whether id names a view: 1 to 63 of a-z 0-9 - _, starting with a letter or digit.
func ValidView(id string) bool {
	if len(id) == 0 || len(id) > 63 || id[0] == '-' || id[0] == '_' {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// ValidID reports whether id may stand as one segment of a key: 1 to 128 of A-Z a-z 0-9 - _ . : @ with a letter or
// digit first. Session, agent and key names are of this form.
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("-_.:@", rune(c))) {
			return false
		}
	}
	return true
}

// ViewConfig is the key of a view's configuration; KeyConfig that of an API key, named by the hex SHA-256 of the key.
func ViewConfig(view string) string { return "config/views/" + view + ".json" }
func KeyConfig(hash string) string  { return "config/keys/" + hash + ".json" }

// ViewConfigs and KeyConfigs are the prefixes of all of them.
const (
	ViewConfigs = "config/views/"
	KeyConfigs  = "config/keys/"
)

// ViewsBell changes with every new view. It is no view's: no view has such a name.
const ViewsBell = "views/bell.json"

// View is the prefix of everything a view has.
func View(view string) string { return "views/" + view + "/" }

// Head is the one object that says which version of the view is current.
func Head(view string) string { return View(view) + "head" }

// Lease is held by the view's leader session.
func Lease(view string) string { return View(view) + "lease.json" }

// Roster names the view's sessions, so that nobody lists to find them.
func Roster(view string) string { return View(view) + "roster.json" }

// Pins are the versions that are kept by name.
func Pins(view string) string { return View(view) + "pins.json" }

// Session is a session's record.
func Session(view, session string) string { return View(view) + "sessions/" + session + ".json" }

// Segments is the prefix of a session's segments; Segment is one of them.
func Segments(view, session string) string { return View(view) + "segments/" + session + "/" }
func Segment(view, session string, seq uint64) string {
	return fmt.Sprintf("%s%020d.zst", Segments(view, session), seq)
}

// AllSegments is the prefix of the segments of every session.
func AllSegments(view string) string { return View(view) + "segments/" }

// SplitSegment undoes Segment.
func SplitSegment(key string) (view, session string, seq uint64, ok bool) {
	p := strings.Split(key, "/")
	if len(p) != 5 || p[0] != "views" || p[2] != "segments" || len(p[4]) != 24 || !strings.HasSuffix(p[4], ".zst") {
		return "", "", 0, false
	}
	seq, err := strconv.ParseUint(p[4][:20], 10, 64)
	return p[1], p[3], seq, err == nil
}

// AllCommands is the prefix of a view's commands; Command is one, made while session led. Bell changes with each new one.
func AllCommands(view string) string { return View(view) + "commands/" }
func Command(view, session, id string) string {
	return AllCommands(view) + session + "/" + id + ".json"
}
func Bell(view string) string { return View(view) + "bell.json" }

// AllStaging is the prefix of what V2's agents sent of audits that are not over. Round is where one session's audit stands,
// Staged the prefix of the rows of one of its audits.
func AllStaging(view string) string { return View(view) + "staging/" }
func Round(view, session string) string {
	return AllStaging(view) + session + "/audit.json"
}
func Staged(view, session string, round uint64) string {
	return fmt.Sprintf("%s%s/audit/%020d/", AllStaging(view), session, round)
}

// SplitStaging is the session that an object of AllStaging belongs to.
func SplitStaging(key string) (session string, ok bool) {
	p := strings.SplitN(key, "/", 5)
	if len(p) < 5 || p[0] != "views" || p[2] != "staging" {
		return "", false
	}
	return p[3], true
}

// MergeClaims is the prefix of what compactors say that they are about to merge; MergeClaim is one.
func MergeClaims(view string) string      { return View(view) + "merging/" }
func MergeClaim(view, name string) string { return MergeClaims(view) + name + ".json" }

// MoreMerges is written each time that a view has more to merge at once than compactors work on it.
func MoreMerges(view string) string { return MergeClaims(view) + moreMerges }

// SplitMoreMerges is the view of such a key.
func SplitMoreMerges(key string) (view string, ok bool) {
	view, ok = strings.CutSuffix(key, "/merging/"+moreMerges)
	if ok {
		view, ok = strings.CutPrefix(view, "views/")
	}
	return view, ok && ValidView(view)
}

const moreMerges = "more"

// Layers is the prefix of a view's layers; a layer's Parquet file and its index share the layer's ULID.
func Layers(view string) string           { return View(view) + "layers/" }
func Layer(view, ulid string) string      { return Layers(view) + ulid + ".parquet" }
func LayerIndex(view, ulid string) string { return Layers(view) + ulid + ".index" }

// Names is the names of a view's owners and groups as of one version, and of those after it until some change. It is beside the layers,
// as it is written, kept and removed like one.
func Names(view, ulid string) string { return Layers(view) + ulid + ".names" }

// Leaf is a run of base partitions that versions of a view with many have in common. It is beside the layers, as it is written, kept and
// removed like one.
func Leaf(view, ulid string) string { return Layers(view) + ulid + ".leaf" }

// Iceberg is the prefix of what makes a view a table of Iceberg, and IcebergChanges, within it, that of the table of its changes.
func Iceberg(view string) string        { return View(view) + "iceberg/" }
func IcebergChanges(view string) string { return Iceberg(view) + "changes/" }

// IcebergMetadata is the metadata number n of the table with a prefix, IcebergHint says which is the newest, IcebergObject is any other
// object of it.
func IcebergHint(table string) string { return table + "metadata/version-hint.text" }
func IcebergMetadata(table string, n uint64) string {
	return fmt.Sprintf("%smetadata/v%d.metadata.json", table, n)
}
func IcebergObject(table, name string) string { return table + name }

// Manifests is the prefix of a view's history; Manifest is one version of it, which a nonce keeps apart from the
// version of the same number that lost the race.
func Manifests(view string) string { return View(view) + "manifests/" }
func Manifest(view string, version uint64, nonce string) string {
	return fmt.Sprintf("%s%020d-%s", Manifests(view), version, nonce)
}
