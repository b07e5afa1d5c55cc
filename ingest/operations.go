package ingest

import (
	"net/http"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/internal/values"
)

// What /openapi.json says of the calls of agents; internal/admin has those of administrators.

// whichView is how a call names its view, and whichViewAndWait that of a call that waits.
var (
	viewParameter       = openapi.Parameter{Name: "view", Text: "The view, where the key is for several.", Example: `"research"`}
	viewHeaderParameter = openapi.Parameter{Name: viewHeader, In: "header", Text: "The same as `view`."}

	whichView = []openapi.Parameter{
		viewParameter, viewHeaderParameter,
	}
	secretParameter = openapi.Parameter{Name: pipeapi.SecretHeader, In: "header",
		Text:   "What the session was created with, which nobody else knows: 16 to 256 random characters of the agent's own choice. A session that is created without belongs to the API key that made it. For others it is gone (419).",
		Schema: `{"type":"string","minLength":16,"maxLength":256}`}

	ofSession        = []openapi.Parameter{viewParameter, viewHeaderParameter, secretParameter}
	whichViewAndWait = []openapi.Parameter{
		viewParameter, viewHeaderParameter, secretParameter,
		{Name: "wait", Text: "Seconds to wait for commands.", Schema: `{"type":"integer","minimum":0,"maximum":30,"default":0}`},
	}
)

// eventsSchema is a v2api.Batch, whose types read more than they should be sent.
const eventsSchema = `{"type":"object","required":["events","source_type"],"properties":{
"session_id":{"type":"string"},
"source_type":{"type":"string","enum":["message","realtime","snapshot","audit","on_demand_job","job_complete","scan_complete","config_report"]},
"is_end":{"type":"boolean","default":false},
"metadata":{"type":"object","description":"Of job_complete: scan_path and job_id."},
"events":{"type":"array","items":{"type":"object","required":["event_type","rows"],"properties":{
"event_type":{"type":"string","enum":["insert","update","delete"]},
"index":{"type":["integer","null"],"description":"Of no effect."},
"rows":{"type":"array","items":{"type":"object","required":["path"],"properties":{
"path":{"type":"string","description":"From the root of the view. A byte 0xXX that is not UTF-8 is the lone surrogate U+DCXX."},
"size":{"type":"integer","minimum":0,"description":"Bytes. Required for a file that is there."},
"modified_time":{"type":"number","description":"Seconds since 1970. Required for what is there."},
"is_directory":{"type":"boolean","default":false},
"is_atomic_write":{"type":"boolean","default":true,"description":"false: the file is still being written."},
"audit_skipped":{"type":"boolean","default":false,"description":"Of a directory: it has not changed, and its files are not sent."},
"observed_at_ns":{"type":"integer","format":"int64","minimum":1,"description":"Of source_type message: when this was seen, ns since 1970 of the server's time; default: the time of the request, which a later time counts as."}}}}}}}}}`

// A session is created and kept alive in two ways: an agent of Fustor sends segments, any other agent events. Which it is says
// source_type.
type (
	anyRegistration struct{}
	anySession      struct{}
	anyBeat         struct{}
	eventsSession   struct {
		v2api.Created
		View string `json:"view_id"`
		pipeapi.Timed
	}
	eventsBeat struct {
		v2api.Beaten
		pipeapi.Timed
	}
)

var (
	authorizedOperation = openapi.Operation{ID: "getKeyView", Tag: "sessions", Summary: "Which view the key is for",
		Parameters: whichView,
		Answers: []openapi.Answer{{Text: "The view.", Type: (*pipeapi.Authorized)(nil),
			Example: `{"view_id":"research","status":"authorized","can_feed":true,"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}}
	createSessionOperation = openapi.Operation{ID: "createSession", Role: "session", Tag: "sessions", Summary: "Create a session",
		Description: "The first session of a view becomes its leader. 409 where the task has a live session, or the view allows one session only and has it. With a source_type the session is one that sends events; without, one that sends segments.",
		Parameters:  ofSession,
		Body: &openapi.Body{Type: (*anyRegistration)(nil),
			Example: `{"task_id":"nfs07:data","client_info":{"agent_id":"nfs07","source_uri":"fs://nfs07/data"},"session_timeout_seconds":45}`},
		Answers: []openapi.Answer{{Text: "The session.", Type: (*anySession)(nil),
			Example: `{"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","view_id":"research","role":"leader","is_leader":true,"term":7,"lease_ttl_s":45,"lease_renewed":true,"heartbeat_interval_seconds":18,"view_epoch":"8c1f0e7ad3b2946c5510","session_timeout_seconds":45,"audit_interval_sec":21600,"sentinel_interval_sec":120,"next_seq":0,"skew_ns":0,"broken_sessions":[],"message":"session 01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65 leads view research in term 7","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusTooManyRequests}}
	endSessionOperation = openapi.Operation{ID: "endSession", Role: "close", Tag: "sessions", Summary: "End a session",
		Parameters: ofSession,
		Answers: []openapi.Answer{{Text: "It is ended, and its lease released. Idempotent.", Type: (*pipeapi.Ended)(nil),
			Example: `{"status":"terminated","session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, httpapi.StatusSessionGone}}
	heartbeatOperation = openapi.Operation{ID: "heartbeat", Role: "heartbeat", Tag: "sessions", Summary: "Prove that a session lives",
		Description: "Renews the lease of the leader; takes over a lease that is free or expired. Send one every heartbeat_interval_seconds.",
		Parameters:  ofSession,
		Body: &openapi.Body{Type: (*pipeapi.Heartbeat)(nil), Optional: true,
			Example: `{"can_realtime":true,"agent_status":{"state":"watching"},"paused":false}`},
		Answers: []openapi.Answer{{Text: "Its role now.", Type: (*anyBeat)(nil),
			Example: `{"status":"ok","role":"leader","is_leader":true,"term":7,"lease_ttl_s":45,"lease_renewed":true,"heartbeat_interval_seconds":18,"view_epoch":"8c1f0e7ad3b2946c5510","can_realtime":true,"message":"session 01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65 leads view research in term 7","commands":[{"id":"01KBS2N8ZK4T6W1Q9R3V5X7Y2A","type":"scan","path_bytes":"L2E=","path":"/a","recursive":true,"for_session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65"}],"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, httpapi.StatusSessionGone}}
	grantUploadsOperation = openapi.Operation{ID: "grantUploads", Tag: "segments", Summary: "Grant uploads",
		Description: "501 where the object store cannot presign: send segments through the server then.",
		Parameters:  ofSession,
		Body: &openapi.Body{Type: (*pipeapi.UploadsRequest)(nil),
			Example: `{"from_seq":0,"count":16}`},
		Answers: []openapi.Answer{{Text: "Presigned create-only PUTs, for five minutes.", Type: (*pipeapi.Uploads)(nil),
			Example: `{"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","uploads":[{"seq":0,"method":"PUT","url":"https://store.example.org/fustor/views/research/segments/…","headers":{"If-None-Match":["*"]},"expires_at":"2026-01-02T03:09:05Z"}],"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, httpapi.StatusSessionGone, http.StatusNotImplemented}}
	putSegmentOperation = openapi.Operation{ID: "putSegment", Tag: "segments", Summary: "Store a segment",
		Description: "At most 32 MiB, with a Content-Length. 409 where the segment exists with other bytes.",
		Parameters:  ofSession,
		Body: &openapi.Body{Media: "application/zstd", Text: "The segment; docs/formats-segment.md describes it.",
			Schema: `{"type":"string","contentMediaType":"application/zstd","maxLength":33554432}`},
		Answers: []openapi.Answer{{Text: "It is durable. The same bytes may be sent again.", Type: (*pipeapi.SegmentStored)(nil),
			Example: `{"status":"stored","session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","seq":0,"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusConflict, http.StatusLengthRequired, http.StatusRequestEntityTooLarge, httpapi.StatusSessionGone}}
	sendEventsOperation = openapi.Operation{ID: "sendEvents", Role: "events", Tag: "events", Summary: "Send rows of files and directories",
		Description: "From sessions that were created with a source_type. Rows of source_type message count as the kernel's word, at once; those of snapshot and on_demand_job as observations, at once; those of an audit are gathered until a batch with is_end, and what the audit did not see in a directory that it reported is removed then. At most 16 MiB. The same body may be sent again. Fields that are not named here are skipped.",
		Parameters:  ofSession,
		Body: &openapi.Body{Schema: eventsSchema,
			Example: `{"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","source_type":"message","is_end":false,"events":[{"event_type":"update","rows":[{"path":"/a/b","size":7,"modified_time":1767323045.25,"is_directory":false}]}]}`},
		Answers: []openapi.Answer{{Text: "It is durable.", Schema: `{"type":"object","required":["status","count"],"properties":{"status":{"type":"string","const":"ok"},"count":{"type":"integer","description":"How many events there were."},"phase":{"type":"string","description":"Of a job that is complete."},"success":{"type":"boolean"},"server_time_ns":{"type":"integer","format":"int64"}}}`,
			Example: `{"status":"ok","count":1,"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, httpapi.StatusSessionGone}}
	auditStartOperation = openapi.Operation{ID: "startAudit", Tag: "Fustor V2", Summary: "An audit begins",
		Description: "From agents of Fustor V2, whose rows of an audit count at its end. Of a native agent it has no effect: each listing of an audit counts by itself.",
		Parameters:  whichView,
		Body:        &openapi.Body{Schema: `{"type":"object"}`, Optional: true},
		Answers: []openapi.Answer{{Text: "Accepted.", Type: (*pipeapi.AuditMarked)(nil),
			Example: `{"status":"audit_started","drivers_handled":1,"view_id":"research","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}}
	auditEndOperation = openapi.Operation{ID: "endAudit", Tag: "Fustor V2", Summary: "An audit ends",
		Description: "From agents of Fustor V2, whose rows of an audit count at its end. Of a native agent it has no effect: each listing of an audit counts by itself.",
		Parameters:  whichView,
		Body:        &openapi.Body{Schema: `{"type":"object"}`, Optional: true},
		Answers: []openapi.Answer{{Text: "Accepted.", Type: (*pipeapi.AuditMarked)(nil),
			Example: `{"status":"audit_ended","drivers_handled":1,"view_id":"research","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}}
	awaitCommandsOperation = openapi.Operation{ID: "awaitCommands", Tag: "commands", Summary: "Wait for commands",
		Description: "Answers once there are commands for the session, or after wait seconds.",
		Parameters:  whichViewAndWait,
		Answers: []openapi.Answer{{Text: "The commands; none where the time was over first.", Type: (*pipeapi.Commands)(nil),
			Example: `{"commands":[{"id":"01KBS2N8ZK4T6W1Q9R3V5X7Y2A","type":"scan","path_bytes":"L2E=","path":"/a","recursive":true,"for_session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65"}],"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, httpapi.StatusSessionGone}}
	askCommandOperation = openapi.Operation{ID: "askCommand", Tag: "commands", Summary: "Have the agent of one session do something",
		Description: "Needs the role admin. pause: the pipe neither scans nor sends, and does not lead, until resume; what happens meanwhile is kept. stop: it sends what is left and ends until its agent is restarted or reloaded. reload: the agent reads its config file again. scan: as on demand, through this session, which must lead.",
		Parameters:  whichView,
		Body: &openapi.Body{Type: (*pipeapi.CommandRequest)(nil),
			Example: `{"command":"scan","path":"/incoming","recursive":true}`},
		Answers: []openapi.Answer{{Text: "It waits for the agent's next heartbeat. The view's /jobs/{job_id} says what becomes of it.", Type: (*pipeapi.CommandAsked)(nil),
			Example: `{"job_id":"01KBS2N8ZK4T6W1Q9R3V5X7Y2A","view_id":"research","session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","command":"scan","path":"/incoming","recursive":true,"state":"queued","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, httpapi.StatusSessionGone, http.StatusTooManyRequests}}
	reportJobOperation = openapi.Operation{ID: "reportJob", Tag: "commands", Summary: "Report on a job",
		Parameters: ofSession,
		Body: &openapi.Body{Type: (*job.Report)(nil),
			Example: `{"for_session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","state":"done","files":1204,"directories":16,"errors":0,"last_seq":31}`},
		Answers: []openapi.Answer{{Text: "What the job is then. After its end a report changes nothing.", Type: (*pipeapi.JobReported)(nil),
			Example: `{"status":"ok","state":"done","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, httpapi.StatusSessionGone, http.StatusNotFound}}
	sentinelTasksOperation = openapi.Operation{ID: "getSentinelTasks", Tag: "commands", Summary: "Files to look at",
		Description: "What may still be written to; {} where there is nothing.",
		Parameters:  whichView,
		Answers: []openapi.Answer{{Text: "The files.", Type: (*pipeapi.SentinelTasks)(nil),
			Example: `{"type":"suspect_check","paths":["/incoming/a.h5"],"view_id":"research","server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}}
	sentinelFeedbackOperation = openapi.Operation{ID: "giveSentinelFeedback", Tag: "Fustor V2", Summary: "What a sentinel found",
		Description: "From agents of Fustor V2; a native agent sends that as segments.",
		Parameters:  ofSession,
		Body: &openapi.Body{Type: (*v2api.Feedback)(nil),
			Example: `{"type":"suspect_update","updates":[{"path":"/incoming/a.h5","mtime":1767323001.5,"size":4096,"status":"exists"}]}`},
		Answers: []openapi.Answer{{Text: "It was read.", Type: (*pipeapi.FeedbackTaken)(nil),
			Example: `{"status":"processed","drivers_updated":1,"received":1,"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}}
	listPipesOperation = openapi.Operation{ID: "listPipes", Tag: "pipes", Summary: "The view's live pipes",
		Parameters: whichView,
		Answers: []openapi.Answer{{Text: "One for each live session.", Type: (*pipeapi.Pipes)(nil),
			Example: `{"view_id":"research","pipes":[{"id":"nfs07:data","view_id":"research","session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","agent_id":"nfs07","source_uri":"fs://nfs07/data","client_ip":"10.0.0.7","role":"leader","can_realtime":true,"paused":false,"session_timeout_seconds":45,"created_at":1767319200.0,"last_activity":1767323045.0}],"count":1,"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}}
	showPipeOperation = openapi.Operation{ID: "getPipe", Tag: "pipes", Summary: "A live pipe, by its task",
		Parameters: whichView,
		Answers: []openapi.Answer{{Text: "The pipe.", Type: (*pipeapi.OnePipe)(nil),
			Example: `{"id":"nfs07:data","view_id":"research","session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","agent_id":"nfs07","source_uri":"fs://nfs07/data","client_ip":"10.0.0.7","role":"leader","can_realtime":true,"paused":false,"session_timeout_seconds":45,"created_at":1767319200.0,"last_activity":1767323045.0,"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusNotFound}}
	statsOperation = openapi.Operation{ID: "getSessionStats", Tag: "pipes", Summary: "Counters",
		Parameters: whichView,
		Answers: []openapi.Answer{{Text: "The view's sessions, and what this process asked of the store.", Type: (*pipeapi.Stats)(nil),
			Example: `{"view_id":"research","live_sessions":2,"ended_sessions":0,"leader_session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","term":7,"store_requests":{"get":120,"put":80,"list":2,"delete":0,"presign":31,"bytes_in":90412,"bytes_out":51200},"server_time_ns":1767323045250000000}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}}
)

// document is what the calls have in common.
var document = openapi.Document{
	Title: "Fustor, pipe side",
	Description: "What agents speak: sessions, the lease, and segments. A trailing slash makes no difference. " +
		"Errors are RFC 9457 problems. GET answers HEAD too.",
	Address: "127.0.0.1:8081",
	Problem: (*httpapi.ProblemBody)(nil),
	Errors: []openapi.Problem{
		{Status: http.StatusBadRequest, Name: "BadRequest", Text: "Malformed, or an unknown parameter or field."},
		{Status: http.StatusUnauthorized, Name: "NoKey", Text: "No or an unknown key."},
		{Status: http.StatusForbidden, Name: "Forbidden", Text: "The key may not do this, or not in this view."},
		{Status: http.StatusNotFound, Name: "NotFound", Text: "There is no such thing."},
		{Status: http.StatusConflict, Name: "Conflict", Text: "Something else is there."},
		{Status: http.StatusRequestEntityTooLarge, Name: "TooLarge", Text: "The body is too large."},
		{Status: http.StatusLengthRequired, Name: "LengthRequired", Text: "The request does not say how long its body is."},
		{Status: http.StatusUnsupportedMediaType, Name: "WrongType", Text: "The body is not JSON."},
		{Status: httpapi.StatusSessionGone, Name: "SessionGone", Text: "The session has ended, timed out, or never was: create a new one."},
		{Status: http.StatusTooManyRequests, Name: "TooMany", Text: "More than 100 commands and scans of the view wait, the key has too many sessions in the view, or the address has sent more than 20 wrong keys within a minute."},
		{Status: http.StatusNotImplemented, Name: "NotImplemented", Text: "This server, or its object store, cannot do this."},
		{Status: http.StatusServiceUnavailable, Name: "Unavailable", Text: "The object store is not available; see Retry-After."},
	},
	Path: []openapi.Parameter{
		{Name: "id", Text: "The session, or the task of a pipe.", Example: `"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65"`},
		{Name: "seq", Text: "The segment's number: 0, 1, 2 … without gaps.", Schema: `{"type":"integer","format":"int64","minimum":0}`, Example: `0`},
		{Name: "job", Text: "The job.", Example: `"01KBS2N8ZK4T6W1Q9R3V5X7Y2A"`},
	},
	Types: []openapi.Type{
		{Of: (*httpapi.ProblemBody)(nil), Name: "Problem"}, {Of: (*httpapi.ProbeAnswer)(nil), Name: "Probe"},
		{Of: (*pipeapi.Registration)(nil), Name: "CreateSession"}, {Of: (*pipeapi.Heartbeat)(nil), Name: "Beat"},
		{Of: (*pipeapi.Beat)(nil), Name: "Heartbeat"}, {Of: (*pipeapi.UploadsRequest)(nil), Name: "AskUploads"},
		{Of: (*pipeapi.AuditMarked)(nil), Name: "Accepted"}, {Of: (*pipeapi.CommandRequest)(nil), Name: "AskCommand"},
		{Of: (*pipeapi.CommandAsked)(nil), Name: "AskedCommand"}, {Of: (*pipeapi.Pipe)(nil), Name: "LivePipe"}, {Of: (*pipeapi.OnePipe)(nil), Name: "Pipe"},
		{Of: (*job.Report)(nil), Name: "JobReport"}, {Of: (*pipeapi.AgentStatus)(nil)},
		{Of: (*job.State)(nil), Schema: `{"type":"string","enum":["queued","running","done","failed"]}`},
		{Of: (*values.Seconds)(nil), Schema: `{"type":"number"}`},
		{Of: (*v2api.Feedback)(nil), Name: "SentinelFeedback"}, {Of: (*v2api.Found)(nil), Name: "SentinelFinding"},
		{Of: (*anyRegistration)(nil), Name: "CreateAnySession", OneOf: []any{(*v2api.Create)(nil), (*pipeapi.Registration)(nil)}},
		{Of: (*anySession)(nil), Name: "AnySession", AnyOf: []any{(*pipeapi.Session)(nil), (*eventsSession)(nil)}},
		{Of: (*anyBeat)(nil), Name: "AnyHeartbeat", AnyOf: []any{(*pipeapi.Beat)(nil), (*eventsBeat)(nil)}},
		{Of: (*v2api.Create)(nil), Name: "CreateEventsSession"}, {Of: (*eventsSession)(nil), Name: "EventsSession"},
		{Of: (*eventsBeat)(nil), Name: "EventsHeartbeat"}, {Of: (*v2api.Command)(nil), Name: "EventsCommand"},
		{Of: (*v2api.Text)(nil), Schema: `{"type":"string"}`}, {Of: (*v2api.Time)(nil), Schema: `{"type":"number"}`},
		{Of: (*v2api.Integer)(nil), Schema: `{"type":"integer","format":"int64"}`},
	},
	Notes: []openapi.Note{
		{At: "Problem.detail", Text: "What is wrong."}, {At: "Problem.hint", Text: "What to do about it."},
		{At: "Problem.type", Also: `"const":"about:blank"`},
		{At: "Problem.server_time_ns", Text: "The object store's time, ns since 1970. Agents set their clock offset by it."},
		{At: "Timed.server_time_ns", Text: "The object store's time, ns since 1970. Agents set their clock offset by it."},
		{At: "Authorized.status", Also: `"const":"authorized"`},
		{At: "CreateEventsSession.source_type", Text: "What the agent reads.", Also: `"const":"fs","required":true`},
		{At: "CreateEventsSession.task_id", Text: "As AGENT:PIPE; the view has at most one live session of it.", Also: `"maxLength":256,"required":true`},
		{At: "CreateEventsSession.client_info", Text: "Free; agent_id and source_uri are understood. At most 16 KiB.", Also: `"type":["object","null"]`},
		{At: "CreateEventsSession.session_timeout_seconds", Text: "The session has the larger of this and the view's own.", Also: `"type":["number","null"],"exclusiveMinimum":0,"maximum":604800`},
		{At: "EventsSession.role", Also: `"enum":["leader","follower"]`},
		{At: "EventsHeartbeat.role", Text: "A follower's snapshots and audits do not count.", Also: `"enum":["leader","follower"]`},
		{At: "EventsHeartbeat.status", Also: `"const":"ok"`},
		{At: "EventsHeartbeat.commands", Text: "What the agent is to do. Each comes once."},
		{At: "EventsCommand.type", Text: "scan, stop_pipe or reload_config."},
		{At: "CreateSession.task_id", Text: "A stable name of the agent's pipe; existing agents use AGENT:PIPE.", Also: `"maxLength":256,"required":true`},
		{At: "CreateSession.client_info", Text: "Free; agent_id and source_uri are understood. At most 16 KiB.", Also: `"type":["object","null"]`},
		{At: "CreateSession.session_timeout_seconds", Text: "The session has the larger of this and the view's own.", Also: `"type":["number","null"],"exclusiveMinimum":0,"maximum":604800`},
		{At: "CreateSession.paused", Text: "The session does not run for leader.", Also: `"default":false`},
		{At: "Standing.role", Also: `"enum":["leader","follower"]`},
		{At: "Standing.term", Text: "The view's newest term; the leader's fencing token."},
		{At: "Standing.lease_ttl_s", Text: "How long a renewal of the lease holds."},
		{At: "Standing.lease_renewed", Text: "Whether this answer is a renewal. Leader work must stop two thirds of the TTL after the start of the last request whose answer said so."},
		{At: "Standing.heartbeat_interval_seconds", Text: "Until the next heartbeat is due, in this role."},
		{At: "Standing.view_epoch", Text: "Of the view. What an agent remembers of its tree from another epoch is void: the view was reset, or is a new one."},
		{At: "Session.next_seq", Text: "Number of the first segment."},
		{At: "Session.skew_ns", Text: "The object store's time minus the file server's, as the view knows it; absent where it has no version yet."},
		{At: "Session.broken_sessions", Text: "Sessions that were not folded to their end, so that the view may lack what was sent in them."},
		{At: "Session.message", Text: "For people."},
		{At: "Ended.status", Also: `"const":"terminated"`},
		{At: "Beat.can_realtime", Text: "Its host can watch the tree; absent: as before.", Also: `"type":["boolean","null"]`},
		{At: "Beat.agent_status", Text: "Free; Fustor's own agents say what AgentStatus has. Of one that is larger than 16 KiB the state alone is kept."},
		{At: "Beat.paused", Text: "The session does not run for leader; if it leads, its lease is free at once. Say it with every heartbeat: without it the session is not paused.", Also: `"default":false`},
		{At: "Heartbeat.status", Also: `"const":"ok"`},
		{At: "Heartbeat.message", Text: "For people."},
		{At: "Heartbeat.commands", Text: "That wait for the session. One comes again until the agent has reported on it."},
		{At: "AskUploads.from_seq", Text: "The first segment.", Also: `"required":true,"minimum":0`},
		{At: "AskUploads.count", Text: "How many, from there on.", Also: `"required":true,"minimum":1,"maximum":100`},
		{At: "Upload.headers", Text: "To be sent as they are; they are signed."},
		{At: "SegmentStored.status", Also: `"const":"stored"`},
		{At: "Accepted.status", Also: `"enum":["audit_started","audit_ended"]`},
		{At: "Accepted.drivers_handled", Also: `"const":1`}, {At: "FeedbackTaken.drivers_updated", Also: `"const":1`},
		{At: "Command.type", Text: "scan, pause, resume, stop, reload, or one of a later version: report that as failed."},
		{At: "Command.path", Text: "For people; not always exact."},
		{At: "Command.path_bytes", Text: "base64: the exact path; null where there is none.", Also: `"type":["string","null"]`},
		{At: "Command.for_session_id", Text: "Give it back in reports."},
		{At: "Command.target_session_id", Text: "Set where this session alone is meant, and not whoever leads."},
		{At: "Command.requested_by", Text: "The name of the key that asked."},
		{At: "JobReport.for_session_id", Text: "As the command has it."},
		{At: "JobReport.state", Also: `"enum":["running","done","failed"]`},
		{At: "JobReport.error", Text: "Why it failed."},
		{At: "JobReport.last_seq", Text: "The last segment with its results; absent: there are none.", Also: `"type":["integer","null"]`},
		{At: "JobReport.note", Text: "What came of it, in words."},
		{At: "JobReported.status", Also: `"const":"ok"`},
		{At: "AskCommand.command", Also: `"enum":["pause","resume","stop","reload","scan"],"required":true`},
		{At: "AskCommand.path", Text: "Of a scan; default: /.", Also: `"type":["string","null"]`},
		{At: "AskCommand.path_b64", Text: "base64url: the exact path.", Also: `"type":["string","null"]`},
		{At: "AskCommand.recursive", Text: "Of a scan; default: true.", Also: `"type":["boolean","null"]`},
		{At: "AskedCommand.command", Also: `"enum":["pause","resume","stop","reload","scan"]`},
		{At: "AskedCommand.state", Also: `"enum":["queued"]`},
		{At: "SentinelTasks.type", Also: `"const":"suspect_check"`},
		{At: "SentinelTasks.paths_bytes", Text: "base64: the exact paths, where one is not UTF-8."},
		{At: "SentinelFinding.status", Also: `"enum":["exists","missing"]`},
		{At: "FeedbackTaken.status", Also: `"const":"processed"`},
		{At: "FeedbackTaken.received", Text: "How many updates there were."},
		{At: "Pipe.id", Text: "The task."}, {At: "Pipe.role", Also: `"enum":["leader","follower"]`},
		{At: "Pipe.created_at", Text: "Unix seconds, by the store's clock."}, {At: "Pipe.last_activity", Text: "Unix seconds, of the last proof of life."},
		{At: "Pipe.paused", Text: "It does not run for leader."},
		{At: "Stats.ended_sessions", Text: "That are not folded to their end."},
		{At: "Stats.leader_session_id", Text: "Empty: nobody leads."},
		{At: "Stats.store_requests", Text: "Of this process, for all views."},
	},
}
