//go:build unix

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// metricsOf are the metrics that a part shows, by name.
type metricsOf map[string]shownMetric

type shownMetric struct {
	kind, help string
	labels     map[string]bool
}

var sampleLine = regexp.MustCompile(`^([a-z_0-9]+)(?:\{(.*)\})? \S+$`)

// scrape reads a part's metrics.
func scrape(t testing.TB, address string) (text string, found metricsOf) {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s", address, response.Status, err, body)
	}
	found = metricsOf{}
	label := regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			found[name] = shownMetric{help: help, labels: map[string]bool{}}
		} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			m := found[name]
			m.kind = kind
			found[name] = m
		} else if m := sampleLine.FindStringSubmatch(line); m != nil {
			of := found[m[1]]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if h, ok := found[strings.TrimSuffix(m[1], suffix)]; ok && h.kind == "histogram" {
					of = h
				}
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if of.labels != nil && (l[1] != "le" || of.kind != "histogram") {
					of.labels[l[1]] = true
				}
			}
		}
	}
	return string(body), found
}

// watched is a view that all four parts work on, each with its metrics.
type watched struct {
	*parts
	dir     string
	agent   *process
	metrics map[string]string // by part: the address of its metrics
}

// startWatched starts the parts, each with its metrics for everybody.
func startWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{parts: &parts{t: t, store: fileStore(t), env: []string{"FUSTOR_API_KEY=" + apiKey}, flags: []string{"--open-probes"}}, dir: t.TempDir()}
	w.known(w.store)
	setSessionTimeout(t, w.store, patience(3*time.Second))
	w.ingest, w.ingestURL = w.startServer("ingest")
	w.query, w.queryURL = w.startServer("query")
	w.flags = nil
	w.server = server{"--url", w.queryURL, "--api-key", apiKey, "--view", viewID}
	compactor, agent := freeAddress(t), freeAddress(t)
	w.compact = start(t, w.env, "compact", "--follow", "--store", w.store, "--listen", compactor)
	if err := os.Mkdir(filepath.Join(w.dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(w.dir, "d", "nobodyscounter"), "x")
	w.flags = []string{"--metrics", agent}
	w.agent = w.startAgent(w.dir, "watched", w.store)
	w.flags = nil
	w.metrics = map[string]string{"query": w.queryURL, "ingest": w.ingestURL, "compact": "http://" + compactor, "agent": "http://" + agent}
	for part, address := range w.metrics {
		w.metrics[part] = address + "/metrics"
	}
	w.agent.await("to have its tree in the view", func() bool {
		found, err := w.find(t)
		return err == nil && len(found) == 3
	})
	return w
}

// TestMetricsAreAsDocumented holds what each part shows against the table of docs/observability.md, in both directions.
func TestMetricsAreAsDocumented(t *testing.T) {
	t.Parallel()
	w := startWatched(t)
	second := w.startAgent(w.dir, "ends", w.store)
	second.says(regexp.MustCompile("session started"), 0) // one that is stopped before it has the answer cannot end what it does not know
	second.Stop()
	for _, path := range []string{"/browse/" + viewID + "/d/nobodyscounter", "/browse/" + viewID, "/state/" + viewID, "/nothing/nobodyscounter", "/web/style.css"} {
		request, err := http.NewRequest(http.MethodGet, w.queryURL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", apiKey)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}

	shown := map[string]shownMetric{}
	by := map[string][]string{} // name → parts
	for _, part := range []string{"agent", "ingest", "compact", "query"} {
		text, found := scrape(t, w.metrics[part])
		if strings.Contains(text, "nobodyscounter") {
			t.Errorf("%s names a path: %s", part, text)
		}
		for _, common := range []string{"go_goroutines", "process_resident_memory_bytes", "fustor_build_info"} {
			if found[common].kind == "" && (common != "process_resident_memory_bytes" || runtime.GOOS == "linux") {
				t.Errorf("%s lacks %s", part, common)
			}
		}
		for name, m := range found {
			if !strings.HasPrefix(name, "fustor_") {
				continue
			}
			by[name] = append(by[name], part)
			if before, ok := shown[name]; ok {
				maps.Copy(m.labels, before.labels)
				if before.help != m.help || before.kind != m.kind {
					t.Errorf("two parts do not agree about %s: %+v, %+v", name, before, m)
				}
			}
			shown[name] = m
		}
		promtool(t, text, "check", "metrics")
	}
	page, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `fustor_") {
			documented[strings.TrimSpace(line)] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		m := shown[name]
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |", name, m.kind, strings.Join(by[name], ", "), cmp.Or(strings.Join(slices.Sorted(maps.Keys(m.labels)), ", "), "–"), m.help)
		if !documented[row] {
			t.Errorf("docs/observability.md lacks the row\n%s", row)
		}
		delete(documented, row)
	}
	for row := range documented {
		t.Errorf("docs/observability.md has a row of no metric: %s", row)
	}
}

// promtool runs a check of promtool on a text, and fails the test if it finds anything. Without promtool it says so.
func promtool(t *testing.T, text string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Logf("SKIPPED promtool %s: promtool is not installed (Debian: prometheus)", strings.Join(args, " "))
		return
	}
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || text != "" && len(out) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

const observability = "../../infra/observability/"

// TestAlertRules has promtool try the rules on series of metrics.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool(t, "", "check", "rules", observability+"alerts.yml")
	promtool(t, "", "check", "config", observability+"prometheus.yml")
	promtool(t, "", "test", "rules", observability+"alerts_test.yml")
}

// prometheus is a real one, with the shipped rules in a hurry.
type prometheus struct {
	*process
	url string
}

func startPrometheus(t *testing.T, targets map[string]string) *prometheus {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed (Debian: prometheus)")
	}
	rules, err := os.ReadFile(observability + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	soon := fmt.Sprintf(" %d\n", int(patience(5*time.Second).Seconds()))
	hurried := strings.NewReplacer(" > 120\n", " >"+soon, " > 300\n", " >"+soon, " <= 300\n", " <="+soon).Replace(string(rules))
	hurried = regexp.MustCompile(`for: \d+m`).ReplaceAllString(hurried, "for: 0s")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "alerts.yml"), hurried)
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\nscrape_configs:\n"
	for part, address := range targets {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("  - job_name: fustor-%s\n    static_configs: [{targets: [%q]}]\n", part, u.Host)
	}
	writeFile(t, filepath.Join(dir, "prometheus.yml"), config)
	address := freeAddress(t)
	p := &prometheus{url: "http://" + address}
	p.process = startProcess(t, &process{t: t, name: "prometheus", binary: binary, args: []string{"--config.file=" + filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--log.level=warn"}})
	p.await("to be ready", func() bool {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// series is one result of a query.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

// ask is an instant query.
func (p *prometheus) ask(t testing.TB, query string) ([]series, error) {
	t.Helper()
	response, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", query, answer.Error)
	}
	return answer.Data.Result, nil
}

// firing are the alerts that fire, each with one of its labels.
func (p *prometheus) firing(t testing.TB, label string) (found []string) {
	t.Helper()
	all, err := p.ask(t, `ALERTS{alertstate="firing"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		found = append(found, s.Metric["alertname"]+" "+s.Metric[label])
	}
	return found
}

// TestAlertsFire has a real Prometheus scrape the parts while some of them die, and asks it everything that the dashboards ask.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("prometheus is not installed (Debian: prometheus)")
	}
	w := startWatched(t)
	p := startPrometheus(t, w.metrics)
	p.await("to scrape all parts", func() bool {
		up, err := p.ask(t, `up{job=~"fustor.*"} == 1`)
		views, viewErr := p.ask(t, `fustor_view_caught_up_timestamp_seconds{view="`+viewID+`"}`)
		return err == nil && viewErr == nil && len(up) == 4 && len(views) == 1
	})
	w.dashboards(p)
	for _, alert := range p.firing(t, "view") {
		t.Errorf("all is well, and there is an alert: %s", alert)
	}

	w.compact.Kill()
	n := 0
	p.await("to say that the compactor is behind", func() bool {
		n++
		writeFile(t, filepath.Join(w.dir, fmt.Sprint("new", n)), "x")
		return slices.Contains(p.firing(t, "view"), "FustorCompactorBehind "+viewID)
	})
	if fired := p.firing(t, "agent"); slices.Contains(fired, "FustorAgentSilent watched") {
		t.Error("the agent lives, and is said to be silent")
	}
	w.agent.Kill()
	p.await("to say that the agent is silent and the view has no leader", func() bool {
		return slices.Contains(p.firing(t, "agent"), "FustorAgentSilent watched") && slices.Contains(p.firing(t, "view"), "FustorViewWithoutLeader "+viewID)
	})
	w.agent.Restart()
	w.compact.Restart()
	p.await("to say that all is well again", func() bool { return len(p.firing(t, "view")) == 0 })
}

// dashboards has Prometheus answer every query of the dashboards and alerts, which name nothing but what the parts show.
func (w *watched) dashboards(p *prometheus) {
	t := w.t
	t.Helper()
	names := map[string]bool{}
	for _, address := range w.metrics {
		_, found := scrape(t, address)
		for name, m := range found {
			names[name] = true
			if m.kind == "histogram" {
				names[name+"_bucket"] = true
			}
		}
	}
	names["fustor_ingest_agent_ended_timestamp_seconds"] = true // shown once an agent ended by itself; TestMetricsAreAsDocumented has it
	files, err := filepath.Glob(observability + "dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	name := regexp.MustCompile(`\b(?:fustor|process|go)_\w+`)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct {
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
			Templating struct{ List []struct{ Query any } }
		}
		if err := json.Unmarshal(body, &dashboard); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, panel := range dashboard.Panels {
			if len(panel.Targets) == 0 {
				t.Errorf("%s, %s: no query", file, panel.Title)
			}
			for _, target := range panel.Targets {
				if _, err := p.ask(t, strings.ReplaceAll(target.Expr, "$view", ".*")); err != nil {
					t.Errorf("%s, %s: %v", file, panel.Title, err)
				}
			}
		}
		for _, m := range name.FindAllString(string(body), -1) {
			if !names[m] {
				t.Errorf("%s names %s, which no part shows", file, m)
			}
		}
	}
	rules, err := os.ReadFile(observability + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range name.FindAllString(string(rules), -1) {
		if !names[m] {
			t.Errorf("alerts.yml names %s, which no part shows", m)
		}
	}
}
