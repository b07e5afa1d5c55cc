//go:build unix

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What the Lambda functions may do (infra/aws/template.yaml), and what they did in a run: everything that they did is
// allowed, and everything that is allowed they did, or there is a reason below.

// right is one request to S3 as IAM sees it.
type right struct {
	action   string // s3:GetObject and so on
	resource string // arn:aws:s3:::BUCKET or arn:aws:s3:::BUCKET/KEY
	prefix   string // s3:prefix of a ListBucket
	noPrefix bool   // it names none
}

func (r right) String() string {
	s := r.action + " " + r.resource
	if r.action == "s3:ListBucket" && !r.noPrefix {
		s += " prefix " + r.prefix
	}
	return s
}

// recorder notes what one function asks of the bucket.
type recorder struct {
	bucket string
	mu     sync.Mutex
	asked  map[right]int
}

// record starts a proxy in front of an S3 server that notes what each function asks for. Functions are told apart by the
// name that the SDK puts into User-Agent (AWS_SDK_UA_APP_ID). A presigned request is the
// signer's: ingest's, but in a probe.
func record(t *testing.T, endpoint, bucket string, functions ...string) (map[string]*recorder, string) {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*recorder{}
	for _, f := range functions {
		by[f] = &recorder{bucket: bucket, asked: map[right]int{}}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host // it is signed
		},
		ModifyResponse: func(response *http.Response) error {
			request := response.Request
			if request.URL.Query().Has("X-Amz-Signature") {
				signer := "ingest"
				if strings.Contains(request.URL.Path, "/doctor/") {
					signer = "compactor"
				}
				by[signer].note(response)
				return nil
			}
			for f, r := range by {
				if strings.Contains(request.UserAgent(), "app/"+f) {
					r.note(response)
					return nil
				}
			}
			return fmt.Errorf("a request of nobody: %s %s %s", request.Method, request.URL, request.UserAgent())
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				t.Logf("proxy: %v", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return by, s.URL
}

// note takes down which rights an answered request needs.
func (r *recorder) note(response *http.Response) {
	request := response.Request
	path := strings.TrimPrefix(request.URL.Path, "/")
	bucket, key, _ := strings.Cut(path, "/")
	arn := "arn:aws:s3:::" + bucket
	var needs []right
	object := func(action string) { needs = append(needs, right{action: action, resource: arn + "/" + key}) }
	switch q := request.URL.Query(); {
	case key == "" && request.Method == http.MethodGet && q.Get("list-type") == "2":
		needs = append(needs, right{action: "s3:ListBucket", resource: arn, prefix: q.Get("prefix"), noPrefix: !q.Has("prefix")})
	case request.Method == http.MethodGet || request.Method == http.MethodHead:
		object("s3:GetObject")
		if response.StatusCode == http.StatusNotFound { // a 403 to those who may not list
			needs = append(needs, right{action: "s3:ListBucket", resource: arn, noPrefix: true})
		}
	case request.Method == http.MethodPut:
		object("s3:PutObject")
		if request.Header.Get("If-Match") != "" { // S3 asks for both
			object("s3:GetObject")
		}
	case request.Method == http.MethodDelete:
		object("s3:DeleteObject")
	default:
		needs = append(needs, right{action: "unknown: " + request.Method + " " + request.URL.String()})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range needs {
		r.asked[n]++
	}
}

func (r *recorder) rights() []right {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Keys(r.asked), func(a, b right) int { return strings.Compare(a.String(), b.String()) })
}

// policy is the statements of an IAM policy: the part of the language that the template uses. What it does not know is an
// error when it is read, never a silent yes or no.
type policy []statement

type statement struct {
	sid       string
	deny      bool
	actions   []string
	resources []string
	prefixes  []string // of StringLike on s3:prefix; nil: no condition
	ifExists  bool
}

// allows reports whether the policy allows a request: some statement does, and none denies it.
func (p policy) allows(r right) bool {
	allowed := false
	for _, s := range p {
		if s.matches(r) {
			if s.deny {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

func (s statement) matches(r right) bool {
	like := func(patterns []string, text string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, text) })
	}
	if !slices.ContainsFunc(s.actions, func(a string) bool { return glob(strings.ToLower(a), strings.ToLower(r.action)) }) || !like(s.resources, r.resource) {
		return false
	}
	switch {
	case s.prefixes == nil:
		return true
	case r.noPrefix || r.action != "s3:ListBucket":
		return s.ifExists
	}
	return like(s.prefixes, r.prefix)
}

// glob is IAM's: * is any number of any characters, ? is one.
func glob(pattern, text string) bool {
	form := regexp.QuoteMeta(pattern)
	form = strings.ReplaceAll(strings.ReplaceAll(form, `\*`, `.*`), `\?`, `.`)
	return regexp.MustCompile(`(?s)^` + form + `$`).MatchString(text)
}

// template is the part of infra/aws/template.yaml that the tests look at.
type template struct {
	Resources map[string]struct {
		Type       string    `yaml:"Type"`
		Properties yaml.Node `yaml:"Properties"`
	} `yaml:"Resources"`
}

func readTemplate(t *testing.T) template {
	t.Helper()
	body, err := os.ReadFile("../../infra/aws/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out template
	if err := yaml.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// notifications are the filters, by kind, of what the bucket tells the queue.
func (x template) notifications(t *testing.T) (filters []map[string]string) {
	t.Helper()
	var bucket struct {
		NotificationConfiguration struct {
			QueueConfigurations []struct {
				Event  string `yaml:"Event"`
				Filter struct {
					S3Key struct {
						Rules []struct {
							Name  string `yaml:"Name"`
							Value string `yaml:"Value"`
						} `yaml:"Rules"`
					} `yaml:"S3Key"`
				} `yaml:"Filter"`
			} `yaml:"QueueConfigurations"`
		} `yaml:"NotificationConfiguration"`
	}
	node := x.Resources["Bucket"].Properties
	if err := node.Decode(&bucket); err != nil {
		t.Fatal(err)
	}
	for _, q := range bucket.NotificationConfiguration.QueueConfigurations {
		filter := map[string]string{}
		for _, r := range q.Filter.S3Key.Rules {
			filter[r.Name] = r.Value
		}
		if q.Event != "s3:ObjectCreated:*" || filter["prefix"] == "" || filter["suffix"] == "" {
			t.Fatalf("a notification of the template: %+v", q)
		}
		filters = append(filters, filter)
	}
	if len(filters) != 2 {
		t.Fatalf("the template has %d notifications", len(filters))
	}
	return filters
}

// policyOf is what a role of the template may do, with the given bucket as its own.
func (x template) policyOf(role, bucket string) (policy, error) {
	var properties struct {
		Policies []struct {
			PolicyDocument struct {
				Statement []yaml.Node `yaml:"Statement"`
			} `yaml:"PolicyDocument"`
		} `yaml:"Policies"`
	}
	node := x.Resources[role].Properties
	if err := node.Decode(&properties); err != nil || len(properties.Policies) == 0 {
		return nil, fmt.Errorf("role %s: no policies (%v)", role, err)
	}
	var p policy
	for _, document := range properties.Policies {
		for _, n := range document.PolicyDocument.Statement {
			s, err := statementOf(n, bucket)
			if err != nil {
				return nil, fmt.Errorf("role %s: %w", role, err)
			}
			p = append(p, s)
		}
	}
	return p, nil
}

func statementOf(n yaml.Node, bucket string) (statement, error) {
	s := statement{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		switch name {
		case "Sid":
			s.sid = value.Value
		case "Effect":
			if value.Value != "Allow" && value.Value != "Deny" {
				return s, fmt.Errorf("line %d: effect %q", value.Line, value.Value)
			}
			s.deny = value.Value == "Deny"
		case "Action":
			s.actions = texts(value, bucket)
		case "Resource":
			s.resources = texts(value, bucket)
		case "Condition":
			if len(value.Content) != 2 || len(value.Content[1].Content) != 2 || value.Content[1].Content[0].Value != "s3:prefix" {
				return s, fmt.Errorf("line %d: only conditions on s3:prefix are known here", value.Line)
			}
			switch value.Content[0].Value {
			case "StringLike":
			case "StringLikeIfExists":
				s.ifExists = true
			default:
				return s, fmt.Errorf("line %d: unknown operator %q", value.Line, value.Content[0].Value)
			}
			s.prefixes = texts(value.Content[1].Content[1], bucket)
		default:
			return s, fmt.Errorf("line %d: %q is not known here", value.Line, name)
		}
	}
	if len(s.actions) == 0 || len(s.resources) == 0 {
		return s, fmt.Errorf("line %d: a statement without actions or resources", n.Line)
	}
	return s, nil
}

// texts are one or several strings with the bucket's ARN put in for what CloudFormation would.
func texts(n *yaml.Node, bucket string) []string {
	if n.Kind == yaml.SequenceNode {
		var all []string
		for _, c := range n.Content {
			all = append(all, texts(c, bucket)...)
		}
		return all
	}
	text := n.Value
	if n.Tag == "!GetAtt" {
		text = "${" + text + "}"
	}
	return []string{strings.ReplaceAll(text, "${Bucket.Arn}", "arn:aws:s3:::"+bucket)}
}

// reasons are for rights that a run of the main job does not use, by role, action and the end of the resource.
var reasons = map[string]string{
	"IngestRole logs:CreateLogStream":                      "Lambda writes the log in the role's name",
	"IngestRole logs:PutLogEvents":                         "Lambda writes the log in the role's name",
	"QueryRole logs:CreateLogStream":                       "Lambda writes the log in the role's name",
	"QueryRole logs:PutLogEvents":                          "Lambda writes the log in the role's name",
	"CompactorRole logs:CreateLogStream":                   "Lambda writes the log in the role's name",
	"CompactorRole logs:PutLogEvents":                      "Lambda writes the log in the role's name",
	"CompactorRole sqs:ReceiveMessage":                     "Lambda polls the queue in the role's name",
	"CompactorRole sqs:DeleteMessage":                      "Lambda polls the queue in the role's name",
	"CompactorRole sqs:GetQueueAttributes":                 "Lambda polls the queue in the role's name",
	"IngestRole s3:DeleteObject /views/*/commands/*":       "a job is removed a day after its end",
	"IngestRole s3:DeleteObject /views/*/sessions/*":       "the record of a session that lost the race for its task is taken back",
	"IngestRole s3:GetObject /views/*/staging/*":           "an audit of a V2 agent; the run has none",
	"IngestRole s3:PutObject /views/*/staging/*":           "an audit of a V2 agent; the run has none",
	"IngestRole s3:DeleteObject /views/*/staging/*":        "an audit of a V2 agent; the run has none",
	"IngestRole s3:ListBucket prefix views/*/staging/*":    "an audit of a V2 agent; the run has none",
	"QueryRole s3:GetObject /views/*/iceberg/metadata/v*":  "the catalog of tables; the run has no SQL engine",
	"QueryRole s3:GetObject /views/bell.json":              "a forest whose members are globs; the run has none",
	"QueryRole s3:ListBucket prefix config/views/":         "a forest whose members are globs, and the page of all views; the run has none",
	"CompactorRole s3:DeleteObject /views/*/staging/*":     "what a V2 agent's session left of an audit is removed two hours after its end",
	"CompactorRole s3:GetObject /views/*/manifests/*":      "retention reads the version that the history begins with",
	"CompactorRole s3:DeleteObject /views/*/manifests/*":   "versions are removed an hour after they were superseded",
	"CompactorRole s3:DeleteObject /views/*/layers/*":      "layers are removed two hours after they were superseded",
	"CompactorRole s3:GetObject /views/*/merging/*":        "a claim that was not ended is taken two minutes later",
	"CompactorRole s3:PutObject /views/*/merging/*":        "merges of a quarter of a million rows are claimed; the run has none",
	"CompactorRole s3:DeleteObject /views/*/merging/*":     "merges of a quarter of a million rows are claimed; the run has none",
	"CompactorRole s3:ListBucket prefix views/*/merging/*": "merges of a quarter of a million rows are claimed; the run has none",
	"CompactorRole s3:DeleteObject /views/*/segments/*":    "segments are removed an hour after they were folded",
	"CompactorRole s3:DeleteObject /views/*/sessions/*":    "the record of a session is removed an hour after its end",
	"CompactorRole s3:PutObject /views/*/roster.json":      "a session that ended an hour ago leaves it",
	"CompactorRole s3:ListBucket prefix views/*/layers/*":  "retention, which begins once there is something an hour old",
	"CompactorRole s3:DeleteObject /views/*/iceberg/*":     "files of the view's table are removed an hour after the last snapshot that needs them",
	"CompactorRole s3:ListBucket prefix views/*/iceberg/*": "retention, which begins once there is something an hour old",
}

// unused are the parts of the policy that no request made use of, in the form of reasons.
func (p policy) unused(asked []right) []string {
	var out []string
	for _, s := range p {
		for _, a := range s.actions {
			for _, res := range s.resources {
				one := statement{actions: []string{a}, resources: []string{res}, prefixes: s.prefixes, ifExists: s.ifExists}
				name := a
				if _, key, ok := strings.Cut(res, "/"); ok && strings.HasPrefix(res, "arn:aws:s3:::") {
					name += " /" + key
				}
				if !slices.ContainsFunc(asked, one.matches) {
					out = append(out, name)
				}
				for _, prefix := range s.prefixes {
					one.prefixes = []string{prefix}
					if !slices.ContainsFunc(asked, func(r right) bool { return !r.noPrefix && one.matches(r) }) {
						out = append(out, a+" prefix "+prefix)
					}
				}
			}
		}
	}
	return out
}

// checkRights holds what a function did against what its role allows.
func checkRights(t *testing.T, role string, r *recorder) {
	t.Helper()
	p, err := readTemplate(t).policyOf(role, r.bucket)
	if err != nil {
		t.Fatal(err)
	}
	asked := r.rights()
	t.Logf("%s: %d different requests", role, len(asked))
	for _, a := range asked {
		if !p.allows(a) {
			t.Errorf("%s: the function needs %s, and may not", role, a)
		}
	}
	for _, u := range p.unused(asked) {
		if reasons[role+" "+u] == "" {
			t.Errorf("%s: the function may %s, and never did; take the right away, or say why in reasons", role, u)
		}
	}
}

// TestPolicies: how policies are judged, and what must never be allowed.
func TestPolicies(t *testing.T) {
	x := readTemplate(t)
	const arn = "arn:aws:s3:::b"
	roles := map[string]policy{}
	for _, role := range []string{"IngestRole", "QueryRole", "CompactorRole"} {
		p, err := x.policyOf(role, "b")
		if err != nil {
			t.Fatal(err)
		}
		roles[role] = p
	}
	key := func(action, key string) right { return right{action: action, resource: arn + "/" + key} }
	for _, c := range []struct {
		role string
		r    right
		want bool
	}{
		{"IngestRole", key("s3:GetObject", "views/v/head"), true},
		{"IngestRole", key("s3:PutObject", "views/v/head"), false},
		{"IngestRole", key("s3:GetObject", "views/v/layers/01J.parquet"), false},
		{"IngestRole", key("s3:GetObject", "views/v/manifests/1-x"), false},
		{"IngestRole", key("s3:PutObject", "config/keys/abc.json"), false},
		{"IngestRole", key("s3:DeleteObject", "views/v/segments/s/1.zst"), false},
		{"QueryRole", key("s3:GetObject", "views/v/layers/01J.parquet"), true},
		{"QueryRole", key("s3:GetObject", "views/v/segments/s/1.zst"), false},
		{"QueryRole", key("s3:PutObject", "views/v/layers/01J.parquet"), false},
		{"QueryRole", key("s3:PutObject", "views/v/head"), false},
		{"QueryRole", key("s3:PutObject", "views/v/commands/s/1.json"), true},
		{"QueryRole", key("s3:DeleteObject", "views/v/commands/s/1.json"), false},
		{"QueryRole", right{action: "s3:ListBucket", resource: arn, prefix: "config/keys/"}, false},
		{"QueryRole", right{action: "s3:ListBucket", resource: arn, prefix: "views/"}, true},
		{"QueryRole", right{action: "s3:ListBucket", resource: arn, prefix: "config/views/"}, true},
		{"QueryRole", key("s3:GetObject", "views/bell.json"), true},
		{"QueryRole", right{action: "s3:ListBucket", resource: arn, noPrefix: true}, true},
		{"CompactorRole", key("s3:GetObject", "config/keys/abc.json"), false},
		{"CompactorRole", key("s3:PutObject", "views/v/segments/s/1.zst"), false},
		{"CompactorRole", key("s3:GetObject", "elsewhere/views/v/head"), false},
		{"CompactorRole", right{action: "s3:GetObject", resource: "arn:aws:s3:::other/views/v/head"}, false},
	} {
		if got := roles[c.role].allows(c.r); got != c.want {
			t.Errorf("%s: %s: allowed = %v", c.role, c.r, got)
		}
	}
	deny := policy{{actions: []string{"s3:*"}, resources: []string{"*"}}, {deny: true, actions: []string{"s3:Delete*"}, resources: []string{arn + "/a?"}}}
	if deny.allows(key("s3:DeleteObject", "ab")) || !deny.allows(key("s3:DeleteObject", "abc")) || !deny.allows(key("s3:GetObject", "ab")) {
		t.Error("a denial counts before everything, and no further than it goes")
	}
	plain := statement{actions: []string{"s3:ListBucket"}, resources: []string{arn}, prefixes: []string{"views/*"}}
	if plain.matches(right{action: "s3:ListBucket", resource: arn, noPrefix: true}) {
		t.Error("StringLike needs the key that it is about")
	}
	for name := range reasons {
		role, rest, _ := strings.Cut(name, " ")
		if !slices.Contains(roles[role].unused(nil), rest) {
			t.Errorf("reason for %q, which the template does not allow", name)
		}
	}
}
