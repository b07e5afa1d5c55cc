package query

import (
	"net/http"
	"slices"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// What /openapi.json says of the reading calls; its prose is here, its schemas are the types of the answers.

const tag = "views"

var costHeader = openapi.Header{Name: "Fustor-Cost", Text: "What the answer took: gets and bytes read from the object store, ms; rows examined, row groups read and skipped, cache hits."}

var membersHeader = openapi.Header{Name: "Fustor-Members", Text: "Of a forest: its members and how they fare, such as nfs01=ok, nfs02=timeout."}

var (
	versioned = []openapi.Header{{Name: "ETag", Text: "The version; of a forest, the versions of all members. Absent from streams, and if a parameter is a time that counts from now."}, membersHeader,
		costHeader}
	versionedList = []openapi.Header{{Name: "ETag", Text: "The version; of a forest, the versions of all members. Absent from streams, and if a parameter is a time that counts from now."}, membersHeader, {Name: "Fustor-Next-Cursor", Text: "The cursor of the next page; absent on the last."},
		costHeader}
	unversioned = []openapi.Header{
		costHeader}
	ofDiff = []openapi.Header{{Name: "ETag", Text: "The two versions. Absent from streams, and if a filter is a time that counts from now."},
		{Name: "Fustor-From-Version", Text: "The version that is compared with."},
		{Name: "Fustor-Moves", Text: "recognised; or too-many: the diff has more added and removed paths than moves are recognised among, and shows none."}, costHeader}
	// varying answers depend on more than the version: they have no ETag.
	varying = []openapi.Header{membersHeader, costHeader}
)

// The problems that a call answers: of the current version, of one that may be an earlier one, and others.
var (
	ofVersion = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusBadGateway, http.StatusServiceUnavailable}
	ofPage    = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusBadGateway,
		http.StatusServiceUnavailable}
	ofPageOfView = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusGone,
		http.StatusBadGateway, http.StatusServiceUnavailable}
	ofTree = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable}
	ofReset = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusNotImplemented, http.StatusServiceUnavailable}
)

const notModifiedText = "The version, and so the answer, is still the one of If-None-Match."

// versionForms are the forms of a version that is not the current one.
const versionForms = "its number, a time (7d, yesterday, RFC 3339, a date in UTC, Unix seconds with a point) for the version that was current then, or the name of a pin"

// Parameters that several calls have.
var (
	atimeParameter   = openapi.Parameter{Name: "atime", Text: "true: nodes have atime_day.", Schema: `{"type":"boolean","default":false}`}
	explainParameter = openapi.Parameter{Name: "explain", Text: "true: the body says what the answer cost: a member `explain` of a JSON object, the last line of a stream. An answer that is an array says it in Fustor-Cost alone, as every answer does.", Schema: `{"type":"boolean","default":false}`}
	ifNoneMatch      = openapi.Parameter{Name: "If-None-Match", In: "header", Text: "An ETag: 304 while the answer would still be that one. Streams, and answers to filters that count from now, such as newer_than=7d, have none."}
	pathParameter    = openapi.Parameter{Name: "path", Text: "A path from the view's root, with a leading slash. Give this or path_b64.", Schema: `{"type":"string","default":"/"}`}
	pathB64Parameter = openapi.Parameter{Name: "path_b64", Text: "The path as base64url of its bytes, for names that are not UTF-8."}
	asOfParameter    = openapi.Parameter{Name: "as_of", Text: "The version to read instead of the current one: " + versionForms + "; 0 for the oldest that is kept. Suspects, and ages such as 7d, are as of that time, or as of when the version was published. Of a forest it is a time.", Schema: `{"type":"string","minLength":1}`, Example: `"yesterday"`}
	versionParameter = openapi.Parameter{Name: "version", Text: "The number of the version to read instead of the current one. Give this or as_of. Not of forests.", Schema: `{"type":"integer","minimum":1}`}
	cursorParameter  = openapi.Parameter{Name: "cursor", Text: "next_cursor of the page before. The answer continues on that page's version. All other parameters but limit must be the same."}
	pageLimit        = openapi.Parameter{Name: "limit", Text: "Entries in a page.", Schema: `{"type":"integer","minimum":1,"maximum":10000,"default":1000}`}
	answerLimit      = openapi.Parameter{Name: "limit", Text: "Entries in the answer.", Schema: `{"type":"integer","minimum":1,"maximum":1000,"default":100}`}
)

// filterParameters say what a search or a report wants of entries, beside a pattern.
var filterParameters = []openapi.Parameter{
	{Name: "name", Text: "A glob of names: *, ?, [a-z], {bam,gz}. If it is given several times, the name matches one of them.", Schema: `{"type":"array","items":{"type":"string","minLength":1,"maxLength":1024},"maxItems":100}`},
	{Name: "not_name", Text: "A glob of names that are left out. It may be given several times.", Schema: `{"type":"array","items":{"type":"string","minLength":1,"maxLength":1024},"maxItems":100}`},
	{Name: "regex", Text: "The whole path, from the view's root on, matches this regular expression of RE2, as for find -regex. It is refused if it stands for more than 1000 characters and choices.", Schema: `{"type":"string","minLength":1,"maxLength":1024}`, Example: `".*/run[0-9]+\\.(bam|cram)"`},
	{Name: "type", Text: "Types to find: letters of f, d, l, o, or file, directory, symlink, other; comma-separated."},
	{Name: "min_size", Text: "At least so many bytes (or 10K, 5M, 2G …); by the entry's own size."},
	{Name: "max_size", Text: "At most so many bytes."},
	{Name: "min_allocated", Text: "Occupies at least so many bytes. Entries that are not measured do not match."},
	{Name: "max_allocated", Text: "Occupies at most so many bytes. Entries that are not measured do not match."},
	{Name: "newer_than", Text: "mtime later than: " + values.TimeForms + ". Dates are in UTC."},
	{Name: "older_than", Text: "mtime earlier than."},
	{Name: "changed_after", Text: "ctime later than. Entries that are not measured do not match."},
	{Name: "changed_before", Text: "ctime earlier than. Entries that are not measured do not match."},
	{Name: "born_after", Text: "Made in the second of this time or later; entries have the second of their birth alone. Entries whose birth is not known do not match."},
	{Name: "born_before", Text: "Made in a second before that of this time. Entries whose birth is not known do not match."},
	{Name: "accessed_after", Text: "Read on the day (UTC) of this time or later; entries have the day of their atime alone."},
	{Name: "accessed_before", Text: "Last read on a day (UTC) before that of this time."},
	{Name: "owner", Text: "The owner: a name that the hosts of the view know, or a uid.", Schema: `{"type":"string","minLength":1}`},
	{Name: "group", Text: "The group: a name that the hosts of the view know, or a gid.", Schema: `{"type":"string","minLength":1}`},
	{Name: "perm", Text: "A condition on the mode, " + values.PermForms + ".", Example: `"-4000"`},
	{Name: "min_links", Text: "At least so many links. Entries that are not measured do not match.", Schema: `{"type":"integer","minimum":0,"maximum":4294967295}`},
	{Name: "max_links", Text: "At most so many links. Entries that are not measured do not match.", Schema: `{"type":"integer","minimum":0,"maximum":4294967295}`},
	{Name: "inode", Text: "The names of one file: an entry's member inode."},
	{Name: "empty", Text: "true: only files of size 0, and directories with nothing in them.", Schema: `{"type":"boolean","default":false}`},
}

// reportPattern is the pattern of a report.
var reportPattern = openapi.Parameter{Name: "pattern", Text: "Only entries that this pattern of a search finds.", Schema: `{"type":"string","minLength":1,"maxLength":1024}`, Example: `"*.h5"`}

// ofReport are the parameters of a report: a path, its own, and the filter of a search without what is among its own.
func ofReport(own ...openapi.Parameter) []openapi.Parameter {
	filters := slices.DeleteFunc(append([]openapi.Parameter{reportPattern}, filterParameters...), func(p openapi.Parameter) bool {
		return slices.ContainsFunc(own, func(o openapi.Parameter) bool { return o.Name == p.Name })
	})
	return slices.Concat([]openapi.Parameter{pathParameter, pathB64Parameter}, own, filters, []openapi.Parameter{asOfParameter, versionParameter, explainParameter, ifNoneMatch})
}

var (
	treeOperation = openapi.Operation{ID: "tree", Tag: tag, Summary: "An entry and what is below it",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "recursive", Text: "false: the entry alone.", Schema: `{"type":"boolean","default":true}`},
			{Name: "max_depth", Text: "Levels below the entry: 1 is its children, 0 the entry alone. Absent: all.", Schema: `{"type":"integer","minimum":0}`},
			atimeParameter,
			{Name: "only_path", Text: "Nodes have name, path and content_type alone.", Schema: `{"type":"boolean","default":false}`},
			{Name: "on_demand_scan", Text: "Has the leader scan the path: the answer has the job, and is what the view knows before it. 202 where the view does not know the path.", Schema: `{"type":"boolean","default":false}`},
			{Name: "limit", Text: "Entries in a page, the entry itself not counted. Default 10000; without a limit application/x-ndjson has everything in one answer.", Schema: `{"type":"integer","minimum":1,"maximum":100000}`},
			cursorParameter,
			asOfParameter, versionParameter, ifNoneMatch, explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The entry with what is below it, as far as this page has it.", Type: (*treeAnswer)(nil), Headers: versioned,
			Example: `{"name":"incoming","path":"/incoming","content_type":"directory","type":"d","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":493,"uid":0,"gid":0,"owner":"root","group":"root","subtree":{"files":1204,"directories":16,"others":0,"bytes":93411220,"allocated":93413376,"linked_allocated":0,"unmeasured":0,"latest_mtime":1767323001.5,"latest_mtime_ns":1767323001500000000},"children":[{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users"}],"version":412}`},
			{Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusAccepted, Text: "The scan is asked for; the view does not know the path yet.", Type: (*scanAsked)(nil), Headers: unversioned,
				Example: `{"path":"/incoming/new","job":{"job_id":"01KBS2N8ZK4T6W1Q9R3V5X7Y2A","view_id":"research","command":"scan","path":"/incoming/new","recursive":true,"state":"queued","files":0,"directories":0,"errors":0,"requested_at":1767322990.25,"started_at":null,"finished_at":null},"version":412}`},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofTree}
	listOperation = openapi.Operation{ID: "list", Tag: tag, Summary: "A directory's entries",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "sort", Text: "name: bytes, ascending. size: largest first, a directory by the bytes of its subtree. allocated: what occupies most first, a directory with its subtree. files: what has most files first, a directory by its subtree. mtime: newest first. Equal ones by name.", Schema: `{"type":"string","enum":["name","size","allocated","files","mtime"],"default":"name"}`},
			{Name: "reverse", Text: "The order the other way round.", Schema: `{"type":"boolean","default":false}`},
			{Name: "pattern", Text: "Only the entries whose names match, as of a search; it has no slash.", Schema: `{"type":"string"}`},
			pageLimit,
			cursorParameter,
			asOfParameter, versionParameter, ifNoneMatch, explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The entries.", Type: (*entries)(nil), Headers: versioned,
			Example: `{"entries":[{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users"}],"count":1,"version":412,"path":"/incoming"}`},
			{Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	metadataOperation = openapi.Operation{ID: "metadata", Tag: tag, Summary: "One entry",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "links_once", Text: "true: what a directory's subtree has allocated counts each file once, not each of its names.", Schema: `{"type":"boolean","default":false}`},
			asOfParameter, versionParameter, ifNoneMatch, explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The entry; of a forest, that of each member.", Type: (*metadataAnswer)(nil), Headers: versioned,
			Example: `{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users"}`},
			{Text: "Of a forest.", Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	searchOperation = openapi.Operation{ID: "search", Tag: tag, Summary: "Entries by name and attributes",
		Parameters: slices.Concat([]openapi.Parameter{
			{Name: "pattern", Text: "A glob if it has *, ? or [ (case-sensitive; {bam,gz} are alternatives), otherwise a part of the name in any case. With a slash it is matched against the path. Required, under this name or as query, unless there is a name or not_name.", Schema: `{"type":"string","minLength":1,"maxLength":1024}`, Example: `"*.h5"`},
			{Name: "query", Text: "Another name of pattern.", Schema: `{"type":"string","minLength":1,"maxLength":1024}`},
			pathParameter, pathB64Parameter,
		}, filterParameters, []openapi.Parameter{
			atimeParameter,
			pageLimit,
			cursorParameter,
			asOfParameter, versionParameter, ifNoneMatch, explainParameter,
		}),
		Answers: []openapi.Answer{{Text: "The entries that were found, in the order of their paths.", Type: (*entries)(nil), Headers: versioned,
			Example: `{"entries":[{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users"}],"count":1,"version":412,"path":"/"}`},
			{Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	diffOperation = openapi.Operation{ID: "diff", Tag: tag, Summary: "What differs between two versions",
		Description: "Paths that were added, removed or changed, in key order. What both versions have in common is not read. Of views only: a forest's members are asked one by one.",
		Parameters: slices.Concat([]openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "from", Text: "The version to compare with: " + versionForms + ", 0 for the oldest that is kept.", Schema: `{"type":"string","minLength":1,"default":"0"}`, Example: `"2h"`},
			{Name: "to", Text: "The other version, in the same forms. Absent: the current one.", Schema: `{"type":"string","minLength":1}`},
			{Name: "summary", Text: "true: sums by directory instead of paths.", Schema: `{"type":"boolean","default":false}`},
			{Name: "depth", Text: "Of sums: levels below the path.", Schema: `{"type":"integer","minimum":0,"maximum":100,"default":1}`},
			{Name: "pattern", Text: "Only entries that this pattern of a search finds, before or after.", Schema: `{"type":"string","minLength":1,"maxLength":1024}`, Example: `"*.h5"`},
		}, filterParameters, []openapi.Parameter{
			{Name: "limit", Text: "Entries in a page. Default 1000; without a limit application/x-ndjson has everything in one answer.", Schema: `{"type":"integer","minimum":1,"maximum":10000}`},
			{Name: "cursor", Text: "next_cursor of the page before. The answer continues on that page's versions. All other parameters but limit must be the same."},
			ifNoneMatch, explainParameter,
		}),
		Answers: []openapi.Answer{{Text: "The paths that differ; with summary, the sums of directories.", Type: (*diffAnswer)(nil), Headers: ofDiff,
			Example: `{"entries":[{"change":"changed","path":"/incoming/run7.h5","type":"f","fields":["size","mtime"],"before":{"type":"f","size":0,"mtime_ns":1767323000500000000,"mode":420,"uid":1000,"gid":100,"owner":"ada","group":"lab"},"after":{"type":"f","size":4096,"mtime_ns":1767323001500000000,"mode":420,"uid":1000,"gid":100,"owner":"ada","group":"lab"}}],"count":1,"version":412,"from_version":398,"path":"/","folded_at":1767323042.0,"from_folded_at":1767319442.0,"moves":"recognised"}`},
			{Media: ndjson, Type: (*diffLine)(nil)},
			{Status: http.StatusNotModified, Text: "The versions, and so the answer, are still those of If-None-Match."}},
		Errors: ofPageOfView}
	changesOperation = openapi.Operation{ID: "changes", Tag: tag, Summary: "The changes after a version, one version after the other, and those to come",
		Description: "Each change is what /diff says between a kept version and the next. application/x-ndjson, the default, ends at the current version, and waits for changes if there are none; text/event-stream goes on.",
		Parameters: slices.Concat([]openapi.Parameter{
			{Name: "after", Text: "Where to begin: a cursor of this feed; or a version: " + versionForms + "; 0 for the oldest complete one that is kept. Without it, the current version: only what is new is told.", Schema: `{"type":"string","minLength":1}`, Example: `"412"`},
			{Name: "Last-Event-ID", In: "header", Text: "The id of the last event, which browsers send when they connect again: a cursor. It counts instead of after."},
			{Name: "wait", Text: "Seconds to wait for changes if there are none yet. Not of text/event-stream.", Schema: `{"type":"integer","minimum":0,"maximum":3600,"default":0}`},
			{Name: "limit", Text: "The most changes in the answer; go on with the cursor of the last. Without it, all. Not of text/event-stream.", Schema: `{"type":"integer","minimum":1,"maximum":10000}`},
			pathParameter, pathB64Parameter,
			{Name: "pattern", Text: "Only entries that this pattern of a search finds, before or after the change.", Schema: `{"type":"string","minLength":1,"maxLength":1024}`, Example: `"*.h5"`},
		}, filterParameters, []openapi.Parameter{explainParameter}),
		Answers: []openapi.Answer{
			{Text: "Changes, and after those of a version a line that says so: whoever has that line has everything up to the version. Heartbeats come in between.", Media: ndjson, Type: (*feedLine)(nil), Headers: unversioned,
				Example: `{"change":"added","path":"/incoming/run7.h5","type":"f","after":{"type":"f","size":4096,"mtime_ns":1767323001500000000,"mode":420,"uid":1000,"gid":100,"owner":"ada","group":"lab"},"version":413,"folded_at":1767323043.5,"cursor":"c.AQ"}`},
			{Media: eventStream, Schema: `{"type":"string"}`}},
		Errors: ofPageOfView}
	logOperation = openapi.Operation{ID: "log", Tag: tag, Summary: "What a path was in the kept versions, the newest first",
		Description: "Only the versions in which the path is not what it was in the kept version before. It is looked up once in each. 404 if no kept version has it. Of views only: a forest's members are asked one by one.",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "limit", Text: "Versions to look at. Not each has an entry.", Schema: `{"type":"integer","minimum":1,"maximum":1000,"default":100}`},
			{Name: "before", Text: "Look at those before this version: next_before of the answer before.", Schema: `{"type":"integer","minimum":1}`},
			{Name: "kept", Text: "Look only at those that are kept for more than being recent: by a rule, by a pin, or as the current one.", Schema: `{"type":"boolean","default":false}`},
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The versions in which it changed.", Type: (*logAnswer[[]logged])(nil), Headers: unversioned,
			Example: `{"view_id":"research","path":"/incoming/run7.h5","version":412,"versions":2,"found":true,"count":2,"entries":[{"change":"changed","version":412,"published_at":1767323042.0,"previous_version":398,"previous_published_at":1766718242.0,"type":"f","fields":["size","mtime"],"before":{"type":"f","size":0,"mtime_ns":1767323000500000000,"mode":420,"uid":1000,"gid":100,"owner":"ada","group":"lab"},"after":{"type":"f","size":4096,"mtime_ns":1767323001500000000,"mode":420,"uid":1000,"gid":100,"owner":"ada","group":"lab"}},{"change":"existing","version":398,"published_at":1766718242.0,"type":"f","after":{"type":"f","size":0,"mtime_ns":1767323000500000000,"mode":420,"uid":1000,"gid":100,"owner":"ada","group":"lab"}}]}`}},
		Errors: ofPageOfView}
	accessOperation = openapi.Operation{ID: "access", Tag: tag, Summary: "What a user may see of a path, and by which entry of which directory",
		Description: "Of the user who asks; with the header Fustor-As, an administrator asks it of another user. Below a directory that the user may not search, a user is told the same of what is there and what is not, and an administrator the rights of all directories. Of views only: a forest's members are asked one by one.",
		Parameters:  []openapi.Parameter{pathParameter, pathB64Parameter, asOfParameter, versionParameter, explainParameter},
		Answers: []openapi.Answer{{Text: "What is shown, and why.", Type: (*accessAnswer)(nil), Headers: unversioned,
			Example: `{"view_id":"research","path":"/project/run7.h5","version":412,"user":"alice","uid":1001,"groups":[100],"trust_modes":false,"visible":false,"listed":false,"contents":false,"denied_at":"/project","directories":[{"path":"/","mode":493,"uid":0,"gid":0,"owner":"root","group":"root","read":true,"search":true,"by":"other::r-x"},{"path":"/project","mode":488,"uid":1003,"gid":101,"owner":"carol","group":"lab","read":false,"search":false,"by":"other::---"}]}`}},
		Errors: ofPageOfView}
	completeOperation = openapi.Operation{ID: "complete", Tag: tag, Summary: "Whether what is at and below a path is complete",
		Description: "It is if nothing below is being written, nothing changed for the quiet time, and the view certainly has everything that happened until then. The answer says what it rests on, and is 200 also where the path does not exist. Of views only: a forest's members are asked one by one.",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "quiet", Text: "For how long nothing may have changed: 60s, 5m, 1h.", Schema: `{"type":"string","minLength":1,"default":"1m0s"}`, Example: `"5m"`},
			{Name: "min_files", Text: "At least so many files.", Schema: `{"type":"integer","minimum":0,"default":0}`},
			{Name: "min_bytes", Text: "At least so many bytes (or 10K, 5M, 2G …)."},
			{Name: "wait", Text: "Seconds to wait until it is complete, or something new is known.", Schema: `{"type":"integer","minimum":0,"maximum":300,"default":0}`},
			{Name: "known", Text: "With wait: the version of the answer that the caller has. An answer of another version is new.", Schema: `{"type":"integer","minimum":0,"default":0}`},
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "Whether it is complete, why not, and what that rests on.", Type: (*completeAnswer)(nil), Headers: unversioned,
			Example: `{"view_id":"research","path":"/incoming/run7","complete":false,"reasons":[{"code":"writing","text":"1 file may still be written to"}],"quiet_s":60,"known_until":1767323043.0,"last_change":{"at":1767323041.5,"path":"/incoming/run7/a.bam"},"exists":true,"files":12,"directories":1,"bytes":93411220,"suspects":{"count":1,"first":[{"path":"/incoming/run7/a.bam"}]},"unreadable":0,"blind_spots":0,"rests_on":{"realtime":true,"agents":[{"agent_id":"nfs07","session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","source_uri":"fs://nfs07/data","role":"leader","coverage":"realtime","local_file_system":true,"known_until":1767323043.0}],"scan":{"scan":"audit","began_at":1767312000.5}},"next_audit":1767333600.5,"version":412,"folded_at":1767323042.0,"now":1767323045.25}`}},
		Errors: ofPageOfView}
	statsOperation = openapi.Operation{ID: "stats", Tag: tag, Summary: "Sums and health of the view or of a directory",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "best", Text: "Of a forest: name the member that has the most files or bytes, or the latest file.", Schema: `{"type":"string","enum":["file_count","total_size","latest_mtime"]}`},
			asOfParameter, versionParameter, explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The sums, and how fresh they are.", Type: (*statsAnswer)(nil), Headers: varying,
			Example: `{"view_id":"research","path":"/","item_count":1220,"total_files":1204,"total_directories":16,"total_others":0,"total_size":93411220,"latest_mtime":1767323001.5,"latest_mtime_ns":1767323001500000000,"latency_ms":412.5,"staleness_seconds":3.25,"oldest_item_path":null,"has_blind_spot":false,"suspect_file_count":1,"logical_now":1767323045.25,"last_audit_finished_at":1767312000.5,"audit_cycle_count":4,"is_auditing":false,"scan_error_count":0,"scan_errors":[],"has_leader":true,"version":412,"folded_at":1767323042.0,"folded_at_ns":1767323042000000000,"observed_at":1767323041.5,"observed_at_ns":1767323041500000000}`}},
		Errors: ofPage}
	suspectListOperation = openapi.Operation{ID: "suspectList", Tag: tag, Summary: "Files that may still be written to; the next page's cursor is in Fustor-Next-Cursor",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			pageLimit,
			cursorParameter,
			asOfParameter, versionParameter, ifNoneMatch, explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The files.", Type: (*[]suspect)(nil), Headers: versionedList,
			Example: `[{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":true,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users","suspect_until":1767323061.5}]`},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	updateSuspectsOperation = openapi.Operation{ID: "updateSuspects", Tag: tag, Summary: "Taken for existing clients; changes nothing, as only evidence does",
		Body: &openapi.Body{Type: (*suspectUpdate)(nil), Example: `{"updates":[{"path":"/incoming/run7.h5","mtime":1767323001.5}]}`},
		Answers: []openapi.Answer{{Text: "It was read, and nothing was changed.", Type: (*suspectsTaken)(nil), Headers: unversioned,
			Example: `{"view_id":"research","updated_count":0,"received_count":1,"status":"ok"}`}},
		Errors: ofVersion}
	blindSpotsOperation = openapi.Operation{ID: "blindSpots", Tag: tag, Summary: "What was found by looking only: additions and changes, then deletions",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			pageLimit,
			cursorParameter,
			asOfParameter, versionParameter, ifNoneMatch, explainParameter,
		},
		Answers: []openapi.Answer{{Text: "What was found.", Type: (*blindSpotsAnswer)(nil), Headers: versioned,
			Example: `{"additions_count":1,"additions":[{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":true,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users","found_at":1767320000.0}],"deletion_count":0,"deletions":[],"deletion_details":[],"version":412,"path":"/"}`},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	versionsOperation = openapi.Operation{ID: "versions", Tag: tag, Summary: "The versions that are kept, the newest first",
		Parameters: []openapi.Parameter{
			answerLimit,
			{Name: "before", Text: "Those before this version.", Schema: `{"type":"integer","minimum":1}`},
			{Name: "kept", Text: "Only those that are kept for more than being recent: by a rule, by a pin, or as the current one.", Schema: `{"type":"boolean","default":false}`},
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The versions.", Type: (*versionsAnswer)(nil), Headers: varying,
			Example: `{"view_id":"research","versions":[{"version":412,"published_at":1767323042.0,"current":true,"kept":["current"],"kept_until":null,"rows":1230,"files":1204,"directories":16,"bytes":93411220},{"version":398,"published_at":1766718242.0,"current":false,"kept":["daily","monthly"],"pins":["before-cleanup"],"kept_until":null,"rows":1198,"files":1180,"directories":16,"bytes":93100000}],"count":2}`}},
		Errors: ofPage}
	reportLargestOperation = openapi.Operation{ID: "reportLargest", Tag: tag, Summary: "The largest files or directories",
		Parameters: ofReport(
			openapi.Parameter{Name: "type", Text: "Files by their size, or directories by the bytes of their subtrees.", Schema: `{"type":"string","enum":["file","directory","f","d"],"default":"file"}`},
			answerLimit,
		),
		Answers: []openapi.Answer{{Text: "The largest first.", Type: (*entries)(nil), Headers: versioned,
			Example: `{"entries":[{"name":"run7.h5","path":"/incoming/run7.h5","content_type":"file","type":"f","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users"}],"count":1,"version":412,"path":"/"}`},
			{Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	reportUsageOperation = openapi.Operation{ID: "reportUsage", Tag: tag, Summary: "Who, or what kind of files, has how much",
		Parameters: ofReport(
			openapi.Parameter{Name: "by", Text: "Sum up by uid, by gid or by extension.", Schema: `{"type":"string","enum":["owner","group","extension"],"default":"owner"}`},
			openapi.Parameter{Name: "across", Text: "A cross table: count the files of each entry by size, or by age since modification or access.", Schema: `{"type":"string","enum":["size","mtime","atime"]}`},
			openapi.Parameter{Name: "limit", Text: "Entries in the answer.", Schema: `{"type":"integer","minimum":1,"maximum":10000,"default":1000}`},
		),
		Answers: []openapi.Answer{{Text: "The most bytes first.", Type: (*reportAnswer[usageEntry])(nil), Headers: versioned,
			Example: `{"view_id":"research","path":"/","version":412,"count":1,"entries":[{"uid":1000,"owner":"alice","totals":{"files":1204,"directories":16,"others":0,"bytes":93411220,"allocated":93413376,"linked_allocated":0,"unmeasured":0,"latest_mtime":1767323001.5,"latest_mtime_ns":1767323001500000000}}]}`},
			{Media: ndjson, Type: (*usageLine)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	reportHistogramOperation = openapi.Operation{ID: "reportHistogram", Tag: tag, Summary: "How many files are how large, or how old",
		Parameters: ofReport(
			openapi.Parameter{Name: "of", Text: "Sizes, or ages by modification or by access.", Schema: `{"type":"string","enum":["size","mtime","atime"],"default":"size"}`},
		),
		Answers: []openapi.Answer{{Text: "A bucket for each range.", Type: (*reportAnswer[bucketEntry])(nil), Headers: versioned,
			Example: `{"view_id":"research","path":"/","version":412,"count":1,"entries":[{"from":0,"to":4096,"files":12,"bytes":30211}]}`},
			{Media: ndjson, Type: (*bucketLine)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	reportEmptyDirectoriesOperation = openapi.Operation{ID: "reportEmptyDirectories", Tag: tag, Summary: "Directories without an entry",
		Parameters: ofReport(
			pageLimit,
			cursorParameter,
		),
		Answers: []openapi.Answer{{Text: "The directories, in the order of their paths.", Type: (*entries)(nil), Headers: versioned,
			Example: `{"entries":[{"name":"empty","path":"/empty","content_type":"directory","type":"d","size":4096,"modified_time":1767323001.5,"mtime_ns":1767323001500000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":493,"uid":0,"gid":0,"owner":"root","group":"root","subtree":{"files":0,"directories":1,"others":0,"bytes":0,"allocated":4096,"linked_allocated":0,"unmeasured":0,"latest_mtime":null,"latest_mtime_ns":null}}],"count":1,"version":412,"path":"/"}`},
			{Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	reportOddOperation = openapi.Operation{ID: "reportOdd", Tag: tag, Summary: "Entries whose times, sizes or names are odd",
		Parameters: ofReport(
			pageLimit,
			cursorParameter,
		),
		Answers: []openapi.Answer{{Text: "The entries, in the order of their paths.", Type: (*entries)(nil), Headers: versioned,
			Example: `{"entries":[{"name":"run7.h5 ","path":"/incoming/run7.h5 ","content_type":"file","type":"f","size":4096,"modified_time":8589934592.0,"mtime_ns":8589934592000000000,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"nfs07","source_uri":"fs://nfs07/data","mode":420,"uid":1000,"gid":100,"owner":"alice","group":"users","oddities":["mtime-in-future","name-blank-at-end"]}],"count":1,"version":412,"path":"/"}`},
			{Media: ndjson, Type: (*line)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	reportDuplicatesOperation = openapi.Operation{ID: "reportDuplicates", Tag: tag, Summary: "Files that have name and size in common",
		Parameters: ofReport(
			openapi.Parameter{Name: "min_size", Text: "At least so many bytes (or 10K, 5M, 2G …).", Schema: `{"type":"string","default":"1M"}`},
			answerLimit,
		),
		Answers: []openapi.Answer{{Text: "The most wasted bytes first.", Type: (*reportAnswer[duplicateEntry])(nil), Headers: versioned,
			Example: `{"view_id":"research","path":"/","version":412,"count":1,"entries":[{"size":1073741824,"count":2,"wasted":1073741824,"paths":[{"path":"/a/big.tar"},{"path":"/b/big.tar"}]}]}`},
			{Media: ndjson, Type: (*duplicateLine)(nil)},
			{Status: http.StatusNotModified, Text: notModifiedText}},
		Errors: ofPage}
	reportGrowthOperation = openapi.Operation{ID: "reportGrowth", Tag: tag, Summary: "Directories that grew or shrank",
		Parameters: ofReport(
			openapi.Parameter{Name: "since", Text: "The earlier version: " + versionForms + "; 0 for the oldest that is kept.", Schema: `{"type":"string","default":"0"}`},
			openapi.Parameter{Name: "depth", Text: "Levels below the path.", Schema: `{"type":"integer","minimum":1,"maximum":100,"default":1}`},
			answerLimit,
		),
		Answers: []openapi.Answer{{Text: "The largest changes first.", Type: (*reportAnswer[growthEntry])(nil), Headers: varying,
			Example: `{"view_id":"research","path":"/","version":412,"since_version":398,"since":1766718242.0,"until":1767323042.0,"count":1,"entries":[{"path":"/incoming","bytes":104857600,"files":12,"directories":1,"from":{"files":1204,"directories":16,"others":0,"bytes":93411220,"allocated":93413376,"linked_allocated":0,"unmeasured":0,"latest_mtime":1767323001.5,"latest_mtime_ns":1767323001500000000},"to":{"files":1204,"directories":16,"others":0,"bytes":93411220,"allocated":93413376,"linked_allocated":0,"unmeasured":0,"latest_mtime":1767323001.5,"latest_mtime_ns":1767323001500000000}}]}`},
			{Media: ndjson, Type: (*growthLine)(nil)}},
		Errors: ofPage}
	reportTrendOperation = openapi.Operation{ID: "reportTrend", Tag: tag, Summary: "How large a path was over the kept versions",
		Description: "One lookup in the last version of each interval of time. With by, the oldest of them is counted as a whole, and what differs in each later one is read.",
		Parameters: []openapi.Parameter{
			pathParameter, pathB64Parameter,
			{Name: "every", Text: "The interval: 1h, 1d, 2w. Days are in UTC.", Schema: `{"type":"string","minLength":1,"default":"1d"}`, Example: `"1d"`},
			{Name: "limit", Text: "The newest so many intervals that have a version.", Schema: `{"type":"integer","minimum":1,"maximum":1000,"default":100}`},
			{Name: "by", Text: "Also the shares of each owner or group.", Schema: `{"type":"string","enum":["owner","group"]}`},
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The path in those versions, the oldest first.", Type: (*reportAnswer[trendEntry])(nil), Headers: varying,
			Example: `{"view_id":"research","path":"/incoming","version":412,"count":2,"entries":[{"version":398,"published_at":1766718242.0,"exists":true,"files":1180,"directories":16,"bytes":93100000,"allocated":93102080,"unmeasured":0},{"version":412,"published_at":1767323042.0,"exists":true,"files":1204,"directories":16,"bytes":93411220,"allocated":93413376,"unmeasured":0}]}`},
			{Media: ndjson, Type: (*trendLine)(nil)}},
		Errors: ofPage}
	resetOperation = openapi.Operation{ID: "reset", Tag: tag, Summary: "Start the view over",
		Description: "For keys of the role admin. The view is empty at once, its sessions end, and it answers 503 until the first scan of the next leader is folded. A server that may not write to its store answers 501.",
		Answers:     []openapi.Answer{{Status: http.StatusNoContent, Text: "The view has started over."}},
		Errors:      ofReset}
	viewsOperation = openapi.Operation{ID: "views", Tag: tag, Summary: "The views that the key may read",
		Description: "How each is, by the newest version. At most 200 views that agents feed are listed, by name.",
		Parameters:  []openapi.Parameter{explainParameter},
		Answers: []openapi.Answer{{Text: "The views, by name.", Type: (*viewsAnswer)(nil), Headers: unversioned,
			Example: `{"views":[{"view_id":"research","state":"ready","has_leader":true,"version":412,"folded_at":1767323042.5,"observed_at":1767323042.0,"total_files":1204,"total_directories":16,"total_size":93411220,"total_allocated":93413376}],"count":1,"more":false}`}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusBadGateway, http.StatusServiceUnavailable}}
	sessionsOperation = openapi.Operation{ID: "sessions", Tag: tag, Summary: "The live sessions that feed the view",
		Parameters: []openapi.Parameter{
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The sessions, the oldest first.", Type: (*sessionsAnswer)(nil), Headers: unversioned,
			Example: `{"view_id":"research","active_sessions":[{"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","task_id":"nfs07:data","agent_id":"nfs07","client_ip":"10.0.0.7","source_uri":"fs://nfs07/data","role":"leader","term":7,"can_snapshot":true,"can_audit":true,"can_realtime":true,"can_send":true,"paused":false,"coverage":"realtime","last_activity":1767323045.0,"created_at":1767319200.0,"session_timeout_seconds":45,"agent_status":{"state":"watching"}}],"count":1,"term":7,"leader_session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","mounts":[{"path":"/srv/lab"}],"refused":[],"refused_count":0}`}},
		Errors: ofVersion}
	jobsOperation = openapi.Operation{ID: "jobs", Tag: tag, Summary: "The scans that readers asked for, the newest first",
		Parameters: []openapi.Parameter{
			{Name: "limit", Text: "Jobs at most.", Schema: `{"type":"integer","minimum":1,"maximum":1000,"default":100}`},
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The jobs.", Type: (*jobsAnswer)(nil), Headers: unversioned,
			Example: `{"view_id":"research","jobs":[{"job_id":"01KBS2N8ZK4T6W1Q9R3V5X7Y2A","view_id":"research","command":"scan","path":"/incoming","recursive":true,"state":"done","files":1204,"directories":16,"errors":0,"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","requested_at":1767322990.25,"started_at":1767322991.0,"finished_at":1767323000.5}],"count":1}`}},
		Errors: ofVersion}
	jobOperation = openapi.Operation{ID: "job", Tag: tag, Summary: "One scan that a reader asked for",
		Parameters: []openapi.Parameter{
			explainParameter,
		},
		Answers: []openapi.Answer{{Text: "The job.", Type: (*jobAnswer)(nil), Headers: unversioned,
			Example: `{"job_id":"01KBS2N8ZK4T6W1Q9R3V5X7Y2A","view_id":"research","command":"scan","path":"/incoming","recursive":true,"state":"done","files":1204,"directories":16,"errors":0,"session_id":"01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65","requested_at":1767322990.25,"started_at":1767322991.0,"finished_at":1767323000.5}`}},
		Errors: ofVersion}
)

// document is what the calls have in common.
var document = openapi.Document{
	Title:       "Fustor: reading side",
	Description: "What a view's files and directories are, at one version. See docs/api.md. GET answers HEAD too.",
	Address:     "127.0.0.1:8080",
	Problem:     (*problemBody)(nil),
	Errors: []openapi.Problem{
		{Status: http.StatusBadRequest, Name: "BadRequest", Text: "A parameter is unknown, repeated or malformed."},
		{Status: http.StatusUnauthorized, Name: "Unauthorized", Text: "No API key, or one that is not known."},
		{Status: http.StatusForbidden, Name: "Forbidden", Text: "The key may not read this view, or no member of this forest."},
		{Status: http.StatusNotFound, Name: "NotFound", Text: "There is no such view, or no such path in it."},
		{Status: http.StatusConflict, Name: "IsForest", Text: "The view is a forest, and has no data of its own. Or what an administrator asks for has something in its way; the detail says what."},
		{Status: http.StatusGone, Name: "Gone", Text: "There is no version of that number or time any more, nearest has the kept ones next to it; or the one that the cursor continues on is no longer kept."},
		{Status: http.StatusRequestEntityTooLarge, Name: "TooLarge", Text: "The body is larger than such a call may be."},
		{Status: http.StatusUnsupportedMediaType, Name: "NotJSON", Text: "The body is declared as something else than JSON."},
		{Status: http.StatusTooManyRequests, Name: "TooMany", Text: "Too many scans of the view wait already, or the address has sent more than 20 wrong keys within a minute."},
		{Status: http.StatusNotImplemented, Name: "NotImplemented", Text: "This server may not write that to its store, or cannot do it; the hint says who can."},
		{Status: http.StatusBadGateway, Name: "Damaged", Text: "An object of the view is damaged, missing or not Fustor's; the detail names it."},
		{Status: http.StatusServiceUnavailable, Name: "NotReady", Text: "The view's first snapshot is not folded yet; progress says how far it is. Or the object store cannot be read now. See Retry-After."},
	},
	Path: []openapi.Parameter{
		{Name: "view_id", Text: "The view.", Schema: `{"type":"string","pattern":"^[a-z0-9][a-z0-9_-]{0,62}$"}`, Example: `"research"`},
		{Name: "job_id", Text: "The job.", Example: `"01KBS2N8ZK4T6W1Q9R3V5X7Y2A"`},
	},
	Types: []openapi.Type{
		{Of: (*problemBody)(nil), Name: "Problem"}, {Of: (*httpapi.ProbeAnswer)(nil), Name: "Probe"},
		{Of: (*statsAnswer)(nil), Name: "Stats"}, {Of: (*jobAnswer)(nil), Name: "Job"}, {Of: (*jobsAnswer)(nil), Name: "Jobs"},
		{Of: (*viewsAnswer)(nil), Name: "Views"}, {Of: (*viewEntry)(nil), Name: "View"},
		{Of: (*viewState)(nil), Schema: `{"type":"string","enum":["ready","scanning","forest","damaged"]}`},
		{Of: (*versionsAnswer)(nil), Name: "Versions"}, {Of: (*versionEntry)(nil), Name: "Version"}, {Of: (*blindSpotsAnswer)(nil), Name: "BlindSpots"},
		{Of: (*evidence.Totals)(nil), As: (*totals)(nil)}, {Of: (*totalsJSON)(nil), As: (*totals)(nil)},
		{Of: (*usageEntry)(nil), Name: "Usage"}, {Of: (*bucketEntry)(nil), Name: "Bucket"}, {Of: (*duplicateEntry)(nil), Name: "Duplicate"},
		{Of: (*growthEntry)(nil), Name: "Growth"}, {Of: (*pathEntry)(nil), Name: "Path"},
		{Of: (*reportAnswer[usageEntry])(nil), Name: "UsageReport"}, {Of: (*reportAnswer[bucketEntry])(nil), Name: "HistogramReport"},
		{Of: (*reportAnswer[duplicateEntry])(nil), Name: "DuplicatesReport"}, {Of: (*reportAnswer[growthEntry])(nil), Name: "GrowthReport"},
		{Of: (*trendEntry)(nil), Name: "TrendPoint"}, {Of: (*reportAnswer[trendEntry])(nil), Name: "TrendReport"},
		{Of: (*line)(nil), Name: "Line", OneOf: []any{(*node)(nil), (*nextPage)(nil), (*membersLine)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*changeEntry)(nil), Name: "Change"}, {Of: (*changeState)(nil), Name: "State"}, {Of: (*changes)(nil), Name: "Changes"},
		{Of: (*logged)(nil), Name: "Logged"}, {Of: (*loggedState)(nil), Name: "LoggedState"}, {Of: (*logAnswer[[]logged])(nil), Name: "Log"},
		{Of: (*accessAnswer)(nil), Name: "Access"}, {Of: (*directoryAccess)(nil), Name: "DirectoryAccess"},
		{Of: (*completeAnswer)(nil), Name: "Completeness"}, {Of: (*engine.Reason)(nil), Name: "IncompleteReason"}, {Of: (*completeChange)(nil), Name: "LastChange"},
		{Of: (*completeSuspects)(nil), Name: "SuspectFiles"}, {Of: (*completeRests)(nil), Name: "RestsOn"}, {Of: (*completeWatcher)(nil), Name: "Watcher"}, {Of: (*completeScan)(nil), Name: "LookedAt"},
		{Of: (*diffSums)(nil), Name: "DiffSums"}, {Of: (*diffSumsAnswer)(nil), Name: "DiffSummary"},
		{Of: (*diffAnswer)(nil), Name: "Diff", OneOf: []any{(*changes)(nil), (*diffSumsAnswer)(nil)}},
		{Of: (*feedLine)(nil), Name: "FeedLine", OneOf: []any{(*feedChange)(nil), (*feedVersion)(nil), (*feedBeat)(nil), (*explained)(nil), (*endOfStream)(nil), (*feedProblem)(nil)}},
		{Of: (*diffLine)(nil), Name: "DiffLine", OneOf: []any{(*changeEntry)(nil), (*diffSums)(nil), (*nextPage)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*metadataAnswer)(nil), Name: "Metadata", OneOf: []any{(*node)(nil), (*entries)(nil)}},
		{Of: (*treeAnswer)(nil), Name: "TreeAnswer", OneOf: []any{(*tree)(nil), (*trees)(nil)}},
		{Of: (*sessionsAnswer)(nil), Name: "SessionsAnswer", OneOf: []any{(*engine.Sessions)(nil), (*forestSessions)(nil)}},
		{Of: (*sessionOfMember)(nil), Name: "SessionOfMember"}, {Of: (*mountOfMember)(nil), Name: "MountOfMember"}, {Of: (*refusalOfMember)(nil), Name: "RefusalOfMember"}, {Of: (*memberStatus)(nil), Name: "MemberStatus"},
		{Of: (*memberStats)(nil), Name: "MemberStats"}, {Of: (*bestMember)(nil), Name: "BestMember"},
		{Of: (*usageLine)(nil), Name: "UsageLine", OneOf: []any{(*usageEntry)(nil), (*membersLine)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*bucketLine)(nil), Name: "BucketLine", OneOf: []any{(*bucketEntry)(nil), (*membersLine)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*duplicateLine)(nil), Name: "DuplicateLine", OneOf: []any{(*duplicateEntry)(nil), (*membersLine)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*trendLine)(nil), Name: "TrendLine", OneOf: []any{(*trendEntry)(nil), (*membersLine)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*growthLine)(nil), Name: "GrowthLine", OneOf: []any{(*growthEntry)(nil), (*membersLine)(nil), (*explained)(nil), (*endOfStream)(nil), (*brokenOff)(nil)}},
		{Of: (*pipeapi.AgentStatus)(nil), Optional: true},
		{Of: (*values.Seconds)(nil), Schema: `{"type":"number"}`},
	},
	Notes: []openapi.Note{
		{At: "View.state", Text: "scanning: before the first snapshot; damaged: its head cannot be read, and error says why."},
		{At: "View.members", Text: "Of a forest: names and globs of views."},
		{At: "Views.more", Text: "The store has more views than are listed."},
		{At: "Progress", Text: "How far the first snapshot is."},
		{At: "Totals", Text: "Sums over a directory and everything below it, itself included. Bytes and the latest mtime are those of regular files; mtimes more than a day in the future do not count. Allocated is what all entries occupy: each name counts, and linked_allocated is the part of the names of files that have several. Unmeasured entries do not say what they occupy."},
		{At: "Access.visible", Text: "Who names the path sees it with its attributes: all directories above it may be searched."},
		{At: "Access.listed", Text: "find from the root shows the entries of the path's directory: all directories above may be read, too."},
		{At: "Access.contents", Text: "The path is a directory, and its entries are listed."},
		{At: "Access.denied_at", Text: "Where the path is not visible: the outermost directory that may not be searched."},
		{At: "Access.root_squash", Text: "The user is root, and the view squashes root: the rights are those of nobody."},
		{At: "Access.trust_modes", Text: "The view says that its file system has no ACLs, where none is known."},
		{At: "Access.directories", Text: "The directories above the path from the root on, and the path if it is one."},
		{At: "Access.directories_today", Text: "Of an earlier version: the same directories in the newest, whose rights count as well."},
		{At: "DirectoryAccess.by", Text: "The entry that decides, in the words of getfacl(1): user::rwx, group:100:r-x, other::---; or root."},
		{At: "Node.unreadable", Text: "Of a directory: how many paths at or below it the last scans could not read, of the 100 that a version names. Its sums are of what could be read. Absent: none."},
		{At: "Node.name", Text: "The last part of the path; empty for the root."},
		{At: "Node.member", Text: "Of a forest: the view that has the entry."},
		{At: "MemberStatus", Text: "How a member of a forest fares in an answer."},
		{At: "MemberStatus.status", Text: "ok; absent: it has no such path; otherwise the answer lacks what the member has.", Also: `"enum":["ok","absent","not_ready","forbidden","timeout","error"]`},
		{At: "MemberStatus.error", Text: "What is wrong."},
		{At: "MemberStatus.version", Text: "The version that its part of the answer is of."},
		{At: "Entries.complete", Text: "Of a forest: every member has answered."},
		{At: "Trees.complete", Text: "Every member has answered."},
		{At: "Trees.trees", Text: "Those of the members, by member, as far as this page has them."},
		{At: "Node.path", Text: "From the view's root. Bytes that are not UTF-8 are shown as U+FFFD."},
		{At: "Node.path_b64", Text: "base64url of the path's bytes; only where path does not say it all."},
		{At: "Node.content_type", Also: `"enum":["file","directory","symlink","other"]`},
		{At: "Node.type", Also: `"enum":["f","d","l","o"]`},
		{At: "Node.size", Text: "st_size, bytes."},
		{At: "Node.modified_time", Text: "Unix seconds."},
		{At: "Node.atime_day", Text: "With atime: the day of the last access, in UTC."},
		{At: "Node.created_time", Text: "The birth time; null where it is not known.", Also: `"type":["number","null"]`},
		{At: "Node.birth_ns", Text: "When the entry was made, in whole seconds as ns since 1970. Missing where the file system or the agent does not tell."},
		{At: "Node.acl", Text: "The POSIX access ACL in the words of getfacl(1), with numbers for names, or none. Missing where it is not known; of files it is known only in directories that have an ACL.", Also: `"examples":["user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---"]`},
		{At: "Node.integrity_suspect", Text: "Perhaps still being written to."},
		{At: "Node.agent_missing", Text: "A blind spot: found by looking, never reported by an agent's kernel."},
		{At: "Node.audit_skipped", Text: "Always false: an audit confirms every directory it passes."},
		{At: "Node.mode", Text: "st_mode & 07777."},
		{At: "Node.target", Text: "Of a symlink."},
		{At: "Node.target_b64", Text: "base64url of the target's bytes, where it is not UTF-8."},
		{At: "Node.oddities", Text: "Of reports/odd: what is odd about the entry.", Also: `"items":{"type":"string","enum":["mtime-in-future","mtime-before-1970","mtime-out-of-range","size-out-of-range","name-not-utf8","name-control-character","name-blank-at-end"]}`},
		{At: "Change.change", Also: `"enum":["added","removed","changed"]`},
		{At: "Change.type", Text: "Of what is there now, or was.", Also: `"enum":["f","d","l","o"]`},
		{At: "Change.fields", Text: "Of changed: what differs.", Also: `"items":{"type":"string","enum":["type","size","mtime","mode","uid","gid","target","allocated","links","ctime","inode","birth","acl"]}`},
		{At: "Change.moved_from", Text: "Of added: the removed path that this file was at before."},
		{At: "Change.moved_to", Text: "Of removed: the added path that this file is at now."},
		{At: "Change.before", Text: "What the earlier version knows of the path; absent of added."},
		{At: "Change.after", Text: "What the later version knows of it; absent of removed."},
		{At: "State.type", Also: `"enum":["f","d","l","o"]`},
		{At: "DiffSums", Text: "Sums over the paths of a diff at and below a directory. A path that is of another type than before counts as removed and as added."},
		{At: "PathSums.moved", Text: "How many of them came from, or went to, another place below the path of the diff."},
		{At: "ChangedSums.bytes", Text: "How many more bytes the changed files have."},
		{At: "Changes.moves", Text: "too-many: the diff has more added and removed paths than moves are recognised among.", Also: `"enum":["recognised","too-many"]`},
		{At: "DiffSummary.moves", Also: `"enum":["recognised","too-many"]`},
		{At: "Tree.children", Text: "Of a directory, in order of name, as far as this page has them."},
		{At: "Tree.continued", Text: "true: the directory itself stood on an earlier page; only name, path and content_type are repeated."},
		{At: "Tree.next_cursor", Text: "On the outermost node: there is more."},
		{At: "Entries.count", Text: "Entries on this page."},
		{At: "Stats.latency_ms", Text: "From the newest observation in this version to its publication: an upper bound."},
		{At: "Stats.staleness_seconds", Text: "Since the newest observation in this version."},
		{At: "Stats.oldest_item_path", Text: "Always null: it would take a scan of all rows.", Also: `"type":"null"`},
		{At: "Stats.logical_now", Text: "The file server's time now, as the view's clock has it."},
		{At: "Stats.has_leader", Text: "An agent leads the view at present; without one, no audits run."},
		{At: "Session.role", Also: `"enum":["leader","follower"]`},
		{At: "Session.coverage", Text: "How much of the tree the agent watches; absent until its first heartbeat.", Also: `"enum":["realtime","realtime-hotset","audit-only"]`},
		{At: "Session.paused", Text: "It neither scans nor sends, and does not lead."},
		{At: "Trouble", Text: "What is wrong with a view: its folds fail, its settings are damaged, or it has as many entries as it may."},
		{At: "Trouble.kind", Also: `"enum":["folds-fail","settings","full"]`},
		{At: "Refusal", Text: "A segment that was not taken in, or not with all that is in it."},
		{At: "Refusal.segment", Text: "The object in the store. It stays there until its session is forgotten."},
		{At: "Refusal.names_left_out", Text: "New names in it that were left out, as the view is full. Absent: it was refused as a whole, and its session ended."},
		{At: "Session.silence", Text: "Of a leader that has sent and scanned nothing for three session time-outs although it should; and of a follower that lost the lease for that, until it sends again."},
		{At: "Silence.owes", Text: "What the leader should do.", Also: `"enum":["segments","scan","first-scan"]`},
		{At: "BlindSpots.deletions", Text: "Paths."},
		{At: "Job.state", Text: "folding: scanned, and not all of it is in the view yet.", Also: `"enum":["queued","running","folding","done","failed"]`},
		{At: "Job.command", Text: "scan, pause, resume, stop or reload."},
		{At: "Job.target_session_id", Text: "The session that was meant, where it was not whoever leads."},
		{At: "Job.requested_by", Text: "The name of the key that asked, where a session was meant."},
		{At: "Job.note", Text: "What came of it, in words."},
		{At: "Usage.extension", Text: "Lower case, without the dot; empty: none; *: all beyond the first 65,536."},
		{At: "Usage.across", Text: "With across: the buckets that have files of the entry."},
		{At: "Bucket", Text: "Files of at least from and less than to: bytes, or seconds of age."},
		{At: "Duplicate.size", Text: "Bytes of each."},
		{At: "Duplicate.wasted", Text: "Bytes of all but one."},
		{At: "Duplicate.paths", Text: "The first ten."},
		{At: "Growth", Text: "bytes, files and directories are how many more there are."},
		{At: "Explain", Text: "What an answer cost, as the member `explain` of any answer that was asked for with explain=true."},
		{At: "Explain.gets", Text: "Requests to the object store."},
		{At: "Explain.bytes", Text: "Of their answers."},
		{At: "Explain.rows", Text: "Rows examined."},
		{At: "Explain.groups_read", Text: "Row groups read from the store."},
		{At: "Explain.groups_skipped", Text: "Row groups in the range of a search that indexes ruled out."},
		{At: "Explain.cache_hits", Text: "Indexes, pages of search indexes and row groups that were in memory."},
		{At: "Explain.version", Text: "The version that the answer is of; absent where it is of none."},
		{At: "Version.published_at", Text: "Unix seconds, by the store's clock."},
		{At: "Version.kept", Text: "Why it is kept: current, recent (every version is kept for a while), hourly, daily, weekly, monthly, yearly. Empty: it is about to go, or pins alone keep it."},
		{At: "Version.pins", Text: "The names by which it is pinned."},
		{At: "Version.kept_until", Text: "When no reason holds any more, Unix seconds; null: it stays while it is current, pinned, or the settings say so."},
		{At: "Version.rows", Text: "Of its layers, with those that are superseded or removed."},
		{At: "ReportAnswer.more", Text: "Entries beyond the limit."},
		{At: "ReportAnswer.since_version", Text: "Of growth: the earlier version."},
		{At: "ReportAnswer.since", Text: "Of growth: when the earlier version was made, Unix seconds."},
		{At: "ReportAnswer.until", Text: "Of growth: when the later one was."},
		{At: "ReportAnswer.as_of", Text: "Of ages: what they count from, in the file server's time."},
		{At: "Line", Text: "One line of application/x-ndjson: a node without children; or at the end of a limited answer the cursor of the next page, what the answer cost where that was asked for, or what is wrong if the answer broke off."},
		{At: "EndOfStream", Text: "The last line of a whole answer, and how many entries it has. It is there if Accept asks for application/x-ndjson;end=true, or if the request is of HTTP/1.0; the answer's Content-Type has end=true then."},
		{At: "BrokenOff", Text: "The last line of an answer that cannot be completed; the connection is cut then."},
		{At: "Problem.detail", Text: "What is wrong."}, {At: "Problem.hint", Text: "What to do about it."}, {At: "Problem.type", Also: `"const":"about:blank"`},
		{At: "Problem.server_time_ns", Text: "On the pipe side: the object store's time, ns since 1970."},
		{At: "Problem.nearest", Text: "Of 410: the kept versions before and after the one that is not."},
		{At: "Problem.path_b64", Text: "base64url of the path that is not there, where its bytes are not UTF-8."},
		{At: "SuspectsTaken.updated_count", Text: "Always 0."},
	},
}
