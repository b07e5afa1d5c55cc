package admin

import (
	"net/http"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/cost"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/viewconfig"
)

// What /openapi.json says of the administrator's calls.

const tag = "admin"

// The problems that a call answers, beside those of its own.
var (
	always     = []int{http.StatusNotImplemented, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}
	ofThing    = []int{http.StatusNotImplemented, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusNotFound}
	ofRemoving = []int{http.StatusNotImplemented, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusNotFound,
		http.StatusConflict}
)

const (
	exampleSettings = `{"view_id":"research","session_timeout_seconds":45,"allow_concurrent_push":true,"audit_interval_sec":21600,` +
		`"sentinel_interval_sec":120,"hot_s":60,"staleness_s":120,"tombstone_ttl_s":3600,"live":false}`
	exampleView = `{"view_id":"research","configured":true,"config":` + exampleSettings + `,"version":412,"epoch":"8c1f0e7ad3b2946c5510",` +
		`"ready":true,"folded_at":1767323045.25,"files":1204511,"directories":80312,"bytes":93411220198,"live_sessions":2,"leader_agent_id":"nfs07"}`
	exampleKey     = "{" + exampleKeyPart + "}"
	exampleKeyPart = `"id":"9f86d081884c7d65","name":"dashboard","roles":["query"],"views":["research"],"created_at_ns":1767323045250000000,"expired":false`
)

var (
	listViewsOperation = openapi.Operation{ID: "listViews", Tag: tag, Summary: "The views that the key is for",
		Answers: []openapi.Answer{{Text: "The views.", Type: (*ViewList)(nil), Example: `{"views":[` + exampleView + `],"count":1}`}}, Errors: always}
	createViewOperation = openapi.Operation{ID: "createView", Tag: tag, Summary: "Give a new view its settings",
		Description: "Fields that are left out have their defaults.",
		Body:        &openapi.Body{Type: (*viewconfig.Config)(nil), Example: `{"view_id":"research","audit_interval_sec":3600}`},
		Answers:     []openapi.Answer{{Status: http.StatusCreated, Text: "Its settings.", Type: (*viewconfig.Config)(nil), Example: exampleSettings}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusConflict,
			http.StatusRequestEntityTooLarge, http.StatusNotImplemented}}
	showViewOperation = openapi.Operation{ID: "getView", Tag: tag, Summary: "A view",
		Answers: []openapi.Answer{{Text: "The view.", Type: (*View)(nil), Example: exampleView}}, Errors: ofThing}
	configureViewOperation = openapi.Operation{ID: "configureView", Tag: tag, Summary: "Change settings of a view",
		Description: "Fields that are left out stay as they are. All parts follow within a minute.",
		Body:        &openapi.Body{Type: (*viewconfig.Config)(nil), Example: `{"audit_interval_sec":3600}`},
		Answers:     []openapi.Answer{{Text: "Its settings.", Type: (*viewconfig.Config)(nil), Example: exampleSettings}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusNotFound,
			http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusNotImplemented}}
	deleteViewOperation = openapi.Operation{ID: "deleteView", Tag: tag, Summary: "Remove a view and all that it has",
		Answers: []openapi.Answer{{Text: "Removed.", Type: (*RemovedView)(nil), Example: `{"view_id":"research","objects":1804}`}}, Errors: ofRemoving}
	restartViewOperation = openapi.Operation{ID: "restartView", Tag: tag, Summary: "Start a view over",
		Description: "Its sessions end; their agents begin new ones and scan again. The view answers 503 until the first scan is folded.",
		Answers:     []openapi.Answer{{Text: "It is empty.", Type: (*RestartedView)(nil), Example: `{"view_id":"research","epoch":"8c1f0e7ad3b2946c5510"}`}}, Errors: ofRemoving}
	listSessionsOperation = openapi.Operation{ID: "listAllSessions", Tag: tag, Summary: "A view's sessions",
		Description: "Those that have ended and are not folded to their end included.",
		Answers: []openapi.Answer{{Text: "The sessions.", Type: (*SessionList)(nil),
			Example: `{"view_id":"research","sessions":[{"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","task_id":"nfs07:data","agent_id":"nfs07",` +
				`"source_uri":"fs://nfs07/data","client_ip":"10.0.0.7","role":"leader","state":"live","created_at":1767319200.0,"last_activity":1767323045.0,` +
				`"session_timeout_seconds":45}],"count":1}`}}, Errors: ofThing}
	endSessionOperation = openapi.Operation{ID: "endAnySession", Tag: tag, Summary: "End a session", Description: "An agent that lives begins a new one.",
		Answers: []openapi.Answer{{Status: http.StatusNoContent, Text: "It has ended."}}, Errors: ofThing}
	listVersionsOperation = openapi.Operation{ID: "listStoredVersions", Tag: tag, Summary: "A view's versions, and its objects",
		Parameters: []openapi.Parameter{{Name: "limit", Text: "Versions at most.", Schema: `{"type":"integer","minimum":1,"maximum":1000,"default":20}`}},
		Answers: []openapi.Answer{{Text: "The newest versions.", Type: (*History)(nil),
			Example: `{"view_id":"research","versions":[{"version":412,"key":"views/research/manifests/00000000000000000412-5f0c9a","epoch":"8c1f0e7ad3b2946c5510",` +
				`"reason":"fold","folded_at":1767323045.25,"ready":true,"base":{"objects":2,"bytes":18874368},"deltas":{"objects":1,"bytes":40960},` +
				`"rows":1284823,"files":1204511,"directories":80312,"term":7,"sessions":{"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65":` +
				`{"next_seq":32,"agent":"nfs07"}},"counted":{"segments":32,"events":901,"entries":1284823}}],"more":true,"orphans":[],` +
				`"objects":{"manifests":{"objects":412,"bytes":811008},"layers":{"objects":3,"bytes":18915328},"superseded_layers":{"objects":0,"bytes":0},` +
				`"segments":{"objects":1,"bytes":2048}},"unfolded_segments":{"objects":0,"bytes":0}}`}}, Errors: ofThing}
	pinOperation = openapi.Operation{ID: "pinVersion", Tag: tag, Summary: "Keep a version by name",
		Description: "Without parameters it is the newest. A version that the view's history keeps for less than five minutes is refused.",
		Parameters: []openapi.Parameter{
			{Name: "version", Text: "Its number.", Schema: `{"type":"integer","minimum":1}`},
			{Name: "as_of", Text: "The version that was current at that time: 7d, yesterday, RFC 3339, a date in UTC, Unix seconds with a point.", Schema: `{"type":"string"}`}},
		Answers: []openapi.Answer{{Text: "The version is kept.", Type: (*Pinned)(nil),
			Example: `{"view_id":"research","name":"before-cleanup","version":398,"published_at":1766718242.0}`}}, Errors: ofRemoving}
	unpinOperation = openapi.Operation{ID: "unpinVersion", Tag: tag, Summary: "Keep a version no longer by that name",
		Answers: []openapi.Answer{{Status: http.StatusNoContent, Text: "The name is free."}}, Errors: ofThing}
	retainOperation = openapi.Operation{ID: "retain", Tag: tag, Summary: "Remove what no version needs",
		Parameters: []openapi.Parameter{{Name: "dry_run", Text: "Remove nothing; say what would be.", Schema: `{"type":"boolean","default":false}`}},
		Answers: []openapi.Answer{{Text: "What was removed.", Type: (*RemovalList)(nil),
			Example: `{"view_id":"research","dry_run":true,"removed":[{"key":"views/research/layers/01KBS2M3QXTB1V6X2Y8Z9A0B1C.parquet","bytes":18874368,` +
				`"age_seconds":90211.5,"why":"no version has it"}],"count":1}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusNotFound,
			http.StatusNotImplemented}}
	listSettingsOperation = openapi.Operation{ID: "listSettings", Tag: tag, Summary: "What can be set of a view, within which bounds",
		Answers: []openapi.Answer{{Text: "The settings.", Type: (*SettingList)(nil), Example: `{"settings":[{"name":"hot_s","flag":"--hot","title":"Counts as being written for",` +
			`"text":"How long a file counts as being written after a change.","kind":"seconds","minimum":0,"maximum":604800,"unlimited":false,"default":60,"of_forests":false}],"count":1}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}}
	estimateCostOperation = openapi.Operation{ID: "estimateCost", Tag: tag, Summary: "What the views that the key is for cost a month on S3",
		Description: "As `fustor cost` estimates it (docs/cost.md), at list prices, from the entries, live sessions and time-outs of the views.",
		Parameters: []openapi.Parameter{
			{Name: "queries", Text: "Queries a day.", Schema: `{"type":"integer","minimum":0,"maximum":1000000000,"default":1000}`},
			{Name: "events", Text: "Changes a second in all views; absent: as the views counted them.", Schema: `{"type":"number","minimum":0,"maximum":1000000}`},
			{Name: "polling", Text: "The parts are processes that poll the store; false: functions that it wakes.", Schema: `{"type":"boolean","default":true}`}},
		Answers: []openapi.Answer{{Text: "A month.", Type: (*Cost)(nil)}}, Errors: always}
	listKeysOperation = openapi.Operation{ID: "listKeys", Tag: tag, Summary: "The API keys for the views that the key is for",
		Answers: []openapi.Answer{{Text: "The keys, without the keys themselves.", Type: (*KeyList)(nil), Example: `{"keys":[` + exampleKey + `],"count":1}`}}, Errors: always}
	createKeyOperation = openapi.Operation{ID: "createKey", Tag: tag, Summary: "Make an API key",
		Body: &openapi.Body{Type: (*NewKey)(nil), Example: `{"name":"dashboard","roles":["query"],"views":["research"]}`},
		Answers: []openapi.Answer{{Status: http.StatusCreated, Text: "The key, this once.", Type: (*MadeKey)(nil),
			Example: "{" + exampleKeyPart + `,"api_key":"fustor_8fJw…"}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusConflict,
			http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusNotImplemented}}
	revokeKeyOperation = openapi.Operation{ID: "revokeKey", Tag: tag, Summary: "Revoke an API key, by its id or name",
		Answers: []openapi.Answer{{Text: "The key that was revoked. Servers accept it for up to 30 seconds more.", Type: (*Key)(nil), Example: exampleKey}}, Errors: ofRemoving}
)

// OpenAPIPath, OpenAPITypes and OpenAPINotes are what a document of these calls says of paths and types.
var (
	OpenAPIPath = []openapi.Parameter{
		{Name: "view_id", Text: "The view.", Example: `"research"`},
		{Name: "session_id", Text: "The session."},
		{Name: "pin", Text: "Name of a pin: letters, digits and - _ . : @, neither a number nor a time.", Example: `"before-cleanup"`},
		{Name: "key_id", Text: "Id or name of the key.", Example: `"9f86d081884c7d65"`},
	}
	OpenAPITypes = []openapi.Type{
		{Of: (*viewconfig.Config)(nil), Name: "ViewSettings"}, {Of: (*View)(nil), Name: "AdminView"}, {Of: (*Session)(nil), Name: "AdminSession"},
		{Of: (*Version)(nil), Name: "StoredVersion"}, {Of: (*Usage)(nil), Name: "StoredObjects"}, {Of: (*manifest.Progress)(nil), Name: "FoldedSession"},
		{Of: (*viewconfig.Setting)(nil), Name: "ViewSetting"}, {Of: (*viewconfig.Kind)(nil), Schema: `{"type":"string","enum":["seconds","count","switch","texts"]}`},
		{Of: (*cost.Workload)(nil), Name: "CostWorkload"}, {Of: (*cost.Estimate)(nil), Name: "CostEstimate"}, {Of: (*cost.Requests)(nil), Name: "StoreRequests"},
		{Of: (*cost.Line)(nil), Name: "CostLine"}, {Of: (*cost.Dollars)(nil), Name: "CostDollars"}, {Of: (*cost.AlwaysOn)(nil), Name: "CostAlwaysOn"}, {Of: (*cost.Prices)(nil), Name: "CostPrices"},
		{Of: (*access.Role)(nil), Schema: `{"type":"string","enum":["ingest","query","admin"]}`},
		{Of: (*access.Views)(nil), Name: "KeyViews", Schema: `{"oneOf":[{"type":"string","const":"*"},{"type":"array","items":{"type":"string"}}]}`},
	}
	OpenAPINotes = append(settingNotes(), []openapi.Note{
		{At: "ViewSettings", Text: "docs/operations.md says what each means. Durations are seconds, at most a week."},
		{At: "AdminView.configured", Text: "It has settings of its own, not the defaults."},
		{At: "AdminView.version", Text: "The current version; 0: none yet."},
		{At: "AdminView.folded_at", Text: "When it was published, Unix seconds; null: there is none."},
		{At: "AdminView.leader_agent_id", Text: "Empty: nobody leads."},
		{At: "AdminSession.role", Also: `"enum":["leader","follower"]`},
		{At: "AdminSession.state", Text: "lost: it timed out, and nobody has noticed yet.", Also: `"enum":["live","ended","lost"]`},
		{At: "AdminSession.created_at", Text: "Unix seconds."},
		{At: "AdminSession.last_activity", Text: "Unix seconds; null: not known."},
		{At: "Key.id", Text: "The beginning of the key's SHA-256."},
		{At: "Key.expires_at_ns", Text: "ns since 1970; absent: never."},
		{At: "Key.damaged", Text: "Why its record cannot be read."},
		{At: "KeyViews", Text: `"*" or a list of views.`},
		{At: "NewKey.name", Also: `"required":true`}, {At: "NewKey.roles", Also: `"required":true`}, {At: "NewKey.views", Also: `"required":true`},
		{At: "NewKey.expires_at_ns", Text: "ns since 1970; 0 or absent: never."},
		{At: "MadeKey.api_key", Text: "The key. Only this answer shows it."},
		{At: "StoredVersion.folded_at", Text: "Unix seconds."},
		{At: "StoredVersion.sessions", Text: "How far each session is folded."},
		{At: "History.versions", Text: "From the current one backwards."},
		{At: "History.more", Text: "There are older ones."},
		{At: "History.orphans", Text: "Manifests that are no version's."},
		{At: "History.unfolded_segments", Text: "Of the current epoch's sessions."},
		{At: "RestartedView.epoch", Text: "Of the view's new life."},
		{At: "RemovedView.objects", Text: "How many were deleted."},
		{At: "Removal.why", Text: "In words."},
		{At: "ViewSetting.maximum", Text: "Of seconds and counts."},
		{At: "ViewSetting.zero", Text: "What 0 means."},
		{At: "ViewSetting.unlimited", Text: "-1 stands for no bound."},
		{At: "Cost.events_per_second_counted", Text: "What the views had on average over a day at most; null: not known."},
		{At: "CostEstimate.dollars_per_million_files", Text: "A month."},
	}...)
)

// settingNotes say what each setting means.
func settingNotes() []openapi.Note {
	var notes []openapi.Note
	for _, s := range viewconfig.Settings() {
		text := s.Text
		if s.Zero != "" {
			text += " 0: " + s.Zero + "."
		}
		if s.Unlimited {
			text += " -1: for ever, or all."
		}
		notes = append(notes, openapi.Note{At: "ViewSettings." + s.Name, Text: text})
	}
	return notes
}
