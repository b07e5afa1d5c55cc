//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestTemplateIsValid has cfn-lint look at the SAM template.
func TestTemplateIsValid(t *testing.T) {
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("needs cfn-lint: pip install cfn-lint")
	}
	cmd := exec.Command(lint, "../../infra/aws/template.yaml")
	// Python's SDK takes the empty AWS_PROFILE of s3test for the name of a profile.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_PROFILE=") })
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

// TestTemplateIsSafe: what the stack must be, whatever else changes.
func TestTemplateIsSafe(t *testing.T) {
	body, err := os.ReadFile("../../infra/aws/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, forbidden := range []string{"&", "<<:"} { // CloudFormation takes no anchors; text has neither
		for n, line := range strings.Split(string(body), "\n") {
			if strings.Contains(line, " "+forbidden) {
				t.Errorf("line %d: CloudFormation knows no YAML anchors: %s", n+1, line)
			}
		}
	}
	x := readTemplate(t)
	var bucket struct {
		Block map[string]bool `yaml:"PublicAccessBlockConfiguration"`
	}
	node := x.Resources["Bucket"].Properties
	if err := node.Decode(&bucket); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
		if !bucket.Block[name] {
			t.Errorf("the bucket lacks %s", name)
		}
	}
	functions := 0
	for name, r := range x.Resources {
		switch r.Type {
		case "AWS::Serverless::Function":
			functions++
			var f struct {
				URL      map[string]string `yaml:"FunctionUrlConfig"`
				Policies yaml.Node         `yaml:"Policies"`
			}
			node := r.Properties
			if err := node.Decode(&f); err != nil {
				t.Fatal(err)
			}
			if !f.Policies.IsZero() {
				t.Errorf("%s has policies beside its role", name)
			}
			// lambdaurl can only stream: a buffered URL would show its readers the stream's frame.
			if f.URL != nil && (f.URL["InvokeMode"] != "RESPONSE_STREAM" || f.URL["AuthType"] != "UrlAuthType") {
				t.Errorf("%s: URL %v", name, f.URL)
			}
		case "AWS::IAM::Role":
			node := r.Properties
			text, err := yaml.Marshal(&node)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "ManagedPolicyArns") {
				t.Errorf("%s has rights that nobody here can see", name)
			}
		}
	}
	if functions != 3 {
		t.Errorf("%d functions", functions)
	}
}

// TestDeployRefuses: make deploy-aws says what is missing, and does nothing.
func TestDeployRefuses(t *testing.T) {
	script, err := filepath.Abs("../../infra/aws/deploy.sh")
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	tool := func(name, body string) {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	step := "check"
	run := func(env ...string) string {
		cmd := exec.Command("/bin/sh", script, step)
		cmd.Env = append([]string{"PATH=" + tools + ":/bin:/usr/bin", "HOME=" + tools}, env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return string(out)
		}
		return "fine"
	}
	want := func(what, out string) {
		t.Helper()
		if !strings.Contains(out, what) {
			t.Errorf("want %q: %s", what, out)
		}
	}
	want("stack's name", run("STACK=Prod_1"))
	want("more than 30", run("STACK="+strings.Repeat("a", 31)))
	want("ARCH is", run("ARCH=mips"))
	if _, err := exec.LookPath("/usr/bin/aws"); err != nil {
		want("AWS CLI is not installed", run())
	}
	tool("aws", `case "$*" in "sts "*) exit 255 ;; *) exit 1 ;; esac`)
	if _, err := exec.LookPath("/usr/bin/sam"); err != nil {
		want("SAM CLI is not installed", run())
	}
	tool("sam", "exit 0")
	want("no AWS region", run())
	want("credentials", run("AWS_REGION=eu-central-1"))
	tool("aws", "exit 0")
	want("fine", run("AWS_REGION=eu-central-1"))
}

// TestDeployParameters: a parameter's value may have blanks, stars and dollars, through make and the script.
func TestDeployParameters(t *testing.T) {
	for _, name := range []string{"make", "sh"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	tools, root := t.TempDir(), t.TempDir()
	for file, body := range map[string]string{
		"aws": "#!/bin/sh\n", "sam": "#!/bin/sh\nprintf '%s\\n' \"$@\"\n", "go": "#!/bin/sh\n", "cp": "#!/bin/sh\n", "wc": "#!/bin/sh\n",
	} {
		if err := os.WriteFile(filepath.Join(tools, file), []byte(body), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"Makefile", "infra/aws/deploy.sh", "bin/lambda/bootstrap"} {
		b := []byte{}
		if file != "bin/lambda/bootstrap" {
			var err error
			if b, err = os.ReadFile(filepath.Join("../..", file)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("make", "deploy-aws", "ARCH=amd64", "PARAMETERS=Schedule=rate(10 minutes) AlarmEmail=me@example.org Pattern=* a$b")
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "HOME=" + tools, "AWS_REGION=eu-central-1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "--parameter-overrides\nArchitecture=x86_64\nSchedule=rate(10 minutes)\nAlarmEmail=me@example.org\nPattern=* a$b\n"
	if !strings.Contains(string(out), want) {
		t.Errorf("want\n%sin\n%s", want, out)
	}
}
