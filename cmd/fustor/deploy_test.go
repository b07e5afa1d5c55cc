package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// parses checks words of a deployment file by the command line's own parser.
func parses(t *testing.T, where string, words []string) {
	t.Helper()
	var c cli
	if _, err := newParser(&c, &app{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}).Parse(words); err != nil {
		t.Errorf("%s: fustor %s: %v", where, strings.Join(words, " "), err)
	}
}

const kubernetes = "../../infra/kubernetes"

// kustomization and object are what the Kubernetes example uses of the format; anything else in it is a mistake.
type kustomization struct {
	APIVersion      string `yaml:"apiVersion"`
	Kind, Namespace string
	Resources       []string
	Labels          []struct{ Pairs map[string]string }
	Images          []struct {
		Name    string
		NewName string `yaml:"newName"`
		NewTag  string `yaml:"newTag"`
	}
	ConfigMapGenerator []struct {
		Name     string
		Literals []string
	} `yaml:"configMapGenerator"`
	SecretGenerator []struct {
		Name string
		Envs []string
	} `yaml:"secretGenerator"`
}

type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas                int
		BackoffLimit            int `yaml:"backoffLimit"`
		TTLSecondsAfterFinished int `yaml:"ttlSecondsAfterFinished"`
		Selector                map[string]any
		Ports                   []port
		PodSelector             map[string]any `yaml:"podSelector"`
		Ingress                 []struct{ Ports []struct{ Port string } }
		Template                struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

type port struct {
	Name       string
	Port       int
	TargetPort string `yaml:"targetPort"`
}

type pod struct {
	RestartPolicy                string            `yaml:"restartPolicy"`
	AutomountServiceAccountToken *bool             `yaml:"automountServiceAccountToken"`
	NodeSelector                 map[string]string `yaml:"nodeSelector"`
	SecurityContext              podSecurity       `yaml:"securityContext"`
	Containers                   []container
	Volumes                      []volume
}

type podSecurity struct {
	RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
	RunAsUser      int                   `yaml:"runAsUser"`
	RunAsGroup     int                   `yaml:"runAsGroup"`
	SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
}

type container struct {
	Name, Image string
	Args        []string
	EnvFrom     []struct {
		ConfigMapRef *named `yaml:"configMapRef"`
		SecretRef    *named `yaml:"secretRef"`
	} `yaml:"envFrom"`
	Env []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef *struct{ Name, Key string } `yaml:"secretKeyRef"`
			FieldRef     *struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	ReadinessProbe  *probe                       `yaml:"readinessProbe"`
	LivenessProbe   *probe                       `yaml:"livenessProbe"`
	Resources       map[string]map[string]string `yaml:"resources"`
	SecurityContext containerSecurity            `yaml:"securityContext"`
	Mounts          []mount                      `yaml:"volumeMounts"`
}

type mount struct {
	Name             string
	MountPath        string `yaml:"mountPath"`
	MountPropagation string `yaml:"mountPropagation"`
	ReadOnly         bool   `yaml:"readOnly"`
}

type volume struct {
	Name     string
	HostPath struct{ Path, Type string } `yaml:"hostPath"`
	EmptyDir map[string]string           `yaml:"emptyDir"`
}

type named struct{ Name string }

type probe struct {
	Exec struct{ Command []string }
	HTTP struct {
		Path, Port string
	} `yaml:"httpGet"`
	PeriodSeconds    int `yaml:"periodSeconds"`
	TimeoutSeconds   int `yaml:"timeoutSeconds"`
	FailureThreshold int `yaml:"failureThreshold"`
}

type containerSecurity struct {
	RunAsUser                *int  `yaml:"runAsUser"`
	AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
	Capabilities             struct{ Drop, Add []string }
}

// cluster is the example, read.
type cluster struct {
	t       *testing.T
	config  map[string][]string // names of variables, by config map
	secrets map[string][]string
	images  []string
	objects []object
}

// TestKubernetes reads the example strictly, resolves what refers to something, and parses every command line in it.
func TestKubernetes(t *testing.T) {
	c := readCluster(t)
	t.Setenv("FUSTOR_STORE", "file:///nowhere")
	pods := 0
	for _, o := range c.objects {
		if len(o.Spec.Template.Spec.Containers) > 0 {
			pods++
			c.checkPod(o)
		}
		if o.Kind == "Service" {
			c.checkService(o)
		}
	}
	if pods != 5 {
		t.Errorf("%d pods, not setup, ingest, query, compactor and agent", pods)
	}
}

func readCluster(t *testing.T) *cluster {
	t.Helper()
	var k kustomization
	strict(t, filepath.Join(kubernetes, "kustomization.yaml"), &k)
	c := &cluster{t: t, config: map[string][]string{}, secrets: map[string][]string{}}
	for _, i := range k.Images {
		c.images = append(c.images, i.Name)
	}
	for _, g := range k.ConfigMapGenerator {
		c.config[g.Name] = variables(g.Literals)
	}
	for _, g := range k.SecretGenerator {
		for _, file := range g.Envs {
			body, err := os.ReadFile(filepath.Join(kubernetes, file+".example"))
			if err != nil {
				t.Fatal(err)
			}
			c.secrets[g.Name] = append(c.secrets[g.Name], variables(strings.Fields(string(body)))...)
			for _, line := range strings.Fields(string(body)) {
				if _, value, _ := strings.Cut(line, "="); value != "" {
					t.Errorf("%s has a default for a secret", file)
				}
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(kubernetes, "*.yaml"))
	if err != nil || len(files) != len(k.Resources)+1 {
		t.Errorf("%d files, %d of them resources, %v", len(files), len(k.Resources), err)
	}
	for _, file := range k.Resources {
		body, err := os.ReadFile(filepath.Join(kubernetes, file))
		if err != nil {
			t.Fatal(err)
		}
		c.objects = append(c.objects, objects(t, file, body, yaml.Strict())...)
	}
	return c
}

// objects reads the objects in a file.
func objects(t *testing.T, file string, body []byte, how ...yaml.DecodeOption) (all []object) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(body), how...)
	for {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %s", file, yaml.FormatError(err, false, true))
		}
		all = append(all, o)
	}
}

func strict(t *testing.T, file string, into any) {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(body), yaml.Strict()).Decode(into); err != nil {
		t.Fatalf("%s: %s", file, yaml.FormatError(err, false, true))
	}
}

func variables(lines []string) (names []string) {
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	return names
}

func (c *cluster) checkPod(o object) {
	t, p := c.t, o.Spec.Template.Spec
	t.Helper()
	if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken || p.SecurityContext.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("%s: its pod may do more than it needs to", o.Metadata.Name)
	}
	if labels, ok := o.Spec.Selector["matchLabels"].(map[string]any); o.Kind != "Job" && (!ok || !selects(labels, o.Spec.Template.Metadata.Labels)) {
		t.Errorf("%s selects other pods than its own", o.Metadata.Name)
	}
	for _, k := range p.Containers {
		where := o.Metadata.Name
		parses(t, where, k.Args)
		if !slices.Contains(c.images, k.Image) {
			t.Errorf("%s: no image %s in the kustomization", where, k.Image)
		}
		s := k.SecurityContext
		root := s.RunAsUser != nil && *s.RunAsUser == 0
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) ||
			root == p.SecurityContext.RunAsNonRoot || root && o.Kind != "DaemonSet" {
			t.Errorf("%s: its container may do more than it needs to", where)
		}
		if k.Resources["limits"]["memory"] == "" || k.Resources["requests"]["cpu"] == "" {
			t.Errorf("%s has no resources", where)
		}
		c.checkReferences(where, k, p)
		c.checkProbes(where, o.Kind, k)
	}
}

func (c *cluster) checkReferences(where string, k container, p pod) {
	c.t.Helper()
	for _, from := range k.EnvFrom {
		if from.ConfigMapRef != nil && c.config[from.ConfigMapRef.Name] == nil || from.SecretRef != nil && c.secrets[from.SecretRef.Name] == nil {
			c.t.Errorf("%s takes its environment from what is not there", where)
		}
	}
	for _, e := range k.Env {
		if ref := e.ValueFrom.SecretKeyRef; ref != nil && !slices.Contains(c.secrets[ref.Name], ref.Key) {
			c.t.Errorf("%s: secret %s has no %s", where, ref.Name, ref.Key)
		}
		if strings.Contains(e.Name, "KEY") && e.Value != "" {
			c.t.Errorf("%s: a secret in the manifest: %s", where, e.Name)
		}
	}
	if len(k.Args) > 0 && k.Args[0] == "compact" && !slices.ContainsFunc(k.Mounts, func(m mount) bool { return m.MountPath == "/tmp" && !m.ReadOnly }) {
		c.t.Errorf("%s has nowhere to write temporary files", where)
	}
	for _, m := range k.Mounts {
		if !slices.ContainsFunc(p.Volumes, func(v volume) bool { return v.Name == m.Name }) {
			c.t.Errorf("%s mounts %s, which is no volume", where, m.Name)
		}
	}
}

func (c *cluster) checkProbes(where, kind string, k container) {
	c.t.Helper()
	if kind != "Job" && k.LivenessProbe == nil {
		c.t.Errorf("%s has no liveness probe", where)
	}
	for _, p := range []*probe{k.ReadinessProbe, k.LivenessProbe} {
		switch {
		case p == nil:
		case len(p.Exec.Command) > 0:
			parses(c.t, where+"'s probe", p.Exec.Command[1:])
			at := p.Exec.Command[len(p.Exec.Command)-1]
			n, _ := strconv.Atoi(at[strings.LastIndexByte(at, ':')+1:])
			if len(k.Ports) == 0 || k.Ports[0].ContainerPort != n || p.Exec.Command[0] != "/usr/local/bin/fustor" {
				c.t.Errorf("%s: its probe asks another port: %v", where, p.Exec.Command)
			}
		case len(k.Ports) == 0 || k.Ports[0].Name != p.HTTP.Port || p.HTTP.Path != "/healthz":
			c.t.Errorf("%s: its probe asks %+v", where, p.HTTP)
		}
	}
	for _, p := range k.Ports {
		if !strings.Contains(strings.Join(k.Args, " "), ":"+strconv.Itoa(p.ContainerPort)) {
			c.t.Errorf("%s does not listen on its port %d", where, p.ContainerPort)
		}
	}
}

func (c *cluster) checkService(s object) {
	c.t.Helper()
	for _, o := range c.objects {
		if len(o.Spec.Template.Spec.Containers) == 0 || !selects(s.Spec.Selector, o.Spec.Template.Metadata.Labels) {
			continue
		}
		for _, p := range s.Spec.Ports {
			for _, have := range o.Spec.Template.Spec.Containers[0].Ports {
				if have.Name == p.TargetPort {
					return
				}
			}
		}
	}
	c.t.Errorf("service %s leads nowhere", s.Metadata.Name)
}

// TestChart does the same with what the Helm chart makes of the values beside it. tools/chart renders it, with Helm, and checks each field
// against Kubernetes' own types; here, what the parts are started with is checked.
func TestChart(t *testing.T) {
	t.Setenv("FUSTOR_STORE", "file:///nowhere")
	files, err := filepath.Glob("testdata/chart/*.rendered.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "# " + chartSum(t) + "\n"; !strings.HasPrefix(string(body), want) {
			t.Errorf("%s is of another chart: run make chart", file)
		}
		servers, agents := "fustor-server", "fustor-agent"
		if strings.HasSuffix(file, "all.rendered.yaml") {
			servers, agents = "servers", "agents"
		}
		c := &cluster{t: t, objects: objects(t, file, body), config: map[string][]string{}, secrets: map[string][]string{
			servers: {"FUSTOR_API_KEY", "FUSTOR_READER_KEY"}, agents: {"FUSTOR_API_KEY"}}}
		served, protected := map[string]bool{}, 0
		for _, o := range c.objects {
			switch o.Kind {
			case "ConfigMap":
				c.config[o.Metadata.Name] = slices.Collect(maps.Keys(o.Data))
			case "Service":
				for _, p := range o.Spec.Ports {
					served["http://"+o.Metadata.Name+":"+strconv.Itoa(p.Port)] = true
				}
			}
			for _, k := range o.Spec.Template.Spec.Containers {
				c.images = append(c.images, k.Image)
				if !strings.HasPrefix(k.Image, "registry.example.org/") || slices.ContainsFunc(c.images, func(i string) bool { return i != k.Image }) {
					t.Errorf("%s: %s runs %s", file, o.Metadata.Name, k.Image)
				}
			}
		}
		for _, o := range c.objects {
			if o.Kind == "Service" {
				c.checkService(o)
			}
			if len(o.Spec.Template.Spec.Containers) == 0 {
				continue
			}
			c.checkPod(o)
			for _, k := range o.Spec.Template.Spec.Containers {
				if at := slices.Index(k.Args, "--ingest"); at >= 0 && !served[k.Args[at+1]] {
					t.Errorf("%s: nothing is at %s", o.Metadata.Name, k.Args[at+1])
				}
			}
			for _, p := range c.objects {
				if labels, _ := p.Spec.PodSelector["matchLabels"].(map[string]any); p.Kind == "NetworkPolicy" && selects(labels, o.Spec.Template.Metadata.Labels) {
					protected++
					c.checkPolicy(p, o.Spec.Template.Spec.Containers[0])
				}
			}
		}
		if pods := len(c.images); pods != protected || pods < 5 {
			t.Errorf("%s: %d pods, %d of them protected", file, pods, protected)
		}
	}
}

// checkPolicy: a policy names ports that its pods have.
func (c *cluster) checkPolicy(policy object, k container) {
	c.t.Helper()
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			if len(k.Ports) != 1 || k.Ports[0].Name != p.Port {
				c.t.Errorf("policy %s opens port %s, which its pods do not have", policy.Metadata.Name, p.Port)
			}
		}
	}
}

// chartSum is the sum of the chart's files, which tools/chart writes before what it renders.
func chartSum(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, part := range []string{"../../infra/helm/fustor", "testdata/chart"} {
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

// selects reports whether labels have all that a selector asks for.
func selects(selector map[string]any, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

// TestKustomize has kubectl build the example, where it is installed.
func TestKustomize(t *testing.T) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("needs kubectl: it is not installed")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kubernetes)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server.env", "agent.env"} {
		if err := os.Rename(filepath.Join(dir, name+".example"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "kubectl", "kustomize", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "image: registry.example.org/fustor:0.1.0") || strings.Contains(string(out), "image: fustor") {
		t.Errorf("kubectl kustomize: %v\n%s", err, out)
	}
}

// TestUnits checks the command lines of the systemd units, and has systemd check the units where it is installed.
func TestUnits(t *testing.T) {
	t.Setenv("FUSTOR_STORE", "file:///nowhere")
	units, err := filepath.Glob("../../infra/systemd/*.service")
	if err != nil || len(units) != 4 {
		t.Fatalf("%v, %v", units, err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var copies []string
	for _, unit := range units {
		body, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(body), "\n") {
			if name, command, _ := strings.Cut(line, "="); strings.HasPrefix(name, "Exec") {
				words := strings.Fields(command)
				if words[0] != "/usr/local/bin/fustor" {
					t.Errorf("%s: %s", unit, line)
				}
				parses(t, unit, words[1:])
			}
		}
		to := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(to, bytes.ReplaceAll(body, []byte("/usr/local/bin/fustor"), []byte(self)), 0o644); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, to)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze for the rest: it is not installed")
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, dir) || strings.Contains(line, "fustor") {
			t.Error(line)
		}
	}
	if err != nil && len(out) == 0 {
		t.Error(err)
	}
}
