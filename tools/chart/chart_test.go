// Package chart checks the Helm chart with Helm's own library and with Kubernetes' own types, as `helm lint`, `helm template` and kubeconform
// do. It is a module of its own, so that Fustor depends on neither.
package chart

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

const chart = "../../infra/helm/fustor"

// rendered is where cmd/fustor's tests read what the chart makes of the values in each NAME.values.yaml.
const rendered = "../../cmd/fustor/testdata/chart"

var update = flag.Bool("update", false, "write what the chart makes")

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// render is `helm template fustor --namespace storage`.
func render(t *testing.T, v map[string]any) (string, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	about := chartutil.ReleaseOptions{Name: "fustor", Namespace: "storage", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, v, about, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := (engine.Engine{Strict: true}).Render(c, all)
	if err != nil {
		return "", err
	}
	out, between := strings.Builder{}, ""
	out.WriteString("# " + sum(t) + "\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" && strings.HasSuffix(name, ".yaml") {
			out.WriteString(between + "# " + name + "\n" + strings.TrimSpace(strings.TrimPrefix(text, "---")) + "\n")
			between = "---\n"
		}
	}
	return out.String(), nil
}

// sum is that of the chart's files and of the values, as cmd/fustor's TestChart computes it: so that test, which has no Helm, sees that a chart
// has changed since it was rendered.
func sum(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, part := range []string{chart, rendered} {
		err := filepath.WalkDir(part, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, ".rendered.yaml") {
				return err
			}
			body, err := os.ReadFile(path)
			fmt.Fprintf(sum, "%s %d\n%s", d.Name(), len(body), body)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestLint: helm lint finds nothing, not even to warn of.
func TestLint(t *testing.T) {
	for name, v := range cases(t) {
		for _, m := range lint.All(chart, v, "storage", true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// cases are the values in files.
func cases(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(rendered, "*.values.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	all := map[string]map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".values.yaml")] = values(t, string(text))
	}
	return all
}

// TestTemplate renders the chart, and reads each object as Kubernetes does: every field must be one that it knows, of its type.
// What is made must be what cmd/fustor's tests read.
func TestTemplate(t *testing.T) {
	for name, v := range cases(t) {
		text, err := render(t, v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n := decode(t, name, text); n < 10 {
			t.Errorf("%s: only %d objects", name, n)
		}
		file := filepath.Join(rendered, name+".rendered.yaml")
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before, err := os.ReadFile(file)
		if err != nil || string(before) != text {
			t.Errorf("%s is not what the chart makes: run make chart; %v", file, err)
		}
	}
}

// decode reads objects strictly.
func decode(t *testing.T, name, text string) (n int) {
	t.Helper()
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for r := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		var o runtime.Object
		if o, _, err = strict.Decode(doc, nil, nil); err != nil {
			t.Errorf("%s: %v in\n%s", name, err, doc)
			continue
		}
		if o.GetObjectKind().GroupVersionKind().Kind == "" {
			t.Errorf("%s: no kind in\n%s", name, doc)
		}
		n++
	}
}

// TestUnknownFieldsAreFound: decode is as strict as it says.
func TestUnknownFieldsAreFound(t *testing.T) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, text := range []string{
		"apiVersion: v1\nkind: Service\nspec: {prots: []}\n",
		"apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: many}\n",
		"apiVersion: apps/v2\nkind: Deployment\n",
	} {
		if _, _, err := strict.Decode([]byte(text), nil, nil); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}

// TestValuesRefused: the schema refuses what would not run, before anything is sent to the cluster.
func TestValuesRefused(t *testing.T) {
	for _, text := range []string{
		"imgae: {repository: a}",
		"image: {repository: ''}",
		"store: file:///srv/fustor", // pods share no directory
		"store: s3://key:secret@bucket",
		"views: []",
		"views: [Research]",
		"secrets: {server: ''}",
		"ingest: {replicas: none}",
		"query: {replicas: 0}",
		"query: {service: {type: External}}",
		"query: {resources: {limits: {memory: null}}}",
		"agents: [{name: a, view: demo}]",
		"agents: [{name: A, view: demo, path: /srv}]",
		"agents: [{name: a, view: demo, path: srv}]",
		"networkPolicy: {query: everybody}",
		"networkPolicy: {query: [{pods: {}}]}",
	} {
		if _, err := render(t, values(t, text)); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}
